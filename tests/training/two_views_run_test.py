"""A run of tasks of two views, from training to what is measured, drawn and handed on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.frozen import subjects
from tfssl.report import puzzles
from tfssl.runs.evaluation import Evaluation
from tfssl.studies import table
from tfssl.training import callbacks

TOY = "toy:images(count=72, size=32)"
UNSEEN = "toy:images(count=24, size=32, seed=5)"
TASKS = "contrastive(projection=8), pirl(projection=8)"


@pytest.fixture(scope="module")
def run(tiny_run):
    """Two tasks are traced twice, as their losses are balanced, and XLA compiles their views: some seconds."""
    return tiny_run("two_views", TOY, TASKS, steps_per_epoch=2)


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_metrics_say_what_each_task_does(run):
    metrics = run.result["metrics"]
    assert {f"{name}_{what}" for name in ("contrastive", "pirl") for what in ("loss", "accuracy")} < set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    assert set(run.prepared["scales"]) == {"contrastive", "pirl"}


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_the_projection_is_left_behind_and_the_solver_has_it(run):
    encoder = keras.models.load_model(run.folder / "encoder.keras", compile=False)
    assert not [v.path for v in encoder.variables if "projection" in v.path or "contrastive" in v.path]
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    for name in ("contrastive", "pirl"):
        embeddings = np.asarray(run.solver(name)(pictures))
        assert embeddings.shape == (6, 8)
        assert np.linalg.matrix_rank(embeddings - embeddings.mean(0)) > 1
    assert run.encoder()(pictures).shape == (6, 32)


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_chance_depends_on_the_step(run):
    scores = tfssl.pretext(run, UNSEEN, draws=1, batch_size=12)
    assert {name: score.chance for name, score in scores.tasks.items()} == {
        "contrastive": 1 / 23,
        "pirl": 1 / 12,
    }
    assert "contrastive: accuracy" in str(scores)
    assert table.chance_levels("contrastive, pirl(batch=4), colorization", 8) == {
        "contrastive_accuracy": 1 / 15,
        "pirl_accuracy": 1 / 4,
    }


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_pairs_are_drawn_with_what_the_network_says(run, tmp_path):
    shown = puzzles.show(UNSEEN, to=tmp_path / "pairs.png", run=run, count=2)
    assert set(shown.files) == {"contrastive", "pirl"}
    assert all(path.stat().st_size > 1000 for path in shown.files.values())


def state(run):
    """All that the newest checkpoint holds, by name."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run.folder / "checkpoints")))
    kinds = ("weights", "optimizer", "seeds", "opponents")
    names = [name for name in reader.get_variable_to_shape_map() if name.split("/")[0] in kinds]
    return {name: reader.get_tensor(name) for name in sorted(names)}


