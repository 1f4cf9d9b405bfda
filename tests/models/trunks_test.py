import dataclasses
import os
import subprocess
import sys
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import TRUNKS, layers, make_encoder, make_trunk
from tfssl.models.trunks.family import Family


def convolution(before, after, kernel):
    return before * after * kernel * kernel + 4 * after  # four numbers a channel are batch norm's


def residual_count(blocks, width, stem_kernel):
    total, before = convolution(3, width, stem_kernel), width
    for stage, count in enumerate(blocks):
        after = width << stage
        for index in range(count):
            total += convolution(before, after, 3) + convolution(after, after, 3)
            if index == 0 and stage > 0:
                total += convolution(before, after, 1)
            before = after
    return total


def nin_count(blocks, width=192):
    a, b, c = width, width * 5 // 6, width // 2
    total = convolution(3, a, 5) + convolution(a, b, 1) + convolution(b, c, 1)
    total += convolution(c, a, 5) + 2 * convolution(a, a, 1)
    return total + (blocks - 2) * (convolution(a, a, 3) + 2 * convolution(a, a, 1))


def alexnet_count(width=64):
    channels = (width, 3 * width, 6 * width, 4 * width, 4 * width)
    return sum(map(convolution, (3, *channels), channels, (11, 5, 3, 3, 3)))


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [
        ("resnet10(width=32)", 32, residual_count((1, 1, 1, 1), 32, 3)),
        ("resnet18(width=16)", 64, residual_count((2, 2, 2, 2), 16, 3)),
        # torchvision's resnet18 and resnet34 have 11,689,512 and 21,797,672 trainable numbers, 513,000 of them in the
        # classifier, and a mean and a variance for each of their 4,800 and 8,512 batch norm channels.
        ("resnet18", 65, 11_689_512 - 513_000 + 2 * 4_800),
        ("resnet34", 96, 21_797_672 - 513_000 + 2 * 8_512),
        ("nin", 32, nin_count(4)),
        ("nin(blocks=3)", 32, nin_count(3)),
        ("nin(blocks=5, width=48)", 32, nin_count(5, 48)),
        ("alexnet", 64, alexnet_count()),
        ("alexnet(width=16)", 64, alexnet_count(16)),
        # The applications' own count, as Keras documents them with `include_top=False`.
        ("resnet50", 64, 23_587_712),
        ("mobilenet_v3_small", 64, 939_120),
    ],
)
def test_parameters(name, size, count):
    assert make_trunk(name, size).body.count_params() == count


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        ("resnet10(width=8)", 32, [(32, 8), (16, 16), (8, 32), (4, 64)]),
        ("resnet10(width=8)", 33, [(33, 8), (17, 16), (9, 32), (5, 64)]),
        ("resnet10(width=8)", 64, [(64, 8), (32, 16), (16, 32), (8, 64)]),
        ("resnet10(width=8)", 65, [(17, 8), (9, 16), (5, 32), (3, 64)]),
        ("nin(blocks=5, width=12)", 32, [(16, 6), (8, 12), (8, 12), (8, 12), (8, 12)]),
        ("nin(blocks=3, width=12)", 31, [(16, 6), (8, 12), (8, 12)]),
        ("alexnet(width=4)", 224, [(55, 4), (27, 12), (13, 24), (13, 16), (13, 16)]),
        ("alexnet(width=4)", 95, [(23, 4), (11, 12), (5, 24), (5, 16), (5, 16)]),
        ("resnet50", 64, [(16, 256), (8, 512), (4, 1024), (2, 2048)]),
        ("mobilenet_v3_small", 64, [(16, 16), (8, 24), (4, 48), (2, 576)]),
        ("mobilenet_v3_small(width=0.5)", 49, [(12, 8), (6, 16), (3, 24), (1, 288)]),
    ],
)
def test_stages_have_the_shapes_of_the_papers(name, size, shapes):
    trunk = make_trunk(name, size)
    assert trunk.stages == tuple(f"stage{k}" for k in range(1, len(shapes) + 1))
    stages = keras.Model(trunk.body.input, [trunk.body.get_layer(stage).output for stage in trunk.stages])
    maps = stages(np.zeros((1, size, size, 3), "float32"))
    assert [(*y.shape[1:2], *y.shape[3:]) for y in maps] == shapes
    assert all(y.shape[1] == y.shape[2] for y in maps)
    np.testing.assert_array_equal(maps[-1], trunk(np.full((1, size, size, 3), 120, "uint8")) * 0 + maps[-1])


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_the_least_size_works_and_one_pixel_less_is_refused(name):
    least = TRUNKS[name].least_size
    encoder = make_encoder(make_trunk(name, least), least)
    assert np.isfinite(encoder(np.full((1, least, least, 3), 200, "uint8"))).all()
    with pytest.raises(UserError, match=f"too small for {name}; give {least} pixels"):
        make_trunk(name, least - 1)


