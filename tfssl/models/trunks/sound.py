"""Trunks for sound: raw waveform in, the log-mel front end inside."""

import keras

from tfssl.base.errors import UserError
from tfssl.base.specs import check_settings, parse_call, unknown
from tfssl.models.trunks import Trunk, stages_of
from tfssl.models.trunks.layers import activate, convolution
from tfssl.models.trunks.log_mel import make_log_mel

BLOCKS = 4
DEFAULTS = {"width": 64}


def make_sound_trunk(text: str, samples: int, sample_rate: int) -> Trunk:
    """Make a sound trunk with new weights, under the Keras dtype policy of the moment.

    'l3(width=64)' is the audio network of Arandjelovic and Zisserman 2017 (arXiv 1705.08168): blocks of two 3x3
    convolutions with batch norm and ReLU, `width` channels in the first and twice as many in each next of four, halved
    by max-pooling between. It reads log-mel of 10 ms and 64 bins where the paper has a linear spectrogram.

    Args:
      text: its name.
      samples: the number of samples of a window.
      sample_rate: the rate of the sound, hertz.

    Returns:
      A `Trunk`: `pixels` is the front end, waveform float32 [N, samples] in -1..1 -> log-mel float32 [N, time, 64, 1];
      `body` maps that to the last stage's feature map, [N, time / 8, 8, 8 * width].

    Raises:
      UserError: an unknown name or setting, too few samples.
    """
    name, given = parse_call(text)
    if name != "l3":
        raise unknown("sound trunk", name, ("l3",))
    check_settings("sound trunk l3", given, DEFAULTS)
    width = (DEFAULTS | given)["width"]
    if width < 1:
        raise UserError(f"sound trunk l3: width={width} is given, expected more than 0")
    front = make_log_mel(samples, sample_rate)
    frames, bins = front.output_shape[1:3]
    if frames < 2 ** (BLOCKS - 1):
        raise UserError(
            f"{samples} samples of sound give {frames} windows, fewer than l3 can halve; give 0.1 s or more"
        )
    body = _l3(frames, bins, width)
    return Trunk(front, body, stages_of(body))


def make_sound_encoder(trunk: Trunk, samples: int, stage: str | None = None, pooled: bool = True) -> keras.Model:
    """Make one plain model of a sound trunk, which shares its weights and is saved as Keras's own layers only.

    Args:
      trunk: what to cut.
      samples: the number of samples of a window.
      stage: a stage, or any other layer of the body; the end of the body where None.
      pooled: whether the feature map is averaged over all places.

    Returns:
      A model, float32 [N, samples] (the input 'waveform') -> float32 [N, D], or [N, time, mel, C] where not pooled.

    Raises:
      UserError: an unknown stage.
    """
    body = trunk.body
    if stage is not None:
        if stage not in {each.name for each in body.layers}:
            raise UserError(f"the sound trunk has no stage {stage!r}; its stages are: {', '.join(trunk.stages)}")
        body = keras.Model(body.inputs[0], body.get_layer(stage).output, name="body")
    wave = keras.Input((samples,), dtype="float32", name="waveform")
    features = body(trunk.pixels(wave))
    last = keras.layers.GlobalAveragePooling2D if pooled else keras.layers.Identity
    outputs = last(dtype="float32", name="embedding" if pooled else "features")(features)
    return keras.Model(wave, outputs, name="sound_encoder")


def _l3(frames: int, bins: int, width: int) -> keras.Model:
    spectrogram = keras.Input((frames, bins, 1))
    x = spectrogram
    for block in range(1, BLOCKS + 1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        for part in (1, 2):
            x = activate(convolution(x, width << (block - 1), 3), f"stage{block}" if part == 2 else None)
    return keras.Model(spectrogram, x, name="sound_body")