@pytest.fixture(scope="module")
def banked(tmp_path_factory):
    """(name) -> a run with a bank, of twelve steps, three more than an epoch has pictures for; resumed where it is
    there."""
    folder = tmp_path_factory.mktemp("banked")
    settings = {"trunk": "plain(width=4)", "size": 32, "batch_size": 8, "epochs": 2, "steps_per_epoch": 6}
    settings |= {"checkpoint_every": 4, "report": False, "verbose": 0}
    return lambda name: tfssl.pretrain(TOY, "pirl(projection=8, bank=20)", out=folder / name, **settings)


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_bank(banked, capsys, monkeypatch):
    """To the bit, of weights and bank; at a step without a checkpoint, so that steps are taken again.

    Three times a model is traced, and its heads are saved: most of the seconds.
    """
    whole = banked("whole")
    assert "the memory bank holds 8 numbers of each of 72 pictures" in capsys.readouterr().err

    def fall(self, batch, logs=None):
        taken(self, batch, logs)
        if self.done == 10:
            raise KeyError("the power failed")

    taken = callbacks.Steps.on_train_batch_end
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Steps, "on_train_batch_end", fall)
        patch.setattr(callbacks.SaveAndStop, "rescue", lambda *_: None)
        with pytest.raises(KeyError):
            banked("again")
    again = banked("again")
    assert "from step 8 of 12" in capsys.readouterr().err
    found, wanted = state(again), state(whole)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, name)
    (vectors,) = [value for value in wanted.values() if value.shape == (72, 8)]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_what_is_kept_of_a_task_is_its_network_without_the_bank(banked):
    run = banked("whole")
    assert 72 not in {size for variable in run.solver("pirl").variables for size in variable.shape}
    with np.load(run.folder / "heads" / "pirl.npz") as arrays:
        assert not [name for name in arrays.files if 72 in arrays[name].shape]
    scores = tfssl.pretext(run, UNSEEN, draws=1, batch_size=12)
    assert scores.tasks["pirl"].chance == 1 / 12
    shown = puzzles.show(UNSEEN, to=run.folder / "pairs.png", run=run, count=2)
    assert shown.files["pirl"].stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_projections_are_measured_apart_and_never_chosen(run, toy_run):
    """Of both tasks, by features that are computed by hand; the run's folder is for this file alone."""
    labelled = "toy:images(count=40, size=32, seed=9)"
    settings = {"protocols": "knn, rank", "random": False}
    plain = tfssl.evaluate(run, labelled, **settings, report=False)
    found = tfssl.evaluate(run, labelled, **settings, projection=True)
    assert found.trained == plain.trained
    assert found.best_stage == plain.best_stage
    assert found.ranks["trained"] == plain.ranks["trained"]
    (scores,) = found.projection.values()
    assert list(scores) == list(found.ranks["projection"]) == ["contrastive_projection", "pirl_projection"]
    assert [each.numbers for each in found.ranks["projection"].values()] == [8, 8]
    again = Evaluation.from_json(found.as_json())
    assert again.projection == found.projection
    table = [line.split()[:2] for line in str(found).splitlines() if line.startswith("k-NN ")]
    assert table[-2:] == [["k-NN", "contrastive_projection"], ["k-NN", "pirl_projection"]]
    share = f"{100 * scores['pirl_projection'].top1:.1f} %"
    said = " ".join(found.sentences())
    assert f"Behind the projection head, pirl_projection, k-NN names {share} right" in said
    page = (run.folder / "report.html").read_text()
    assert page.count("<td>pirl_projection</td>") == 1
    assert "of the pirl puzzles right, counted on the pictures that it learned from; guessing gets 12.5" in page
    for subject, says in ((toy_run, "none has a projection head"), ("plain(width=4)", "is no run")):
        with pytest.raises(tfssl.UserError, match=says):
            tfssl.evaluate(subject, labelled, projection=True)
    with pytest.raises(tfssl.UserError, match="heads are kept of a run's end"):
        tfssl.evaluate(run, labelled, projection=True, epoch=1)


@pytest.mark.slow
@pytest.mark.xdist_group("two_views")
def test_projections_are_the_heads_of_the_mean_over_the_map(run):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    made = subjects.with_projections(subjects.open_subject(run)).network(pictures)
    mean, solvers = run.encoder()(pictures).numpy(), {name: run.solver(name) for name in ("contrastive", "pirl")}
    kernel = solvers["pirl"].get_layer("pirl_plain_projection").kernel.numpy()
    np.testing.assert_allclose(made["pirl_projection"][:, 0, 0], mean @ kernel, rtol=1e-4, atol=1e-5)
    dense, norm, last = (
        solvers["contrastive"].get_layer(f"contrastive_{name}") for name in ("1", "1_norm", "projection")
    )
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    hidden = (mean @ dense.kernel.numpy() - norm.moving_mean.numpy()) * scale + norm.beta.numpy()
    wanted = np.maximum(hidden, 0) @ last.kernel.numpy()
    np.testing.assert_allclose(made["contrastive_projection"][:, 0, 0], wanted, rtol=1e-3, atol=1e-4)
