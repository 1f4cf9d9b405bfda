"""Optimizers do what their papers say, computed by numpy, also over replicas and over several small batches."""

import gc
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.multitask import averaging
from tfssl.multitask.optimizers import make_optimizer
from tfssl.runs.config import Recipe

RATES = [0.5, 0.25, 0.25, 0.125]
DECAY, MOMENTUM = 0.015625, 0.75
"""Exact in float32, in which Keras keeps a learning rate."""
SHAPES = ((3, 3, 2, 4), (4,), (4, 2))


@pytest.fixture
def weights():
    """A kernel of a convolution, a bias, and a kernel that is zero."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=SHAPES[0]), rng.normal(size=SHAPES[1]), np.zeros(SHAPES[2])]


@pytest.fixture
def gradients():
    """Of four steps."""
    rng = np.random.default_rng(1)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in RATES]


def train(optimizer, weights, gradients, rates=RATES):
    """Weights after some steps, float64."""
    variables = [keras.Variable(value, dtype="float64") for value in weights]
    optimizer.build(variables)
    for rate, step in zip(rates, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant(gradient) for gradient in step], variables)
    return [variable.numpy() for variable in variables]


def lars(weights, gradients, momentum):
    """As SimCLR's code: decay, trust, learning rate, momentum; biases, and what began at zero, by plain momentum."""
    adapts = [value.ndim > 1 and value.any() for value in weights]
    weights, speeds = [value.copy() for value in weights], [np.zeros_like(value) for value in weights]
    for rate, step in zip(RATES, gradients, strict=True):
        for weight, speed, gradient, adapt in zip(weights, speeds, step, adapts, strict=True):
            if weight.ndim > 1:
                gradient = gradient + DECAY * weight
                if adapt:
                    gradient = gradient * 0.001 * np.linalg.norm(weight) / np.linalg.norm(gradient)
            speed *= momentum
            speed += rate * gradient
            weight -= speed
    return weights


def adamw(weights, gradients, beta):
    """Algorithm 2 of Loshchilov and Hutter, with Keras's epsilon; no decay of biases."""
    weights = [value.copy() for value in weights]
    first, second = ([np.zeros_like(value) for value in weights] for _ in range(2))
    for step, (rate, of_step) in enumerate(zip(RATES, gradients, strict=True), 1):
        for place, gradient in enumerate(of_step):
            first[place] = beta * first[place] + (1 - beta) * gradient
            second[place] = 0.999 * second[place] + 0.001 * gradient**2
            # Keras corrects the two together, and adds epsilon to what is not corrected.
            size = rate * np.sqrt(1 - 0.999**step) / (1 - beta**step)
            if weights[place].ndim > 1:
                weights[place] -= rate * DECAY * weights[place]
            weights[place] -= size * first[place] / (np.sqrt(second[place]) + 1e-7)
    return weights


def sgd(weights, gradients, momentum):
    """Nesterov's momentum as Sutskever et al. 2013 have it, with the decay in the gradient."""
    weights, speeds = [value.copy() for value in weights], [np.zeros_like(value) for value in weights]
    for rate, step in zip(RATES, gradients, strict=True):
        for weight, speed, gradient in zip(weights, speeds, step, strict=True):
            gradient = gradient + DECAY * weight * (weight.ndim > 1)
            speed *= momentum
            speed -= rate * gradient
            weight += momentum * speed - rate * gradient
    return weights


FORMULAS = {"sgd": sgd, "adamw": adamw, "lars": lars}


@pytest.mark.parametrize("name", FORMULAS)
def test_updates_are_those_of_the_formula(name, weights, gradients):
    found = train(make_optimizer(MOMENTUM, DECAY, name), weights, gradients)
    for one, other in zip(found, FORMULAS[name](weights, gradients, MOMENTUM), strict=True):
        # Keras corrects Adam's averages in float32.
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 if name == "adamw" else 1e-9)


def test_lars_moves_a_kernel_by_its_own_size_however_large_the_gradient(weights, gradients):
    for factor in (1e-6, 1.0, 1e6):
        step = [factor * gradient for gradient in gradients[0]]
        after = train(make_optimizer(0.9, 0.0, "lars"), weights, [step], [2.0])
        moved = np.linalg.norm(after[0] - weights[0]) / np.linalg.norm(weights[0])
        assert moved == pytest.approx(2.0 * 0.001, rel=1e-6)
    still = train(make_optimizer(0.9, 0.0, "lars"), weights, [[np.zeros_like(value) for value in weights]], [2.0])
    for one, other in zip(still, weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "at_64", "at_256"), [("sgd", 0.1, 0.4), ("adamw", 0.001, 0.002), ("lars", 0.6, 0.075 * 16)]
)
def test_the_learning_rate_grows_with_the_batch_as_each_optimizer_wants_it(given, at_64, at_256):
    assert Recipe(optimizer=given).peak == at_64
    assert Recipe(optimizer=given, batch_size=256).peak == pytest.approx(at_256)
    assert Recipe(optimizer=given, batch_size=256, learning_rate=5 * at_64).peak == pytest.approx(5 * at_256)


def shorter(gradients, norm):
    """Each step's gradient, of all variables together, with this norm at most."""
    norms = [np.sqrt(sum(np.sum(part**2) for part in step)) for step in gradients]
    return [[part * min(1.0, norm / length) for part in step] for step, length in zip(gradients, norms, strict=True)]


