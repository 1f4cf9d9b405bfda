"""Trunks from `keras.applications`, without their weights: stages named, batch norm synchronised."""

import abc
import dataclasses
from typing import Any, ClassVar

import keras

from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks.family import Family
from tfssl.models.trunks.scaling import settings_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Application(Family, abc.ABC):
    """A network of `keras.applications`.

    Attributes:
      function: (of the class) the name that it has there.
      ends: (of the class) its layers that become stage1, stage2 and on, see `staged`.
      bare: (of the class) arguments of the function for a network that takes standardised pictures.
    """

    function: ClassVar[str]
    ends: ClassVar[tuple[str, ...]]
    bare: ClassVar[dict[str, Any]] = {}

    def arguments(self) -> dict[str, Any]:
        """Return the settings as the function takes them."""
        return {}

    def body(self, size: int) -> keras.Model:
        del size
        build = getattr(keras.applications, self.function)
        shape = (None, None, 3)
        model = build(weights=None, include_top=False, input_shape=shape, **self.arguments(), **self.bare)
        return staged(model, self.ends)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet50(Application):
    """ResNet-50 (He et al. 2016, arXiv 1512.03385); stages are its four groups of bottlenecks.

    Output shape: float [N, H / 32, W / 32, 2048], rounded up.
    """

    name: ClassVar[str] = "resnet50"
    function: ClassVar[str] = "ResNet50"
    ends: ClassVar[tuple[str, ...]] = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    least_size: ClassVar[int] = 32  # the resolution is quartered in the stem and halved three times more


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV3Small(Application):
    """MobileNetV3-Small (Howard et al. 2019, arXiv 1905.02244); stages end where the resolution halves.

    Output shape: float [N, H / 32, W / 32, 576 * width]; maps of odd size lose their last row and column when halved.

    Settings:
      width: times the paper's channels.
    """

    width: float = 1.0
    name: ClassVar[str] = "mobilenet_v3_small"
    function: ClassVar[str] = "MobileNetV3Small"
    ends: ClassVar[tuple[str, ...]] = ("expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add")
    bare: ClassVar[dict[str, Any]] = {"include_preprocessing": False}
    least_size: ClassVar[int] = 32  # the resolution is quartered in the stem and halved three times more

    def arguments(self) -> dict[str, Any]:
        return {"alpha": self.width}


def staged(model: keras.Model, ends: tuple[str, ...]) -> keras.Model:
    """Make a network like another one, with new weights, whose stages are named, and its scaling in float32.

    Args:
      model: of `keras.applications`, without its top.
      ends: the layers that become stage1, stage2 and on, and operations that are followed by one; where what the model
        ends with is not among them it is one more.
    """
    last = model.outputs[0]._keras_history.operation.name
    names = {end: f"stage{stage}" for stage, end in enumerate(dict.fromkeys((*ends, last)), 1)}

    def clone(operation: keras.Operation) -> keras.Operation:
        if not isinstance(operation, keras.layers.Layer):
            return type(operation).from_config(operation.get_config() | {"name": operation.name})
        settings = settings_of(operation) | {"name": names.get(operation.name, operation.name)}
        if isinstance(operation, keras.layers.BatchNormalization):
            return BatchNormalization.from_config(settings | {"synchronized": True})
        if isinstance(operation, keras.layers.Rescaling | keras.layers.Normalization):
            settings["dtype"] = "float32"  # half precision tells few of 256 grey levels apart
        return type(operation).from_config(settings)

    def call(operation: keras.Operation, *inputs: Any, **settings: Any) -> Any:
        outputs = operation(*inputs, **settings)
        if isinstance(operation, keras.layers.Layer) or operation.name not in names:
            return outputs
        return keras.layers.Identity(name=names[operation.name])(outputs)  # only layers are found by their names

    cloned = keras.models.clone_model(model, clone_function=clone, call_function=call)
    return keras.Model(cloned.inputs[0], cloned.outputs[0], name="body")
