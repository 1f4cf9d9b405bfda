import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models import batch_norm

EPSILON = 1e-3


def two_layers(dropout=0.0):
    """Dense, batch norm, ReLU, Dense, batch norm; the second half is a model of its own."""
    inner_inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="second")(keras.layers.Dense(3)(inner_inputs))
    inner = keras.Model(inner_inputs, x)
    inputs = keras.Input((5,))
    x = keras.layers.BatchNormalization(name="first", momentum=0.9)(keras.layers.Dense(4)(inputs))
    x = keras.layers.Dropout(dropout)(keras.layers.ReLU()(x))
    return keras.Model(inputs, inner(x)), inner


def expected(model, inner, batches):
    """Mean and variance of both layers, in numpy, from the definition."""
    first, second = model.layers[1].get_weights(), inner.layers[1].get_weights()
    scale, shift = model.get_layer("first").get_weights()[:2]
    moments = [[], []]
    rows = [len(batch) for batch in batches]
    for batch in batches:
        x = batch.astype(np.float64) @ first[0] + first[1]
        moments[0].append((x.mean(0), (x**2).mean(0)))
        x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON) * scale + shift, 0)
        x = x @ second[0] + second[1]
        moments[1].append((x.mean(0), (x**2).mean(0)))
    for layer in moments:
        mean, square = (np.average(values, 0, rows) for values in zip(*layer, strict=True))
        yield mean, square - mean**2


def randomised(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in model.get_weights()])
    return model


def trained(layer, inputs, strategy=None):
    """Outputs, gradients of the inputs and of the weights, and moving statistics of one step of training, in float32.

    Of several replicas, each gets an equal part of the inputs; gradients of the weights are added up.
    """

    def one(part):
        with tf.GradientTape() as tape:
            tape.watch(part)
            outputs = layer(part, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
        return outputs, *tape.gradient(loss, [part, *layer.trainable_variables])

    if strategy is None:
        made = [tf.function(one)(tf.constant(inputs))]
    else:
        parts = np.split(inputs, strategy.num_replicas_in_sync)
        with strategy.scope():
            layer.build(inputs.shape)
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        run = tf.function(lambda value: strategy.run(one, [value]))
        made = zip(*(strategy.experimental_local_results(value) for value in run(distributed)), strict=True)
    outputs, gradient, gamma, beta = (
        [np.asarray(each, np.float32) for each in values] for values in zip(*made, strict=True)
    )
    statistics = [variable.numpy() for variable in (layer.moving_mean, layer.moving_variance)]
    return [np.concatenate(outputs), np.concatenate(gradient), sum(gamma), sum(beta), *statistics]


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (1, 1, 1, 3), (8, 3)])
def test_a_step_on_one_replica_is_that_of_keras(shape):
    inputs = np.random.default_rng(0).normal(2, 3, shape).astype("float32")
    settings = {"momentum": 0.8, "gamma_initializer": "random_normal", "beta_initializer": "random_normal"}
    keras.utils.set_random_seed(0)
    mine = trained(batch_norm.BatchNormalization(**settings), inputs)
    keras.utils.set_random_seed(0)
    theirs = trained(keras.layers.BatchNormalization(**settings), inputs)
    for value, right in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-4)
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(mine[-1], 0.8 + 0.2 * inputs.astype(np.float64).var(axes), rtol=1e-5)  # no n - 1


def test_a_step_in_bfloat16_is_that_of_keras_up_to_its_eight_bits():
    inputs = tf.cast(np.random.default_rng(0).normal(2, 3, (6, 5, 4, 3)), tf.bfloat16).numpy()
    layers = [kind(dtype="mixed_bfloat16") for kind in (batch_norm.BatchNormalization, keras.layers.BatchNormalization)]
    for layer in layers:
        assert layer(tf.constant(inputs), training=True).dtype == tf.bfloat16
        layer.moving_mean.assign(tf.zeros(3))
        layer.moving_variance.assign(tf.ones(3))
    for value, right in zip(*(trained(layer, inputs) for layer in layers), strict=True):
        np.testing.assert_allclose(value, right, rtol=2**-6, atol=0.05 * np.abs(right).max())


def test_two_replicas_share_their_statistics(replicas):
    inputs = np.random.default_rng(0).normal(2, 3, (6, 5, 4, 3)).astype("float32")
    inputs[:3] += 5  # statistics of one half alone would be far off
    one, two = (trained(batch_norm.BatchNormalization(), inputs, strategy) for strategy in (None, replicas))
    for value, right in zip(two, one, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-4)


def test_a_frozen_layer_keeps_to_its_moving_statistics():
    layer = batch_norm.BatchNormalization(trainable=False)
    inputs = tf.random.stateless_normal([4, 3, 3, 2], [0, 0]) * 3
    np.testing.assert_allclose(layer(inputs, training=True), inputs / np.sqrt(1 + EPSILON), rtol=1e-5)


def test_a_file_names_the_layer_of_keras(tmp_path):
    inputs = keras.Input((3, 3, 2))
    model = keras.Model(inputs, batch_norm.BatchNormalization(momentum=0.7)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").layers[1]
    assert type(again) is keras.layers.BatchNormalization
    assert again.get_config() == model.layers[1].get_config()
    assert again.synchronized


@pytest.mark.smoke
@pytest.mark.parametrize("rows", [(16, 16, 16), (16, 16, 5)])
@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_are_those_of_the_definition_and_nothing_else_changes(rows, frozen):
    keras.utils.set_random_seed(0)
    model, inner = two_layers()
    randomised(inner)
    scale = np.random.default_rng(2).uniform(0.5, 2, (2, 4))
    model.get_layer("first").set_weights([*scale, np.zeros(4), np.ones(4)])
    model.trainable = not frozen
    weights = [v.numpy() for v in model.variables]
    batches = [np.random.default_rng(k).normal(k, 1 + k, (n, 5)).astype("float32") for k, n in enumerate(rows)]
    # Two more, which are past the number of steps.
    batch_norm.estimate(model, [tf.constant(batch) for batch in [*batches, *batches[:2]]], 3)
    layers = (model.get_layer("first"), inner.get_layer("second"))
    for layer, (mean, variance) in zip(layers, expected(model, inner, batches), strict=True):
        np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-4, atol=1e-5)
        assert layer.trainable is not frozen
    assert [layer.momentum for layer in layers] == [0.9, 0.99]
    for variable, value in zip(model.variables, weights, strict=True):
        if "moving_" not in variable.path:
            np.testing.assert_array_equal(variable.numpy(), value)


def test_the_state_of_dropout_is_as_before():
    model, _ = two_layers(dropout=0.5)
    state = next(v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state"))
    before = state.numpy()
    batch_norm.estimate(model, [tf.random.stateless_normal([8, 5], [0, 0])] * 2, 2)
    np.testing.assert_array_equal(state.numpy(), before)


def test_a_batch_that_fails_leaves_the_statistics():
    model, _ = two_layers()
    before = [v.numpy() for v in model.variables]
    good = tf.random.stateless_normal([8, 5], [0, 0])

    def batches():
        yield good
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        batch_norm.estimate(model, batches(), 2)
    with pytest.raises(ValueError, match="no batch"):
        batch_norm.estimate(model, [], 2)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    model(good, training=True)  # and training goes on with the momentum of before
    mean = model.layers[1](good).numpy().mean(0)
    np.testing.assert_allclose(model.get_layer("first").moving_mean.numpy(), 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_a_model_without_batch_norm_is_left_alone():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    before = model.get_weights()
    batch_norm.estimate(model, [], 2)  # needs no batches either
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
