"""What every task must hold, whoever wrote it. A new task is tested here without a line of its own."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.keras_state import plain_keras
from tfssl.models.trunks.layers import activate, convolution
from tfssl.multitask import puzzle_stream
from tfssl.multitask.encoders import Plans, sound_plan
from tfssl.multitask.model import build_metrics, compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import TASKS as ALL_TASKS
from tfssl.tasks import parse_task
from tfssl.tasks.parts.classification import ChoiceTask

# Of words word2vec_test has the like.
TASKS = {name: task for name, task in ALL_TASKS.items() if "words" not in task.reads}
# Clips: their frames are pictures, so tasks of every kind have something to read.
TOY = "toy:clips(count=48, size=48, seconds=1.6)"
SIZE, BATCH = 48, 8
TRUNK = "resnet10(width=4)"
SOUND_TRUNK = "l3(width=4)"
SEED = tf.constant([3, 5])
# Of a step that is compared: with a higher rate, rounding grows through batch norm over so few rows to per cents.
STEP = {"learning_rate": 1e-4, "batch_size": 24}
# Draws of dropout inside of a head cannot be keyed by row, so it is off where replicas are compared.
QUIET = {"jigsaw": "jigsaw(grid=2, dropout=0.0)", "relative_position": "relative_position(grid=2)"}
VARIANTS = [
    *TASKS,
    "rotation(rotations=2, dropout=0.5, view='inscribed')",
    "relative_position(grid=2, colour='project')",
    "jigsaw(grid=2, classes=4)",
    "colorization(loss='regression')",
    "colorization(diverse=4)",
    "inpainting(hole='centre')",
    "inpainting(adversarial=True)",
    "contrastive(temperature=0.1, layers=3, area=0.2, blur=0.0)",
    "redundancy(loss='vicreg', projection=16)",
    "pirl(of='jigsaw', grid=2)",
    "pirl(bank=16, momentum=0.9)",
    "frame_order(frames=3, jitter=0, colour='keep')",
    "audio_visual(fusion='concat', seconds=0.5)",
    "audio_visual(fusion='localise', stage='stage3')",
    "audio_visual(negatives='shift', seconds=0.5)",
]


@pytest.fixture(scope="module")
def source():
    return open_source(TOY)


@pytest.fixture(scope="module")
def batch(source):
    return next(iter(batches.training(source, SIZE, BATCH, 0)))


@pytest.fixture(scope="module")
def prepared(source):
    """Text -> prepared task, each once."""
    known = {}

    def prepare(text):
        if text not in known:
            known[text] = parse_task(text).prepared(source)
        return known[text]

    return prepare


def flat(made):
    return [np.asarray(part) for part in tf.nest.flatten(made)]


@pytest.mark.parametrize("text", VARIANTS)
def test_eager_equals_graph_shapes_are_static_and_the_seed_decides(text, batch, prepared):
    task = prepared(text)
    graph = tf.function(task.puzzles, autograph=False)
    example = {"image": tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.uint8), "clip": tf.TensorSpec([BATCH], tf.string)}
    signature = example, tf.TensorSpec([2], tf.int32)
    concrete = graph.get_concrete_function(*signature)
    for part in tf.nest.flatten(concrete.structured_outputs):
        assert part.shape.is_fully_defined()
        assert part.shape[0] % BATCH == 0
    eager = flat(task.puzzles(batch, SEED))
    for one, other in zip(eager, flat(concrete(batch, SEED)), strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        else:
            # XLA and single ops may round a level of grey differently.
            assert np.abs(one.astype(int) - other.astype(int)).max() <= (1 if one.dtype == np.uint8 else 0)
    for one, other in zip(eager, flat(task.puzzles(batch, SEED)), strict=True):
        np.testing.assert_array_equal(one, other)
    others = flat(task.puzzles(batch, tf.constant([4, 5])))
    assert any((one != other).any() for one, other in zip(eager, others, strict=True))


@pytest.mark.parametrize("text", VARIANTS)
def test_text_and_back_with_what_it_learned(text, prepared):
    task = prepared(text)
    again = parse_task(str(task))
    assert str(again) == str(task)
    assert again.with_learned(task.learned()).learned() == task.learned()


@pytest.mark.parametrize("text", VARIANTS)
def test_metrics_are_means(text, prepared):
    """Their variables are sums, of which the log takes differences."""
    assert all(isinstance(metric, keras.metrics.Mean) for metric in prepared(text).metrics())


@pytest.mark.parametrize("name", TASKS)
def test_parallelism_does_not_matter(name, source, prepared):
    dataset = puzzle_stream.stream(source, [prepared(name)], SIZE, BATCH, seed=1, start=2)

    def first(threads):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        return flat(next(iter(dataset.with_options(options))))

    for one, other in zip(first(1), first(4), strict=True):
        np.testing.assert_array_equal(one, other)


def shallow(features=32):
    """A trunk with all that replicas must agree on, and a quarter of the layers: eleven tasks take long to trace."""
    pixels = keras.Input((None, None, 3))
    x = activate(convolution(pixels, 8, 3, 2))
    x = activate(convolution(x, 16, 3, 2))
    return keras.Model(pixels, activate(convolution(x, features, 3, 2), "stage1"), name="body")


def owner(path):
    """The task whose head a variable belongs to; "trunks" where it is none's."""
    return max((name for name in TASKS if path.startswith(name)), key=len, default="trunks")