def test_a_trunk_is_a_class(monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Tiny(Family):
        width: int = 3
        name: ClassVar[str] = "tiny"
        least_size: ClassVar[int] = 5

        def body(self, size):
            pixels = keras.Input((None, None, 3))
            return keras.Model(pixels, keras.layers.Conv2D(self.width, 1, size // 4, name="stage1")(pixels))

    monkeypatch.setitem(TRUNKS, "tiny", Tiny)
    trunk = make_trunk("tiny(width=2)", 8)
    assert (trunk.stages, trunk.body.compute_output_shape((1, 8, 8, 3))) == (("stage1",), (1, 4, 4, 2))
    refused = {
        "tiny(width=0)": "trunk tiny: width=0 is given, expected more than 0",
        "tiny(width=1.5)": "trunk tiny: width=1.5 is given, expected int, such as 3",
        "tiny(depth=2)": "trunk tiny has no setting 'depth'; its settings are: width",
        "nin(blocks=6)": "trunk nin: blocks=6 is given, expected 3, 4 or 5",
        "resnet50(width=2)": "trunk resnet50 has no setting 'width'; its settings are: none",
    }
    for text, said in refused.items():
        with pytest.raises(UserError) as problem:
            make_trunk(text, 32)
        assert str(problem.value) == said


def test_pixels_are_standardised():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), "uint8")
    pixels = make_trunk("nin(width=12)", 32).pixels(images)
    assert pixels.dtype == "float32"
    np.testing.assert_allclose(pixels, (images / 255 - 0.47) / 0.25, atol=1e-6)


def reference_resnet10(weights, x):
    """The network of the rotation yardstick, layer by layer, on weights in the order of `get_weights`."""
    rest = iter(weights)

    def convolved(x, stride):
        return keras.ops.conv(x, next(rest), strides=stride, padding="same")

    def normalised(x):
        scale, shift, mean, variance = (next(rest) for _ in range(4))
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift

    x = keras.ops.relu(normalised(convolved(x, 1)))
    for stride in (1, 2, 2, 2):
        branch = convolved(keras.ops.relu(normalised(convolved(x, stride))), 1)
        if stride == 1:
            x = keras.ops.relu(normalised(branch) + x)
        else:
            # Keras orders layers by depth: the shortcut's convolution comes before the branch's batch norm.
            shortcut = convolved(x, stride)
            x = keras.ops.relu(normalised(branch) + normalised(shortcut))
    return x


@pytest.mark.smoke
def test_resnet10_computes_what_the_yardstick_computes():
    trunk = make_trunk("resnet10(width=4)", 32)
    rng = np.random.default_rng(0)
    trunk.body.set_weights(
        [rng.uniform(0.5, 1.5, w.shape) * np.where(w == 0, 0.1, w) for w in trunk.body.get_weights()]
    )
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(trunk.body(x), reference_resnet10(trunk.body.get_weights(), x), rtol=1e-4, atol=1e-5)


@pytest.mark.smoke
def test_the_encoder_is_the_mean_of_the_map_and_shares_weights():
    trunk = make_trunk("nin(blocks=3, width=12)", 32)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    embedding = make_encoder(trunk, 32)(images)
    features = make_encoder(trunk, 32, pooled=False)(images)
    assert features.shape == (3, 8, 8, 12)
    np.testing.assert_allclose(embedding, np.mean(features, (1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features, trunk(images))
    quarters = np.reshape(features, (3, 2, 4, 2, 4, 12)).mean((2, 4))
    np.testing.assert_allclose(make_encoder(trunk, 32, pool=2)(images), quarters.reshape(3, -1), rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="--pool 9 is given, expected 1 to 8: the map of stage3 has 8 x 8 places"):
        make_encoder(trunk, 32, pool=9)
    assert make_encoder(trunk, 32, "stage1")(images).shape == (3, 6)
    encoder = make_encoder(trunk, 32)
    trunk.body.set_weights([2 * w for w in trunk.body.get_weights()])
    assert not np.allclose(encoder(images), embedding)


def test_saved_encoders_open_without_this_package(tmp_path):
    """All in one process, which takes some seconds to begin."""
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), "uint8")
    np.savez(tmp_path / "images.npz", images=images)
    wanted = {}
    pools = {"resnet10(width=4)": 5, "nin(width=12)": 2, "alexnet(width=4)": 1, "mobilenet_v3_small": 1}
    for name, pool in pools.items():
        encoder = make_encoder(make_trunk(name, 48), 48, "stage3", pool=pool)
        encoder.save(tmp_path / f"{name}.keras")
        wanted[name] = encoder(images)
    script = (
        "import keras, numpy, sys\n"
        "images = numpy.load('images.npz')['images']\n"
        f"for name in {list(wanted)}:\n"
        "    numpy.save(name + '.npy', keras.models.load_model(name + '.keras')(images))\n"
        "assert not any(name.split('.')[0] == 'tfssl' for name in sys.modules)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    for name, embeddings in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), embeddings, rtol=1e-5, atol=1e-6, err_msg=name)


def test_mixed_precision_computes_in_half_and_embeds_in_single():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        trunk = make_trunk("nin(width=12)", 32)
        encoder = make_encoder(trunk, 32)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    images = np.zeros((1, 32, 32, 3), "uint8")
    assert trunk.pixels(images).dtype == "float32"
    assert trunk(images).dtype == "bfloat16"
    assert encoder(images).dtype == "float32"
    assert make_encoder(trunk, 32, pooled=False)(images).dtype == "float32"


def test_a_model_of_ones_own():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="stage10")(keras.layers.Conv2D(4, 3, name="stage2")(images))
    trunk = make_trunk(keras.Model(images, x), 32)
    assert trunk.stages == ("stage2", "stage10")
    unnamed = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="end")])
    assert make_trunk(unnamed, 32).stages == ("end",)
    assert make_encoder(make_trunk(unnamed, 32), 32)(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 4)


