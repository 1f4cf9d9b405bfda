import json

import pytest

from tfssl.runs import metrics_log

FIRST = {"step": 20, "epoch": 1, "loss": 2.0, "learning_rate": 0.1, "images_per_second": 9.5}
SECOND = {"step": 30, "epoch": 1, "loss": 1.5, "learning_rate": 0.05, "images_per_second": 9.0, "epoch_end": True}
THIRD = {"step": 60, "epoch": 2, "loss": 1.0, "learning_rate": 0.0, "images_per_second": 9.0, "epoch_end": True}


@pytest.fixture
def folder(tmp_path):
    metrics_log.append(tmp_path, 20, 1, {"loss": 2.0}, 0.1, 9.5)
    metrics_log.append(tmp_path, 30, 1, {"loss": 1.5}, 0.05, 9.0, epoch_end=True)
    metrics_log.append(tmp_path, 60, 2, {"loss": 1.0}, 0.0, 9.0, epoch_end=True)
    return tmp_path


def test_lines_are_objects_as_they_were_given(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [FIRST, SECOND, THIRD]
    assert [list(json.loads(line)) for line in lines] == [list(FIRST), list(SECOND), list(THIRD)]
    assert metrics_log.read(folder) == [FIRST, SECOND, THIRD]


def test_the_lines_at_the_ends_of_epochs(folder):
    assert metrics_log.read_epoch_end(folder) == THIRD
    assert metrics_log.read_epoch_end(folder, 30) == SECOND
    with pytest.raises(LookupError):
        metrics_log.read_epoch_end(folder, 20)


def test_a_line_cut_in_half_is_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2.0}\n{"note": 1}\n{"step": 2, "epo')
    assert metrics_log.read(tmp_path) == [{"step": 1, "epoch": 1, "loss": 2.0}]


def test_a_run_without_a_log_has_no_line(tmp_path):
    metrics_log.cut(tmp_path, 3)
    assert metrics_log.read(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_lines_behind_a_step_are_cut(folder):
    path = folder / "metrics.jsonl"
    kept = path.read_text().splitlines(keepends=True)[:2]
    with path.open("a") as file:
        file.write('{"step": 61, "epo')
    metrics_log.cut(folder, 30)
    assert path.read_text() == "".join(kept)


def test_metrics_are_what_is_left_of_a_line_and_of_the_logs_of_keras():
    assert metrics_log.metrics_of(THIRD) == {"loss": 1.0}
    assert metrics_log.metrics_of({"loss": 1.0, "images/s": 7.0, "learning_rate": 0.1}) == {"loss": 1.0}