def train(
    strategy,
    tasks,
    source,
    policy="float32",
    learning_rate=0.01,
    batch_size=BATCH,
    trunk=lambda: TRUNK,
    dataset=None,
    **settings,
):
    """The model, and of a step of plain `fit` losses by name, and the changes of the weights with whose they are.

    `dataset` is a stream of these tasks that was made already.
    """
    keras.utils.set_random_seed(0)
    dataset = dataset or puzzle_stream.stream(source, tasks, SIZE, batch_size, seed=0)
    with strategy.scope(), plain_keras(policy):
        encoders = Plans(trunk(), SIZE, sound_plan(tasks, source, SIZE, SOUND_TRUNK)).make()
        model = make_model(tasks, encoders, dataset.element_spec)
        compile_model(model, tasks, encoders, make_optimizer(0.0, 0.0), **settings)
        model.optimizer.learning_rate = learning_rate
    if strategy.num_replicas_in_sync == 1:  # else Keras does it
        build_metrics(model, dataset.element_spec)  # a step that makes variables is traced twice
    for variable in model.trainable_variables:
        if variable.path.endswith("_logits/kernel"):  # which begins at zero, and would send nothing into the trunk
            variable.assign(np.random.default_rng(0).normal(size=variable.shape, scale=0.1))
    before = model.get_weights()
    history = model.fit(dataset, steps_per_epoch=1, epochs=1, shuffle=False, verbose=0).history
    owners = [owner(variable.path) for variable in model.weights]
    change = [(part, new - old) for part, new, old in zip(owners, model.get_weights(), before, strict=True)]
    return model, {name: values[0] for name, values in history.items()}, change


@pytest.fixture(scope="module")
def all_quiet(prepared):
    return [prepared(QUIET.get(name, name)) for name in TASKS]


@pytest.fixture(scope="module")
def step(source, all_quiet):
    """Settings of a step of all tasks on a shallow trunk, with the puzzles, which take seconds to trace, made once."""
    dataset = puzzle_stream.stream(source, all_quiet, SIZE, STEP["batch_size"], seed=0)
    return STEP | {"tasks": all_quiet, "source": source, "trunk": shallow, "dataset": dataset}


@pytest.fixture(scope="module")
def together(step):
    """A step of all tasks on one replica: what others are compared with, task by task."""
    return train(tf.distribute.get_strategy(), **step)[1:]


def differences(one, two, loss_tolerance):
    """What of a step on one replica and on two is not the same: losses, or the changes of the weights of a part.

    Args:
      one, two: losses by name, changes with whose they are.
      loss_tolerance: relative; by name of the loss, and "" for the others.
    """
    (losses, change), (losses_of_two, change_of_two) = one, two
    assert set(losses) == set(losses_of_two)
    found = [
        f"{name}: {losses[name]} and {losses_of_two[name]}"
        for name in losses
        if name.endswith("loss")
        and losses_of_two[name] != pytest.approx(losses[name], rel=loss_tolerance.get(name, loss_tolerance[""]))
    ]
    owners = [part for part, _ in change]
    assert owners == [part for part, _ in change_of_two]
    # A gradient of one replica only, or one divided by their count, would be wrong by a half; rounding is 1e-5 to 7e-4.
    for part in sorted(set(owners)):
        learned, learned_of_two = (
            np.concatenate([each.ravel() for whose, each in changes if whose == part])
            for changes in (change, change_of_two)
        )
        apart = np.linalg.norm(learned_of_two - learned) / np.linalg.norm(learned)
        found += [f"weights of {part}: {apart:.1%} apart"] * (not apart < 3e-3)
    return found


def test_two_replicas_are_one_with_the_joint_batch(replicas, step, together):
    """Each task by its loss and by the variables of its head, and the trunks."""
    two = train(replicas, **step)[1:]
    assert {part for part, _ in two[1]} == {*TASKS, "trunks"}
    # Tracking's softmax over all places makes rounding of the embeddings larger: 1e-6 to 1.4e-5, gradients 1e-4 apart.
    assert differences(together, two, {"": 1e-5, "tracking_loss": 1e-4}) == []


@pytest.mark.parametrize(
    "names",
    [("rotation", "shuffle_and_learn", "audio_visual", "contrastive"), pytest.param(TASKS, marks=pytest.mark.slow)],
    ids=["four", "all"],
)
def test_two_replicas_are_one_in_turn(replicas, source, prepared, names):
    """What turns is the same code for all, and each takes long to trace.

    The rounding of an update goes through batch norm into the losses of all that follow: smaller steps.
    """
    tasks = [prepared(QUIET.get(name, name)) for name in names]
    dataset = puzzle_stream.stream(source, tasks, SIZE, STEP["batch_size"], seed=0)
    settings = STEP | {"mixing": "alternate", "learning_rate": 3e-5, "trunk": shallow, "dataset": dataset}
    strategies = tf.distribute.get_strategy(), replicas
    one, two = (train(strategy, tasks, source, **settings)[1:] for strategy in strategies)
    assert differences(one, two, {"": 1e-4}) == []


