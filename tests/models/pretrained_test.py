"""Trunks with weights of others are the networks of Keras, pixel for pixel."""

import re

import keras
import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk, make_encoder, make_pixels, networks, stages_of
from tfssl.models.trunks.files import with_random_weights
from tfssl.models.trunks.opening import open_trunk
from tfssl.models.trunks.pretrained import DEVIATIONS, make_pretrained

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
LARGER = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)


def weigh(model, seed=1):
    """Give a network weights such that its answers are of the size of its inputs, and all its layers matter."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("gamma", "variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("beta", "mean", "bias")):
            weight.assign(rng.normal(0.0, 0.1, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # Keras computes with a copy of what it keeps
    return model


def expected(model, images, preprocess_input=None):
    pixels = images.astype(np.float32)
    return np.asarray(model(pixels if preprocess_input is None else preprocess_input(pixels)))


def check_equal(found, wanted):
    scale = np.abs(wanted).max()
    assert np.ptp(wanted) > 0.01 * scale
    np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network of keras.applications, and the file of its weights. It takes a second to build."""
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    weigh(model).save_weights(path)
    return model, path


@pytest.fixture(scope="module")
def trunk(network):
    """It takes two seconds to build."""
    return make_pretrained(f"mobilenet_v3_small(width=0.35, weights={str(network[1])!r})", 32)


def test_a_file_of_weights_gives_the_features_that_keras_gives(network, trunk):
    """A network is copied, which takes a second."""
    model, _ = network
    assert trunk.stages == ("stage1", "stage2", "stage3", "stage4")
    wanted = keras.Model(model.inputs, [model.get_layer("expanded_conv_2_add").output, model.output])
    found = keras.Model(trunk.body.inputs, [trunk.body.get_layer("stage2").output, trunk.body.output])
    for one, other in zip(found(trunk.pixels(IMAGES)), wanted([IMAGES.astype(np.float32)]), strict=True):
        check_equal(np.asarray(one), np.asarray(other))
    assert np.abs(with_random_weights(trunk)(IMAGES) - one).max() > 0.1 * np.abs(other).max()


FAMILIES = {
    "resnet50": (64, ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]),
    "mobilenet": (32, [f"conv_pw_{block}_relu" for block in (1, 3, 5, 11, 13)]),
}
SLOW = {
    "convnext_tiny": (32, None),
    "densenet121": (32, ["conv1_relu", "pool2_conv", "pool3_conv", "pool4_conv", "relu"]),
    "efficientnet_v2_b0": (32, ["block1a_project_activation", "block2b_add", "block4a_expand_activation",
                                "block6a_expand_activation", "top_activation"]),
    "efficientnet_b0": (32, ["block2a_expand_activation", "block3a_expand_activation", "block4a_expand_activation",
                             "block6a_expand_activation", "top_activation"]),
    "mobilenet_v2": (32, ["block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu",
                          "out_relu"]),
    "mobilenet_v3_large": (32, None),
    "resnet50_v2": (32, ["conv1_conv", "conv2_block2_out", "conv3_block3_out", "conv4_block5_out", "post_relu"]),
    "vgg16": (32, [*(f"block{block}_conv{2 + (block > 2)}" for block in range(1, 6)), "block5_pool"]),
    "vgg19": (32, [*(f"block{block}_conv{2 + 2 * (block > 2)}" for block in range(1, 6)), "block5_pool"]),
    "xception": (96, None),
    "inception_v3": (96, None),
    "inception_resnet_v2": (96, None),
    "nasnet_mobile": (32, None),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_sees_what_keras_shows_it_and_stages_are_its_ends(name):
    """The scaling of each family, on weights that the network has; building and copying one takes seconds."""
    size, ends = (FAMILIES | SLOW)[name]
    builder = networks.find(name)
    model = weigh(networks.build(builder, size, {}, name))
    images = LARGER[:, :size, :size]
    preprocess = networks.preprocessing_of(builder)
    body = networks.as_body(model, preprocess, size)
    trunk = Trunk(make_pixels(), body, stages_of(body))
    found = keras.Model(body.inputs, [body.get_layer(stage).output for stage in trunk.stages])(trunk.pixels(images))
    scaled = preprocess(images.astype(np.float32))
    check_equal(found[-1], np.asarray(model(scaled)))
    # Answers of the last layer hardly depend on the picture where weights are random: those of the first stage do.
    if name != "convnext_tiny":
        first = keras.Model(model.inputs, model.get_layer(networks.ends_of(model, size)[0]).output)
        check_equal(found[0], np.asarray(first(scaled)))
    sides = [each.shape[1] for each in found]
    assert sides == sorted(set(sides), reverse=True)  # each resolution once
    if ends is not None:
        assert networks.ends_of(model, size) == tuple(ends)
    if name == "convnext_tiny":  # blocks end with a sum, which is no layer
        assert [each.shape[1:] for each in found] == [(8, 8, 96), (4, 4, 192), (2, 2, 384), (1, 1, 768)]
        last = model.get_layer("convnext_tiny_downsampling_block_0").input
        wanted = keras.Model(model.inputs, last)(images.astype(np.float32))
        check_equal(np.asarray(found[0]), np.asarray(wanted))


def test_networks_of_keras_that_come_without_their_scaling_are_told_by_their_names():
    def advice(name):
        inputs = keras.Input((8, 8, 3))
        return networks.scaling_advice("a.keras", keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs), name=name))

    for name, function in (
        ("mobilenetv2_1.00_224", "MobileNetV2"),
        ("mobilenet_0.25_32", "MobileNet"),
        ("efficientnetv2-b0", "EfficientNetV2B0"),
        ("inception_resnet_v2", "InceptionResNetV2"),
        ("resnet50v2", "ResNet50V2"),
    ):
        assert f"a.keras has the name of keras.applications.{function}, whose" in advice(name)
        assert f"\"{function}(weights='a.keras')\", with" in advice(name)
    assert advice("body") == advice("my_resnet50") == ""


