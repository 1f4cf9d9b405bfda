"""What is probed is what is served: the same embedding, stage for stage, and the figure that is told is of it."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation.data import Data
from tfssl.evaluation.probes import Probes
from tfssl.evaluation.protocols import choose
from tfssl.evaluation.protocols.base import Answers, Protocol
from tfssl.evaluation.protocols.linear import Linear
from tfssl.evaluation.random_weights import better_of
from tfssl.export import saved_model
from tfssl.export.saved_model import export
from tfssl.frozen import features, metrics, precise
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.evaluation import Evaluation, Score
from tfssl.runs.served import embedding_of

PROBES: dict[str, Any] = {"size": 32, "numbers": 9216, "grid": None, "batch_size": 64, "max_broken": 0.0, "frames": 1}
TRAIN, TEST = "toy:images(count=60, size=32, seed=1)", "toy:images(count=40, size=32, seed=2)"


def stages_of(*tops, average=0.5):
    return {f"stage{number}": Score(top, average) for number, top in enumerate(tops, 1)}


def pooled_evaluation(**details):
    """Best on the grid is stage1, as a mean stage3, by 2 x 2 places stage2, by k-NN stage2."""
    return Evaluation(
        trained={
            "linear": stages_of(0.5, 0.4, 0.45),
            "linear_pooled": stages_of(0.2, 0.3, 0.412),
            "linear_pooled_2": stages_of(0.3, 0.47),
            "knn": stages_of(0.1, 0.4, 0.395),
        },
        random={"linear_pooled": stages_of(0.1, 0.35, 0.3), "linear_pooled_2": stages_of(0.2, 0.1)},
        train_images=100,
        test_images=2748,
        classes=("a", "b"),
        details={"test": "photos/test", "grid": {"stage1": 4, "stage2": 3, "stage3": 2}, **details},
    )


def test_what_is_exported_is_chosen_and_told_by_what_was_probed_of_it():
    evaluation = pooled_evaluation()
    assert (evaluation.best_stage, evaluation.stage_to_export(), evaluation.stage_to_export(2)) == (
        "stage1",
        "stage3",
        "stage2",
    )
    assert evaluation.stage_to_export(3) == "stage1"  # not measured: what is best on the grid
    assert evaluation.sentences()[-2:] == [
        "What export gives where no --stage is named is the mean over all places of stage3: "
        "pooled linear probe 41.2 % (random weights 35.0 %, stage2).",
        "With --pool 2 it is 2 x 2 places of stage2: 2x2 pooled linear probe 47.0 % (random weights 20.0 %, stage1).",
    ]
    content = json.loads(json.dumps(evaluation.as_json()))
    assert (content["layer_to_export"], Evaluation.from_json(content)) == ("stage3", evaluation)
    # The grid of the linear probe counts where it is what is exported.
    assert evaluation.measured_as_exported("stage2", 3) == ("linear",)
    assert evaluation.measured_as_exported("stage3", 2) == ("linear",)
    assert evaluation.measured_as_exported("stage1", 2) == ("linear_pooled_2",)
    assert evaluation.measured_as_exported("stage1", 3) == evaluation.measured_as_exported("conv", 1) == ()


@pytest.mark.parametrize(
    ("protocols", "stage"), [(("linear", "knn"), "stage2"), (("linear",), "stage1"), (("linear_pooled_2",), "stage2")]
)
def test_an_evaluation_without_pooled_probes_is_read_and_chooses_by_what_it_has(protocols, stage):
    """As of earlier versions, which knew "linear" and "knn"."""
    whole = pooled_evaluation().as_json()
    content = {key: value for key, value in whole.items() if key in protocols or key not in whole["top1_interval"]}
    del content["protocols"]
    assert Evaluation.from_json(content).stage_to_export() == stage


def test_the_line_of_an_embedding():
    def told(evaluation, *arguments):
        content = {} if evaluation is None else evaluation.as_json()
        run = SimpleNamespace(evaluation=content, settings=SimpleNamespace(stages=("stage1", "stage2", "stage3")))
        return embedding_of(run, *arguments)

    found = told(pooled_evaluation())
    assert (found.stage, found.pool) == ("stage3", 1)
    assert found.measured == {
        "top1": {"linear_pooled": 0.412, "knn": 0.395},
        "random": {"linear_pooled": 0.35},
        "test": "photos/test",
        "test_images": 2748,
    }
    assert found.line == (
        "stage3, mean over all places; linear probe 41.2 % of 2,748 test images (random weights 35.0 %), k-NN 39.5 %"
    )
    smaller = told(pooled_evaluation(frames=5), "stage1", 2, ["--dimensions 9", "--l2-normalise"])
    assert smaller.line == (
        "stage1, 2 x 2 places; linear probe 30.0 % of 2,748 test images (random weights 20.0 %); "
        "of the mean over 5 frames of a clip; measured before --dimensions 9 and --l2-normalise"
    )
    assert told(None).line == "stage3, mean over all places; was not measured: tfssl evaluate RUN DATA"
    unknown = told(pooled_evaluation(), "stage3", 3)
    assert (unknown.measured, unknown.line) == (
        {},
        "stage3, 3 x 3 places; was not measured: tfssl evaluate RUN DATA --grid 3",
    )
    assert "was not measured: evaluate takes stages, stage1, stage2" in told(pooled_evaluation(), "conv").line
    broken = SimpleNamespace(evaluation={"linear": {}}, settings=SimpleNamespace(stages=("stage1",)))
    with pytest.raises(UserError, match=r"evaluation\.json of the run cannot be read"):
        embedding_of(broken)


def test_random_weights_stand_at_their_better_figure():
    own = {"linear": stages_of(0.4, 0.2, 0.3), "knn": stages_of(0.1, 0.2, 0.3)}
    precise = {"linear": stages_of(0.3, 0.25, 0.3), "knn": stages_of(0.11, 0.1, 0.1)}
    scores, which = better_of(own, precise, lambda score: score.top1)
    assert scores == {"linear": stages_of(0.4, 0.25, 0.3), "knn": stages_of(0.11, 0.2, 0.3)}
    assert which == {
        "linear": {"stage1": "own", "stage2": "precise", "stage3": "own"},
        "knn": {"stage1": "precise", "stage2": "own", "stage3": "own"},
    }


@pytest.fixture(scope="module")
def evaluated(toy_run, tmp_path_factory):
    """A copy of a run, its evaluation, all that the probes read and answered, and each trunk that was measured."""
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path_factory.mktemp("served") / "run"))
    probed, trunks = [], []

    def recorded(answered):
        def answers(self, train, division, test, *arguments):
            found = answered(self, train, division, test, *arguments)
            probed.append((self.name, train.features, test, found.test))
            return found

        return answers

    def measure(self, model, data):
        statistics = [v.numpy() for v in model.non_trainable_variables if v.path.endswith("moving_variance")]
        found = original(self, model, data)
        trunks.append((statistics, found.scores))
        return found

    original = Probes.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precise, "PRECISE_STEPS", 2)
        for kind in (Protocol, Linear):
            patch.setattr(kind, "answers", recorded(kind.answers))
        patch.setattr(Probes, "measure", measure)
        found = tfssl.evaluate(run, TRAIN, TEST, report=False)
    return run, found, probed, trunks


def pictures(name):
    """uint8 [N, 32, 32, 3] and labels."""
    source = open_source(name)
    return next(iter(batches.plain(source, 32, source.count)))["image"], source.labels


@pytest.mark.parametrize(("pool", "protocol"), [(1, "linear_pooled"), (2, "linear_pooled_2")])
def test_the_served_embedding_is_the_probed_one_and_its_figure_is_told(
    evaluated, tmp_path, monkeypatch, pool, protocol
):
    run, evaluation, probed, _ = evaluated
    monkeypatch.setattr(saved_model, "write_warm_up", lambda *_: None)  # it takes longest, and is not asked here
    monkeypatch.setattr(saved_model, "write_deployment", lambda *_: ())
    done = export(run, tmp_path, pool=pool)
    assert (done.stage, done.pool) == (evaluation.stage_to_export(pool), pool)
    serve = tf.saved_model.load(done.saved_model).signatures["pixels"]
    train, test = (serve(pixels=pictures(name)[0])["embedding"].numpy() for name in (TRAIN, TEST))
    assert test.shape == (40, done.embedding_size)
    answers = pictures(TEST)[1]

    def same(rows, served):
        return rows.shape == served.shape and np.allclose(rows, served, rtol=2e-3, atol=1e-3)

    for kind, told in done.measured["top1"].items():
        # Among all that was probed, of all stages, grids and random weights, it is this one alone.
        alike = [each for each in probed if each[0].split("_")[0] == kind.split("_")[0] and same(each[2], test)]
        ((_, rows, _, shares),) = alike
        assert same(rows, train)
        assert told == metrics.top1(shares, answers) == evaluation.trained[kind][done.stage].top1
    assert list(done.measured["top1"]) == ([protocol, "knn"] if pool == 1 else [protocol])
    assert f"linear probe {100 * done.measured['top1'][protocol]:.1f} % of 40 test images" in done.embedding
    assert done.embedding in str(done)
    about = json.loads((Path(done.saved_model) / "assets.extra" / "encoder.json").read_text())
    assert {key: about[key] for key in ("layer", "pool", "measured", "embedding")} == {
        key: done.as_json()[key] for key in ("layer", "pool", "measured", "embedding")
    }


def test_random_weights_are_measured_with_both_batch_norms(evaluated):
    _, evaluation, _, ((_, trained), (own_variances, own), (precise_variances, precise)) = evaluated
    assert all((variance == 1).all() for variance in own_variances)
    assert not any((variance == 1).any() for variance in precise_variances)
    assert evaluation.trained == trained
    for protocol, stages in evaluation.random.items():
        for stage, score in stages.items():
            assert score.held_out == max(own[protocol][stage].held_out, precise[protocol][stage].held_out)
            which = evaluation.details["random_batch_norm"][protocol][stage]
            assert score == {"own": own, "precise": precise}[which][protocol][stage]


def test_a_grid_that_is_a_pooled_one_is_probed_once(toy_run):
    model = features.stage_model(toy_run.trunk(), 32)
    probes = Probes(protocols=choose("linear, linear_pooled_2, knn"), **PROBES | {"grid": 2})
    asked = []
    one = np.eye(10, dtype="f4")[open_source(TEST).labels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Linear, "answers", lambda self, rows, *_: asked.append(rows.features.shape) or Answers(None, one))
        found = probes.measure(model, Data(open_source(TRAIN), open_source(TEST), None, 0))
    assert asked == [(60, 4 * channels) for channels in (4, 8, 16, 32)]
    assert (
        found.scores["linear"]
        == found.scores["linear_pooled_2"]
        == {stage: Score(1.0, 1.0, 1.0) for stage in ("stage1", "stage2", "stage3", "stage4")}
    )


def test_stages_without_the_places_are_left_out():
    maps = {"stage1": SimpleNamespace(shape=(None, 3, 3, 8)), "stage2": SimpleNamespace(shape=(None, 1, 1, 16))}
    probes = Probes(protocols=choose("linear_pooled, linear_pooled_2"), **PROBES)
    found = probes.places_of(SimpleNamespace(output=maps))
    assert found == {"linear_pooled": {"stage1": 1, "stage2": 1}, "linear_pooled_2": {"stage1": 2}}
    probes = Probes(protocols=choose("linear_pooled_2"), **PROBES)
    with pytest.raises(UserError, match="no stage has the places that linear_pooled_2 reads"):
        probes.places_of(SimpleNamespace(output={"stage2": maps["stage2"]}))