@pytest.mark.slow
def test_two_replicas_are_one_on_deep_trunks(replicas, source, prepared):
    """Of picture and sound; see distribute_test for pictures alone."""
    tasks, strategies = [prepared("audio_visual")], (tf.distribute.get_strategy(), replicas)
    one, two = (train(strategy, tasks, source, **STEP)[1:] for strategy in strategies)
    assert differences(one, two, {"": 1e-5}) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 64])
def test_tasks_that_choose_are_never_far_above_chance(width, source, prepared):
    """At the default rate and momentum, with no warm-up, with as many features as ResNets of such widths give.

    Means of five steps of 48: answers to yes or no scatter, with half as many by a tenth and more from seed to seed.
    Seconds go into tracing so many tasks.
    """
    keras.utils.set_random_seed(0)
    tasks = [task for task in map(prepared, TASKS) if isinstance(task, ChoiceTask)]
    assert len(tasks) >= 6
    dataset = puzzle_stream.stream(source, tasks, SIZE, 48, seed=0)
    encoders = Plans(shallow(8 * width), SIZE, sound_plan(tasks, source, SIZE, SOUND_TRUNK)).make()
    model = make_model(tasks, encoders, dataset.element_spec)
    compile_model(model, tasks, encoders, make_optimizer(0.9, 5e-4))
    model.optimizer.learning_rate = 0.1
    losses = {task.name: [] for task in tasks}
    for batch in dataset.take(20):
        model.reset_metrics()
        logs = model.train_on_batch(*batch, return_dict=True)
        for name, found in losses.items():
            found.append(float(logs[f"{name}_loss"]))
    for task in tasks:
        means = np.convolve(losses[task.name], np.full(5, 0.2), "valid")
        assert max(means) < 1.1 * math.log(task.choices), (task.name, losses[task.name])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_losses(policy, step):
    _, losses, _ = train(tf.distribute.get_strategy(), **step, policy=policy)
    assert {f"{name}_loss" for name in TASKS} < set(losses)
    assert all(np.isfinite(value) for value in losses.values()), losses


def test_jit_compile(step, together):
    losses, _ = together
    _, compiled, _ = train(tf.distribute.get_strategy(), **step, jit_compile=True)
    assert {f"{name}_loss" for name in TASKS} < set(compiled)
    for name in [name for name in compiled if name.endswith("loss")]:
        assert compiled[name] == pytest.approx(losses[name], rel=1e-3), name


def test_an_opponent_learns_beside_the_head(replicas, source, prepared):
    task = prepared("inpainting(hole='centre', adversarial=True)")
    how = {"trunk": shallow, "dataset": puzzle_stream.stream(source, [task], SIZE, BATCH, seed=0)}
    model, logs, _ = train(tf.distribute.get_strategy(), [task], source, **how)
    _, logs_of_two, _ = train(replicas, [task], source, **how)
    assert logs["inpainting_opponent_loss"] == pytest.approx(logs_of_two["inpainting_opponent_loss"], rel=1e-3)
    (contest,) = model.plan.contests
    assert int(contest.optimizer.iterations) == 1
    inside = {variable.path for variable in model.trainable_variables}
    assert not inside & {variable.path for variable in contest.opponent.trainable_variables}
    assert len(model.extra_variables()) > len(contest.opponent.variables)


def test_a_run_of_all_tasks_keeps_its_solvers_and_hands_on_its_weights(toy_run, tmp_path, capsys):
    settings = {"trunk": "plain(width=4)", "size": SIZE, "batch_size": BATCH, "epochs": 1, "steps_per_epoch": 2}
    settings |= {"report": False, "verbose": 0, "sound_trunk": SOUND_TRUNK}
    whole = list(TASKS)
    whole[whole.index("rotation")] = "rotation(batch=4, weight=0.5)"
    run = tfssl.pretrain(
        TOY, whole, init=toy_run.folder, mixing="alternate", keep_every=1, out=tmp_path / "all", **settings
    )
    said = capsys.readouterr().err
    assert "taken over from" in said
    assert "rotation_logits" in said.split("; new:")[0]
    assert "jigsaw" in said.split("; new:")[1]
    assert run.epochs() == [1]
    assert set(run.prepared["scales"]) == set(TASKS)
    for name in TASKS:
        puzzle = puzzle_stream.puzzle_spec({task.name: task for task in run.tasks()}[name], SIZE, rows=2)[0]
        made = run.solver(name)(tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), puzzle))
        assert np.isfinite(made).all()
    with pytest.raises(tfssl.UserError, match="whose weights do not fit"):
        tfssl.pretrain(TOY, init=toy_run.folder, out=tmp_path / "wrong", **settings | {"trunk": "plain(width=8)"})