def test_a_body_takes_what_tasks_standardised_themselves(network, trunk):
    """A tile of the mean and the deviation of photos is to the network what grey levels of 0 to 255 are."""
    model, _ = network
    tiles = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    check_equal(np.asarray(trunk.body(tiles)), np.asarray(model(255 * (tiles * 0.25 + 0.47))))


def test_stages_are_the_last_layers_at_a_resolution_that_all_goes_through():
    conv = keras.layers.Conv2D
    inputs = keras.Input((32, 32, 3))
    first = conv(4, 3, 2, "same", name="first")(inputs)
    branch = conv(4, 3, padding="same", name="branch")(first)
    joined = keras.layers.Add(name="joined")([first, branch])
    beside = conv(4, 1, 2, "same", name="beside")(joined)  # a shortcut: what `half` gives is not all there is
    half = conv(4, 3, 2, "same", name="half")(keras.layers.ReLU(name="within")(joined))
    end = keras.layers.Add(name="end")([beside, half])
    assert networks.ends_of(keras.Model(inputs, keras.layers.ZeroPadding2D()(end)), 32) == ("joined", "end")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """A network with a classifier of seven classes, with its weights in all formats of Keras. It takes a second."""
    keras.utils.set_random_seed(2)
    model = weigh(keras.applications.MobileNet(weights=None, classes=7, alpha=0.25, input_shape=(32, 32, 3)))
    folder = tmp_path_factory.mktemp("classifiers")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    bare = keras.Model(model.inputs, model.get_layer("conv_pw_13_relu").output)
    bare.save(folder / "bare.h5")
    return bare, folder


@pytest.mark.parametrize(
    "file", ["a.keras", "bare.h5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.weights.h5", "a.h5"))]
)
def test_files_may_have_a_classifier(classifiers, file):
    """Each builds a network, which takes two seconds."""
    model, folder = classifiers
    trunk = make_pretrained(f"MobileNet(alpha=0.25, weights={str(folder / file)!r})", 32)
    check_equal(np.asarray(trunk(IMAGES)), expected(model, IMAGES, keras.applications.mobilenet.preprocess_input))


def test_weights_of_imagenet_are_those_that_keras_downloads(classifiers, monkeypatch):
    """It builds two networks, which takes two seconds."""
    model, folder = classifiers
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *arguments, **settings: folder / "bare.h5")
    trunk = make_pretrained("MobileNet(alpha=0.25, weights='imagenet')", 32)
    check_equal(np.asarray(trunk(IMAGES)), expected(model, IMAGES, keras.applications.mobilenet.preprocess_input))


