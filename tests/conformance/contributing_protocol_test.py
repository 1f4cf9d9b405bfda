"""The evaluation protocol that CONTRIBUTING.md shows is a protocol, and what else knows protocols knows it."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfssl
from tests.support.protocol_checks import CHECKS, rows_of
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.evaluation import protocols
from tfssl.runs.evaluation import read_evaluation
from tfssl.runs.served import embedding_of


@pytest.fixture(scope="module")
def nearest_mean(tmp_path_factory):
    page = Path(__file__).parents[2] / "CONTRIBUTING.md"
    if not page.is_file():
        pytest.skip("the tests run outside of a checkout")
    _, code = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)  # the task, the protocol
    file = tmp_path_factory.mktemp("page") / "nearest_mean.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("nearest_mean", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NearestMean


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_protocol_of_the_page(nearest_mean, check):
    check(nearest_mean())


def test_its_answer_is_the_nearest_mean(nearest_mean):
    from sklearn.neighbors import NearestCentroid

    train, (test, _) = rows_of(60, 1, 1.0), rows_of(50, 2, 1.0)
    expected = NearestCentroid().fit(*train).predict(test)
    np.testing.assert_array_equal(nearest_mean().scores(train, test, 4).argmax(1), expected)


def test_its_line_in_the_tuple_is_all_that_it_takes(nearest_mean, toy_run, tmp_path, monkeypatch, capsys):
    """Command line, table, `evaluation.json`, report, and what `export` says of its embedding."""
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    data = "toy:images(count=60, size=32, seed=1)"
    with pytest.raises(UserError, match="unknown protocol 'nearest_mean'; protocols are: linear, "):
        tfssl.evaluate(run, data, protocols="nearest_mean")
    monkeypatch.setitem(protocols.PROTOCOLS, "nearest_mean", nearest_mean)
    monkeypatch.setattr("tfssl.frozen.precise.PRECISE_STEPS", 2)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run.folder), data, "--protocols", "nearest_mean", "--json"])
    assert end.value.code == 0
    content = json.loads(capsys.readouterr().out)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    assert list(content["nearest_mean"]) == list(content["random"]["nearest_mean"]) == stages

    monkeypatch.undo()  # who reads it needs not know the protocol
    found = read_evaluation(run.folder)
    assert f"held-out pictures choose is {found.best_stage}: nearest class mean on its features names" in str(found)
    assert found.stage_to_export() == found.best_stage == content["layer_to_export"]
    share = 100 * found.trained["nearest_mean"][found.best_stage].top1
    assert f"mean over all places; nearest class mean {share:.1f} % of" in embedding_of(run).line
    assert '<th scope="row">nearest class mean</th>' in (run.folder / "report.html").read_text(encoding="utf-8")
