"""Tiny exports: versions made in a second, whose embedding tells their number; folders where no speed is measured."""

from pathlib import Path

import keras

from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.signatures.saving import write_saved_model
from tfssl.export.versions import new_version


def write_version(folder: Path, number: int) -> None:
    """Pixels 16 x 16 -> the mean of each colour in 0..1, plus the version's number; 400 samples -> mean square."""
    pixels = keras.Input((16, 16, 3), dtype="uint8")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255, offset=float(number))(pixels))
    wave = keras.Input((400,), dtype="float32")
    power = keras.ops.mean(keras.ops.square(wave), -1, keepdims=True)
    with new_version(folder, number) as (building, _):
        write_saved_model(encoder_signatures(keras.Model(pixels, mean), 16, keras.Model(wave, power)), building)


def unmeasured(folder: Path) -> Path:
    """Make a folder for an export with a batching.config, for which speeds would be measured: that takes 2 s."""
    folder.mkdir(parents=True)
    (folder / "batching.config").touch()
    return folder
