"""The head of colorization: from lightness through the trunk to a map at a quarter of the size."""

from typing import Any

import keras
import tensorflow as tf

from tfssl.models.trunks import Trunk
from tfssl.pipelines.ops import lab
from tfssl.tasks.parts.colour_losses import SCALE
from tfssl.tasks.parts.decoder import ResizedLike, activated_convolution, double, doublings

CHANNELS = 128
REFERENCE = 16
PLACES = 4
UNFOLDED = 32
MOST = 5.0


def seen(lightness: Any) -> Any:
    """Convert lightness uint8 [N, H, W, 1] to what the trunk's body gets: float32 [N, H, W, 3], about standardised."""
    # Lightness of photos has a mean of about 50 and a deviation of 25, of 100.
    standardised = keras.layers.Rescaling(4 / 255, -2.0, dtype="float32", name="colorization_standardised")(lightness)
    return keras.layers.Concatenate(dtype="float32", name="colorization_channels")([standardised] * 3)


def upsample(features: Any, lightness: Any, trunk: Trunk) -> Any:
    """Upsample the trunk's map to at most 128 channels at a quarter of the size of the picture: [N, H / 4, W / 4, C].

    Doubled (nearest neighbours, then a convolution) as often as the trunk's stride asks for, then resized where the
    trunk's padding leaves it a little larger or smaller.
    """
    channels = min(CHANNELS, features.shape[-1])
    x = activated_convolution(features, channels, 3, "colorization_first")
    for level in range(1, doublings(trunk, lab.SHRINK) + 1):
        x = double(x, channels, "colorization", level)
    return ResizedLike(shrink=lab.SHRINK, name="colorization_quarter")([x, lightness])


def with_code(features: Any, puzzle: dict[str, Any], codes: int) -> tuple[Any, Any]:
    """Apply the conditional variational autoencoder: a code says which of the possible colourings it is.

    Of "reference" and of the trunk's map come mean and variance of a code of K numbers; "noise" makes a code of these,
    or is the code itself where "draw" is 1. It is unfolded to 4 x 4 places, so that parts of a picture can differ.

    Args:
      features: the trunk's map [N, h, w, C].
      puzzle: see `Colorization`.
      codes: K.

    Returns:
      The map with the unfolded code beside it, [N, h, w, C + 32], and mean and logarithm of the variance [N, 2 K].
    """
    x = keras.layers.Rescaling(1 / SCALE, dtype="float32", name="colorization_code_colours")(puzzle["reference"])
    x = ResizedTo(side=REFERENCE, name="colorization_code_resized")(x)
    for level in range(2):
        x = activated_convolution(x, UNFOLDED * 2**level, 3, f"colorization_code_{level}", stride=2)
    context = keras.layers.GlobalAveragePooling2D(name="colorization_code_context")(features)
    x = keras.layers.Flatten(name="colorization_code_flat")(x)
    x = keras.layers.Concatenate(name="colorization_code_joined")([x, context])
    numbers = keras.layers.Dense(2 * codes, dtype="float32", name="colorization_code_numbers")(x)
    code, numbers = DrawnCode(dtype="float32", name="colorization_code")([numbers, puzzle["noise"], puzzle["draw"]])
    x = keras.layers.Dense(PLACES * PLACES * UNFOLDED, name="colorization_code_unfolded")(code)
    x = keras.layers.Reshape((PLACES, PLACES, UNFOLDED), name="colorization_code_map")(x)
    x = ResizedLike(name="colorization_code_spread")([x, features])
    return keras.layers.Concatenate(name="colorization_code_beside")([features, x]), numbers


@keras.saving.register_keras_serializable("tfssl")
class ResizedTo(keras.layers.Layer):
    """Maps [N, h, w, C], resized bilinearly to [N, side, side, C]."""

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side = side

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        resized = tf.image.resize(maps, [self.side, self.side])
        return tf.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.side, self.side, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"side": self.side}


@keras.saving.register_keras_serializable("tfssl")
class DrawnCode(keras.layers.Layer):
    """Mean and logarithm of the variance [N, 2 K], noise [N, K], draw [N, 1] -> code [N, K], and the first, bounded.

    The code is mean + deviation * noise, or noise where draw is 1.
    """

    def call(self, inputs: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        numbers, noise, draw = inputs
        mean, log_variance = tf.split(numbers, 2, -1)
        mean, log_variance = MOST * tf.tanh(mean / MOST), MOST * tf.tanh(log_variance / MOST)
        of_picture = mean + tf.exp(log_variance / 2) * noise
        return draw * noise + (1 - draw) * of_picture, tf.concat([mean, log_variance], -1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[Any, Any]:
        return input_shape[1], input_shape[0]


@keras.saving.register_keras_serializable("tfssl")
class BesideEachPlace(keras.layers.Layer):
    """Maps [N, h, w, C] and numbers [N, K] -> [N, h, w, C + K], the numbers at each place: one output for both."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        maps, numbers = inputs
        shape = tf.concat([tf.shape(maps)[:3], tf.shape(numbers)[1:]], 0)
        return tf.concat([maps, tf.broadcast_to(numbers[:, None, None], shape)], -1)

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        maps, numbers = input_shape
        return (*maps[:3], maps[3] + numbers[1])