def train_on_two(replicas, optimizer, weights, gradients, rates=RATES):
    """As `train`, where a replica has a quarter of each gradient and another thing, and the other one the rest."""
    with replicas.scope():
        variables = [keras.Variable(value, dtype="float64") for value in weights]
        made = optimizer()
        made.build(variables)

    @tf.function
    def step(gradient):
        def on_one():
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            made.apply([tf.where(first, 0.25 * part + 3.0, 0.75 * part - 3.0) for part in gradient], variables)

        replicas.run(on_one)

    for rate, gradient in zip(rates, gradients, strict=True):
        made.learning_rate = rate
        step([tf.constant(part) for part in gradient])
    return made, [variable.numpy() for variable in variables]


@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_clipped_is_the_gradient_of_all_weights_and_all_replicas(name, weights, gradients, replicas):
    """Each replica's own part is longer than the limit, whatever their sum is: Keras's own clips those."""
    norms = [np.sqrt(sum(np.sum(part**2) for part in step)) for step in gradients]
    norm = float(np.median(norms))
    want = FORMULAS[name](weights, shorter(gradients, norm), MOMENTUM)
    far = FORMULAS[name](weights, gradients, MOMENTUM)

    def optimizer():
        return make_optimizer(MOMENTUM, DECAY, name, clip_norm=norm)

    _, on_two = train_on_two(replicas, optimizer, weights, gradients)
    for found in (train(optimizer(), weights, gradients), on_two):
        for one, other in zip(found, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 if name == "adamw" else 1e-9)
        assert max(np.abs(one - other).max() for one, other in zip(found, far, strict=True)) > 1e-3


@pytest.fixture
def many():
    """Gradients of twelve small steps, three to an update."""
    rng = np.random.default_rng(2)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(3 * len(RATES))]


def means(gradients):
    """Of three steps each."""
    return [
        [np.mean(parts, 0) for parts in zip(*gradients[first : first + 3], strict=True)]
        for first in range(0, len(gradients), 3)
    ]


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_of_several_steps_make_one_update(name, weights, many, replicas):
    """Of their mean, clipped, by the learning rate of the last of them; on two replicas as on one."""
    rates = [3.0, 2.0, 0.0] * len(RATES)
    rates[2::3] = RATES
    want = FORMULAS[name](weights, shorter(means(many), 2.0), MOMENTUM)

    def optimizer():
        return make_optimizer(MOMENTUM, DECAY, name, clip_norm=2.0, accumulate=3)

    _, on_two = train_on_two(replicas, optimizer, weights, many, rates)
    for found in (train(optimizer(), weights, many, rates), on_two):
        for one, other in zip(found, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 if name == "adamw" else 1e-9)
    halfway, still = train_on_two(replicas, optimizer, weights, many[:2], rates[:2])
    for one, other in zip(still, weights, strict=True):
        np.testing.assert_array_equal(one, other)
    gathered = [total for total in halfway.variables if "accumulator" in total.name]
    for total, *parts in zip(gathered, *many[:2], strict=True):
        # Of both replicas, so that a checkpoint, which has the first copy alone, has all of it.
        np.testing.assert_allclose(total.numpy(), sum(parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_averages_move_at_each_update(accumulate, weights, many, replicas):
    """And are taken for a while without a trace."""
    rates = [0.25] * len(many)
    own, average = [value.copy() for value in weights], [np.zeros_like(value) for value in weights]
    for update, step in enumerate(means(many) if accumulate == 3 else many):
        for weight, kept, gradient in zip(own, average, step, strict=True):
            weight -= 0.25 * gradient
            kept *= 0.75 if update else 0.0
            kept += (0.25 if update else 1.0) * weight

    def optimizer():
        return make_optimizer(0.0, 0.0, accumulate=accumulate, ema=0.75)

    made, found = train_on_two(replicas, optimizer, weights, many, rates)
    alone = optimizer()
    for trained, after in ((made, found), (alone, train(alone, weights, many, rates))):
        model = SimpleNamespace(optimizer=trained, trainable_variables=trained._trainable_variables)
        for kept, want, weight, last in zip(averaging.averages(model), average, after, own, strict=True):
            np.testing.assert_allclose(kept.numpy(), want, rtol=0, atol=1e-12)
            np.testing.assert_allclose(weight, last, rtol=0, atol=1e-12)
        before = [variable.numpy() for variable in model.trainable_variables + averaging.averages(model)]
        with averaging.averaged(model):
            for variable, want in zip(model.trainable_variables, average, strict=True):
                np.testing.assert_allclose(variable.numpy(), want, rtol=0, atol=1e-12)
        for variable, value in zip(model.trainable_variables + averaging.averages(model), before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)


def test_the_learning_rate_grows_with_the_pictures_of_an_update():
    assert Recipe(batch_size=16, accumulate=8).peak == Recipe(batch_size=128).peak == 0.2
    assert Recipe(optimizer="lars", batch_size=32, accumulate=8).peak == pytest.approx(1.2)


def test_the_graph_of_a_model_goes_with_the_model():
    """Else a process that trains many networks, as `finetune --draws` does, has less and less memory."""

    def graphs():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(make_optimizer(0.9, 0.0), "mse", jit_compile=False)
        model.fit(np.zeros((4, 2)), np.zeros(4), verbose=0)
        assert any(each.name == "one_step_on_data" for each in alive())
        del model
        gc.collect()
        return len(alive())

    def alive():
        return [each for each in gc.get_objects() if type(each).__name__ == "FuncGraph"]

    assert graphs() == graphs()
