"""What was made before the files moved into rooms is still read, and what a newer version made is refused in a line."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.base.files import check_format
from tfssl.embedding import files
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.sources.any_source import open_source

DATA = Path(__file__).parent / "data"
TOY = "toy:images(count=24,size=32)"
PRETRAINED = {"trunk": "resnet10(width=2)", "size": 32, "epochs": 1, "batch_size": 8, "report": False, "verbose": 0}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder of all that is in tests/data, unpacked. For reading only."""
    folder = tmp_path_factory.mktemp("earlier")
    for archive in DATA.glob("*.tar.xz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    shutil.copy(DATA / "embeddings.npz", folder)
    return folder


@pytest.fixture
def run(earlier, tmp_path):
    """A copy of the run, which may be written to."""
    return tfssl.load_run(shutil.copytree(earlier / "run", tmp_path / "run"))


@pytest.fixture(scope="module")
def embedded(earlier):
    return files.read_embeddings(earlier / "embeddings.npz")


def test_they_are_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 400_000


def test_a_run_has_its_settings_and_its_encoder(run, embedded, tmp_path):
    assert (run.format, run.settings.trunk, run.settings.seed) == (2, "resnet10(width=2)", 0)
    assert (run.result["steps"], run.data["count"]) == (3, 24)
    assert [str(task) for task in run.tasks()] == ["rotation"]
    assert run.solver("rotation")(np.zeros((1, 32, 32, 3), np.uint8), training=False).shape == (1, 4)
    again = tfssl.embed(run, TOY, tmp_path / "again.npz", stage="stage4", verbose=0).read()
    np.testing.assert_allclose(again.embedding, embedded.embedding, rtol=1e-4, atol=1e-5)
    assert list(again.path) == list(embedded.path)


def test_a_run_that_ended_is_not_made_again_and_one_that_was_stopped_goes_on(run, capsys):
    weights = run.trunk().body.get_weights()
    assert tfssl.pretrain(TOY, "rotation", out=run.folder, **PRETRAINED).result == run.result
    assert "has ended already" in capsys.readouterr().err
    for name in ("result.json", "encoder.keras"):
        (run.folder / name).unlink()
    ended = tfssl.pretrain(TOY, "rotation", out=run.folder, **PRETRAINED)
    assert "from step 3 of 3" in capsys.readouterr().err
    assert ended.result["steps"] == 3
    for one, other in zip(ended.trunk().body.get_weights(), weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_run_is_evaluated_as_before(run):
    before = run.evaluation
    data, test = before["details"]["data"], before["details"]["test"]
    found = tfssl.evaluate(run, data, test=test, protocols="knn", random=False, report=False)
    for stage, score in before["knn"].items():
        # Of 20 pictures; rounding on another machine may turn the answer for one.
        assert found.trained["knn"][stage].top1 == pytest.approx(score["top1"], abs=1 / 20 + 1e-6)


def test_a_run_is_exported_and_searched_with(earlier, run, embedded, tmp_path):
    done = tfssl.export(run, tmp_path / "model")
    assert done.stage == run.evaluation["layer_to_export"] == "stage4"
    assert tfssl.check(tmp_path / "model").ok
    query = tmp_path / "query.png"
    query.write_bytes(open_source(TOY).encoded[5])
    for encoder in (run, tmp_path / "model", earlier / "export"):  # of one fingerprint
        (answers,) = tfssl.search(earlier / "index", query, count=3, encoder=encoder).answers.values()
        assert answers[0].path == embedded.path[5]
        assert answers[0].similarity == pytest.approx(1, abs=1e-3)


def test_an_export_is_checked_and_embeds(earlier, embedded, tmp_path):
    checked = tfssl.check(earlier / "export")
    assert checked.ok
    assert [replay.name for replay in checked.replays] == ["serving_default", "pixels", "predict_rotation"]
    again = tfssl.embed(earlier / "export", TOY, tmp_path / "again.npz", verbose=0).read()
    np.testing.assert_allclose(again.embedding, embedded.embedding, rtol=1e-4, atol=1e-5)


def test_embeddings_are_indexed(earlier, embedded, tmp_path):
    made = tfssl.index(earlier / "embeddings.npz", tmp_path / "index")
    assert (made.count, made.kind) == (24, "exact")
    old, new = (json.loads((folder / "index.json").read_text()) for folder in (earlier / "index", tmp_path / "index"))
    assert new == old | {"format": 1}


def test_clips_have_their_frames_and_their_sound(earlier):
    source = open_source(earlier / "clips")
    assert (source.count, source.classes, source.sound_rate) == (4, ("a", "b"), 16000)
    for number, path in enumerate(source.paths):
        clip = clip_records.parse(source.reader().records(tf.constant([number], tf.int64)))[0]
        name, _ = path.split("#")
        assert source.classes[source.labels[number]] == name[0]
        assert clip.count == 10
        assert tf.image.decode_jpeg(clip.frames(0)).shape[-1] == 3
        sound = clip_records.waveform(clip.sound, clip.sound_start, clip.sound_start, 8000, 16000).numpy()
        tone = np.argmax(np.abs(np.fft.rfft(sound))) * 16000 / 8000
        assert tone == pytest.approx(300 + 100 * int(Path(name).stem), abs=4)


# Newer ones


def test_a_missing_format_is_1_and_a_newer_one_is_refused(tmp_path):
    check_format(tmp_path, {}, 1)
    check_format(tmp_path, {"format": 2}, 3)
    for wrong in (4, "4", None):
        with pytest.raises(UserError, match=f"has format {wrong}, this version of tfssl reads up to 3; use a newer"):
            check_format(tmp_path, {"format": wrong}, 3)


def newer(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def newer_run(folder):
    newer(folder / "run" / "run.json", format=3)
    return lambda: tfssl.load_run(folder / "run")


def newer_clips(folder):
    newer(folder / "clips" / "clips" / "1.1.0" / "dataset_info.json", version="2.0.0")
    return lambda: open_source(folder / "clips")


def newer_embeddings(folder):
    with np.load(folder / "embeddings.npz") as file:
        arrays = dict(file)
    arrays["record"] = json.dumps(json.loads(str(arrays["record"])) | {"format": 2})
    np.savez(folder / "embeddings.npz", **arrays)
    return lambda: tfssl.index(folder / "embeddings.npz", folder / "new")


def newer_index(folder):
    newer(folder / "index" / "index.json", format=2)
    return lambda: tfssl.search(folder / "index", DATA / "README.md", encoder=folder / "run")


def newer_export(folder):
    newer(folder / "export" / "1" / "assets.extra" / "encoder.json", format=2)
    return lambda: tfssl.embed(folder / "export", TOY, folder / "new.npz", verbose=0)


def newer_export_checked(folder):
    newer_export(folder)
    return lambda: tfssl.check(folder / "export")


@pytest.mark.parametrize(
    "made", [newer_run, newer_clips, newer_embeddings, newer_index, newer_export, newer_export_checked]
)
def test_what_a_newer_version_made_is_refused_in_a_line(earlier, tmp_path, made):
    use = made(shutil.copytree(earlier, tmp_path / "newer"))
    with pytest.raises(UserError, match=r"this (version of )?tfssl reads") as refused:
        use()
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "newer" / "new").exists()