@pytest.mark.parametrize(
    ("trunk", "message"),
    [
        ("resnet19", "unknown trunk 'resnet19'; trunks are: alexnet, mobilenet_v3_small, nin, resnet10"),
        ("resnet18(depth=3)", "trunk resnet18 has no setting 'depth'; its settings are: width"),
        ("resnet50(width=3)", "trunk resnet50 has no setting 'width'; its settings are: none"),
        ("resnet18(width='a')", "width='a' is given, expected int"),
        ("resnet18(width=0)", "width=0 is given, expected more than 0"),
        ("nin(blocks=6)", "blocks=6 is given, expected 3, 4 or 5"),
        ("resnet18(", "cannot read"),
    ],
)
def test_wrong_names_are_refused_with_the_known_ones(trunk, message, monkeypatch):
    monkeypatch.delitem(TRUNKS, "plain")  # of the tests
    with pytest.raises(UserError) as error:
        make_trunk(trunk, 64)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_models_of_another_shape_are_refused():
    flat = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    grey = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 3)])
    small = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    unbuilt = keras.Sequential([keras.layers.Conv2D(4, 3)])
    for model in (flat, grey, small, unbuilt):
        with pytest.raises(UserError, match="expected a built Keras model"):
            make_trunk(model, 32)


def test_an_unknown_layer_is_refused_with_the_stages():
    with pytest.raises(UserError, match="no stage 'stage9'; its stages are: stage1, stage2, stage3, stage4"):
        make_encoder(make_trunk("nin(width=12)", 32), 32, "stage9")


@pytest.mark.parametrize("size", [7, 48])
def test_strided_1x1_convolution_is_one_and_survives_its_gradient(size):
    """oneDNN crashed in this gradient: 8 channels, 48 pixels and more."""
    inputs = keras.Input((None, None, 8))
    model = keras.Model(inputs, layers.convolution(inputs, 16, 1, 2))
    images = tf.constant(np.random.default_rng(0).normal(size=(32, size, size, 8)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(images)
        made = model(images, training=True)
        loss = tf.reduce_sum(made**2)
    kernel = model.get_weights()[0]
    gradient = tape.gradient(loss, images)
    np.testing.assert_allclose(made, np.asarray(images)[:, ::2, ::2] @ kernel[0, 0], atol=1e-4)
    np.testing.assert_allclose(gradient[:, ::2, ::2], 2 * np.asarray(made) @ kernel[0, 0].T, atol=1e-3)
    assert not np.asarray(gradient)[:, 1::2].any()
