"""Backbones of KerasHub as trunks: the network that KerasHub opens, with the scaling that its preset says."""

import re

import keras
import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.models.trunks.opening import open_trunk, start_of

keras_hub = pytest.importorskip("keras_hub")

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder as `save_to_preset` writes it, and its network. KerasHub takes seconds to import."""
    keras.utils.set_random_seed(1)
    model = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    for weight in model.weights:
        if weight.path.endswith(("mean", "beta")):
            weight.assign(np.random.default_rng(0).normal(0.0, 0.1, weight.shape))
    folder = tmp_path_factory.mktemp("presets") / "small"
    model.save_to_preset(folder)
    converter = keras_hub.layers.ResNetImageConverter(scale=1 / 128, offset=[-0.5, -0.4, -0.3])
    converter.save_to_preset(folder)
    return model, folder


def test_a_backbone_sees_what_its_converter_gives_and_its_levels_are_stages(preset):
    model, folder = preset
    text = f"keras_hub(weights={str(folder)!r})"
    trunk = open_trunk(text, 32)
    assert trunk.stages == ("stage1", "stage2")
    wanted = model(IMAGES / np.float32(128) + np.float32([-0.5, -0.4, -0.3]))
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(trunk(IMAGES) / scale, wanted / scale, atol=1e-5)
    first = keras.Model(model.input, model.pyramid_outputs["P2"])(IMAGES / np.float32(128) + [-0.5, -0.4, -0.3])
    found = keras.Model(trunk.body.input, trunk.body.get_layer("stage1").output)(trunk.pixels(IMAGES))
    np.testing.assert_allclose(found, first, atol=1e-5 * np.abs(first).max())
    start = start_of(text, trunk)
    assert start["weights"] == str(folder)
    assert re.fullmatch("[0-9a-f]{64}", start["sha256"])


def test_without_a_converter_pictures_are_standardised(preset, tmp_path):
    model, _ = preset
    model.save_to_preset(tmp_path / "bare")
    wanted = model(((IMAGES / 255 - 0.47) / 0.25).astype(np.float32))
    found = open_trunk(f"keras_hub(weights={str(tmp_path / 'bare')!r})", 32)(IMAGES)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_what_cannot_be_had_is_one_line(preset, tmp_path):
    _, folder = preset
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    text_model = keras_hub.models.BertBackbone(
        vocabulary_size=10, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=8
    )
    text_model.save_to_preset(tmp_path / "text")
    foreign = keras_hub.models.MiTBackbone(
        image_shape=(32, 32, 3), hidden_dims=[8], layerwise_depths=[1], num_layers=1, layerwise_num_heads=[1],
        layerwise_sr_ratios=[1], max_drop_path_rate=0.1, layerwise_patch_sizes=[7], layerwise_strides=[4],
    )  # fmt: skip
    foreign.save_to_preset(tmp_path / "foreign")
    for text, said in (
        (f"keras_hub(weights={str(tmp_path / 'empty')!r})", "holds no config.json"),
        (f"keras_hub(weights={str(broken)!r})", "cannot be had"),
        ("keras_hub(weights='no_such_preset')", "no_such_preset cannot be had (Unknown preset identifier); give a"),
        ("keras_hub", "keras_hub is given without weights; give keras_hub(weights='PRESET')"),
        (f"keras_hub(weights={str(folder)!r}, depth=3)", "keras_hub takes weights= alone, and depth is given"),
        (f"keras_hub(weights={str(tmp_path / 'text')!r})", "BertBackbone is no network from pictures to maps"),
        (f"keras_hub(weights={str(tmp_path / 'foreign')!r})", "MiTBackbone has layers of KerasHub's own"),
    ):
        with pytest.raises(UserError, match=re.escape(said)) as problem:
            open_trunk(text, 32)
        assert "\n" not in str(problem.value)
