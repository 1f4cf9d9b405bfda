"""Trunks from `keras.applications`, without their weights: stages named, batch norm synchronised."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras

from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks.family import Family


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet50(Family):
    """ResNet-50 (He et al. 2016, arXiv 1512.03385); stages are its four groups of bottlenecks.

    Output shape: float [N, H / 32, W / 32, 2048], rounded up.
    """

    name: ClassVar[str] = "resnet50"
    least_size: ClassVar[int] = 32  # the resolution is quartered in the stem and halved three times more

    def body(self, size: int) -> keras.Model:
        del size
        ends = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
        return application(keras.applications.ResNet50, ends)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV3Small(Family):
    """MobileNetV3-Small (Howard et al. 2019, arXiv 1905.02244); stages end where the resolution halves.

    Output shape: float [N, H / 32, W / 32, 576 * width]; maps of odd size lose their last row and column when halved.

    Settings:
      width: times the paper's channels.
    """

    width: float = 1.0
    name: ClassVar[str] = "mobilenet_v3_small"
    least_size: ClassVar[int] = 32  # the resolution is quartered in the stem and halved three times more

    def body(self, size: int) -> keras.Model:
        del size
        ends = ("expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add")
        return application(keras.applications.MobileNetV3Small, ends, alpha=self.width, include_preprocessing=False)


def application(build: Callable[..., keras.Model], ends: tuple[str, ...], **settings: Any) -> keras.Model:
    """Make the convolutions of a `keras.applications` model, randomly initialised.

    Args:
      build: the function of `keras.applications`.
      ends: the layers that become stage1, stage2 and on; where the model's last layer is not among them it is one more.
      **settings: passed to `build`.
    """
    model = build(weights=None, include_top=False, input_shape=(None, None, 3), **settings)
    last = model.layers[-1].name
    names = {end: f"stage{stage}" for stage, end in enumerate(dict.fromkeys((*ends, last)), 1)}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        settings = layer.get_config() | {"name": names.get(layer.name, layer.name)}
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNormalization.from_config(settings | {"synchronized": True})
        return type(layer).from_config(settings)

    cloned = keras.models.clone_model(model, clone_function=clone)
    return keras.Model(cloned.inputs[0], cloned.outputs[0], name="body")