@pytest.mark.slow
def test_a_file_of_the_weights_of_imagenet_divides_by_deviations_as_keras_does(tmp_path, monkeypatch):
    """EfficientNet's downloads hold deviations as variances. It builds three networks, which takes some seconds."""
    keras.utils.set_random_seed(3)
    builder = keras.applications.EfficientNetB0
    saved = weigh(builder(include_top=False, weights=None, input_shape=(32, 32, 3)))
    scaling = next(layer for layer in saved.layers if isinstance(layer, keras.layers.Normalization))
    scaling.adapt_mean.assign((0.485, 0.456, 0.406))
    scaling.adapt_variance.assign(DEVIATIONS)
    path = str(tmp_path / "downloaded.weights.h5")
    saved.save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *arguments, **settings: path)
    wanted = expected(builder(include_top=False, input_shape=(32, 32, 3)), IMAGES)
    check_equal(np.asarray(make_pretrained(f"efficientnet_b0(weights={path!r})", 32)(IMAGES)), wanted)


def test_a_file_of_a_trunk_is_trained_on_from_its_weights_and_its_scaling(tmp_path):
    inputs = keras.Input((None, None, 3))
    scaling = keras.layers.Normalization(name="scaling")
    scaling.adapt(np.random.default_rng(0).normal((1.0, 2.0, 3.0), (1.0, 2.0, 4.0), (50, 3)).reshape(1, 5, 10, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, name="stage1")(scaling(inputs)))
    model = keras.Model(inputs, x)
    model.trainable = False  # as under a classifier
    model.save(tmp_path / "own.keras")
    trunk = open_trunk(tmp_path / "own.keras", 32)
    pixels = (IMAGES / 255 - 0.47) / 0.25
    np.testing.assert_allclose(trunk(IMAGES), model(pixels.astype(np.float32)), atol=1e-5)
    assert len(trunk.body.trainable_variables) == 4
    assert trunk.body.get_layer("norm").synchronized
    others = with_random_weights(trunk)
    kernel = others.body.get_layer("stage1").get_weights()[0]
    assert np.abs(kernel - model.get_layer("stage1").get_weights()[0]).max() > 0
    seen = [keras.Model(each.body.inputs, each.body.get_layer("scaling").output) for each in (trunk, others)]
    np.testing.assert_array_equal(seen[0](trunk.pixels(IMAGES)), seen[1](trunk.pixels(IMAGES)))
    # And as an encoder of this package, at another size.
    make_encoder(trunk, 32, pooled=False).save(tmp_path / "encoder.keras")
    again = open_trunk(str(tmp_path / "encoder.keras"), 48)
    np.testing.assert_allclose(again(LARGER), trunk(LARGER), atol=1e-6)


def test_what_cannot_be_had_is_one_line(network, toy_run, monkeypatch, tmp_path):
    def get_file(*arguments, **settings):
        raise Exception("URL fetch failure on https://nowhere: no network")  # as Keras does

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    file, zipped = str(network[1]), str(tmp_path / "a.keras")
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(zipped)
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    for text, said in (
        (
            "vgg16(weights='imagenet')",
            "cannot be downloaded (URL fetch failure on https://nowhere: no network); downlo",
        ),
        (f"VGG16(weights={file!r})", f"{file} cannot be read"),
        (f"VGG16(weights={zipped!r})", f"{zipped} cannot be read"),
        (f"VGG16(weights={str(tmp_path / 'broken.keras')!r})", "cannot be read"),
        (zipped, "expected a built Keras model"),
        (str(tmp_path / "broken.keras"), "cannot be read"),
        ("none.keras", "none.keras does not exist"),
        ("vgg16(weights='none.h5')", "there is no file none.h5"),
        ("vgg16(weights='imagenet', depth=3)", "cannot be built for 32 pixels"),
        ("vgg16(depth=3)", "cannot be built for 32 pixels"),
        ("resnet10(weights='imagenet')", "resnet10 has no such weights"),
        ("vgg15(weights='imagenet')", "unknown trunk 'vgg15'"),
        ("vgg15", "unknown trunk 'vgg15'"),
        (str(toy_run.folder), "is a run; give it as --init, or its trunk alone: "),
    ):
        with pytest.raises(UserError, match=re.escape(said)) as problem:
            open_trunk(text, 32)
        assert "\n" not in str(problem.value)
