"""Audio-visual correspondence: does this sound fit this picture, and where in it does it come from?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks import Trunk
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.clips.clip_records import Clip
from tfssl.tasks.base import Batch, Encoders, Puzzle, learned_field
from tfssl.tasks.parts import classification
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.served import Served, ServedNetwork, Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

FUSIONS = ("distance", "concat", "localise")
NEGATIVES = ("clip", "shift")
WIDTH = 128
NUMBERS = "audio_visual_{}_numbers"
"""Names of the layers whose output, of picture and of sound, lies in one space."""
SLOPE = 3.0
"""Slope of the logits by the distance, at the start. They are even at the root of 2, as of unrelated directions."""
SIMILARITY = "audio_visual_similarity"
"""Name of the layer that gives the similarity of each place: float32 [B, h, w, 1]; with fusion="localise"."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioVisual(ChoiceTask, Served):
    """Does this sound fit this picture? (Arandjelovic and Zisserman 2017, arXiv 1705.08168; 2018, arXiv 1712.06651)

    A frame and the sound around it, or, for every other row, sound from elsewhere. What would tell the answer
    otherwise: the time stamp. Sound always lies around the time of some frame, in positives and negatives alike: drawn
    from two grids, it told 87.6 % of the answers without listening (the second paper, section 3.4 there). And with
    negatives="shift" the moments that have another one far enough away are the same for both. `tfssl audit` asks.

    Augmented as in the papers: frames are cropped and flipped, saturation 0.5 to 1.5, brightness +-32 of 255; the
    loudness of the sound +-10 %.

    Puzzle: {"image": uint8 [B, S, S, 3], "sound": float32 [B, samples] in -1..1}.
    Answer: int32 [B], 1 where they fit, 0 where not: even rows do, odd rows do not; order in a batch is random.
    Weight: float32 [B], 0 where there is no sound of that length, or no other to be had.
    Head: both encoders, each averaged over places, then to 128 numbers through a hidden layer; logits [B, 2].
      "distance": both of length 1; their Euclidean distance decides, through a layer that begins with the right sign
        (AVE-Net). Such embeddings can be searched across picture and sound.
      "concat": side by side, through two layers (L3-Net).
      "localise": the picture keeps its places; the similarity (scalar product) of each with the sound, scaled; the
        largest decides (AVOL-Net). `tfssl localise` draws them.

    Settings:
      fusion: see above.
      seconds: seconds of sound.
      negatives: "clip", the sound of another recording, out of those in the batch that have some; or "shift", of the
        same, `seconds` away at least.
      stage: the stage of the image trunk, for finer places with fusion="localise"; the end of the trunk where "".
    """

    fusion: str = "distance"
    seconds: float = 1.0
    negatives: str = "clip"
    stage: str = ""
    rate: tuple[int, ...] = learned_field()
    choices = 2
    name: ClassVar[str] = "audio_visual"
    reads: ClassVar[tuple[str, ...]] = ("clip", "sound")
    signature: ClassVar[str] = "localise"
    takes: ClassVar[tuple[str, ...]] = ("image_bytes", "waveform")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion not in FUSIONS:
            raise UserError(f"audio_visual: fusion={self.fusion!r} is given, expected one of {', '.join(FUSIONS)}")
        if self.negatives not in NEGATIVES:
            raise UserError(
                f"audio_visual: negatives={self.negatives!r} is given, expected one of {', '.join(NEGATIVES)}"
            )
        if not self.seconds >= 0.1:
            raise UserError(f"audio_visual: seconds={self.seconds} is given, expected 0.1 or more")

    def prepared(self, source: "AnySource") -> Self:
        return dataclasses.replace(self, rate=(source.sound_rate,))

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        (sample_rate,), size, records = self.rate, batch["image"].shape[1], batch["clip"]
        count, samples = records.shape[0], round(self.seconds * self.rate[0])
        fits = tf.range(count) % 2 == 0
        partner_seed, row_seed = tf.unstack(tf.random.split(seed, 2))
        given, others, has_partner = clip_records.parse(records), tf.range(count), tf.ones([count], tf.bool)
        if self.negatives == "clip":
            partners, has_partner = _partners(given, samples, partner_seed)
            others = tf.where(fits, others, partners)

        def row(number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            clip, heard, fit = given[number], given[others[number]], fits[number]
            here_seed, there_seed, gain_seed, crop_seed, colour_seed = tf.unstack(tf.random.split(seed, 5))
            if self.negatives == "shift":
                places, counts = draw_pair(clip, self.seconds, sample_rate, here_seed)
                place, elsewhere = tf.unstack(places)
            else:
                place, seen = draw_frame(clip, self.seconds, sample_rate, here_seed)
                elsewhere, there = draw_frame(heard, self.seconds, sample_rate, there_seed)
                counts = seen & (fit | (has_partner[number] & there))
            middle = tf.where(fit, _time(clip, place), self.time_of_other(heard, elsewhere, there_seed))
            sound = clip_records.waveform(
                heard.sound, heard.sound_start, middle - self.seconds / 2, samples, sample_rate
            )
            sound *= tf.random.stateless_uniform([], gain_seed, 0.9, 1.1)
            picture = tf.cond(
                clip.count > 0,
                lambda: clip_records.decode_frames(clip.frames(place)[None], size, crop_seed)[0],
                lambda: tf.zeros([size, size, 3], tf.uint8),
            )
            picture = tf.ensure_shape(recolour(picture, colour_seed), [size, size, 3])
            return picture, tf.clip_by_value(sound, -1.0, 1.0), tf.cast(counts, tf.float32)

        image, sound, weight = clip_records.over_rows(count, row_seed, row)
        return {"image": image, "sound": sound}, tf.cast(fits, tf.int32), weight

    def time_of_other(self, clip: Clip, place: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the time, float32 [], around which sound that does not fit is cut.

        It is that of a frame, as for sound that fits.
        """
        del seed
        return _time(clip, place)

    def questions(self, puzzle: Any, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return puzzle["image"][:, None], answer

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        heard = keras.layers.GlobalAveragePooling2D(name="audio_visual_heard")(encoders["sound"](puzzle["sound"]))
        heard = _project(heard, "sound")
        seen = _stage(encoders["image"], self.stage)(puzzle["image"])
        if self.fusion == "localise":
            seen = _project(seen, "image")  # a dense layer on the last axis is a 1x1 convolution
            product = keras.layers.Multiply(name="audio_visual_product")([seen, heard[:, None, None, :]])
            similarity = keras.ops.mean(product, -1, keepdims=True)
            similarity = keras.layers.Dense(1, dtype="float32", name=SIMILARITY)(similarity)
            most = keras.layers.GlobalMaxPooling2D(name="audio_visual_most")(similarity)
            return keras.ops.concatenate([keras.ops.zeros_like(most), most], axis=-1)
        seen = _project(keras.layers.GlobalAveragePooling2D(name="audio_visual_seen")(seen), "image")
        if self.fusion == "concat":
            both = keras.layers.Concatenate(name="audio_visual_both")([seen, heard])
            both = keras.layers.Dense(WIDTH, activation="relu", name="audio_visual_fused")(both)
            return classification.logits(both, 2, "audio_visual_logits")
        ends = [
            keras.layers.UnitNormalization(dtype="float32", name=f"audio_visual_{kind}_embedding")(each)
            for kind, each in {"image": seen, "sound": heard}.items()
        ]
        difference = keras.layers.Subtract(dtype="float32", name="audio_visual_difference")(ends)
        # The root of 0 has no gradient.
        distance = keras.ops.sqrt(keras.ops.sum(keras.ops.square(difference), -1, keepdims=True) + 1e-6)
        return keras.layers.Dense(
            2,
            kernel_initializer=keras.initializers.Constant(np.array([[SLOPE, -SLOPE]])),
            bias_initializer=keras.initializers.Constant(np.array([-SLOPE, SLOPE]) * math.sqrt(2)),
            dtype="float32",
            name="audio_visual_logits",
        )(distance)

    def served(self, run: Trained) -> ServedNetwork | None:
        """Serve where in each picture its window of sound comes from. With fusion="localise".

        Answers "heat" float32 [N, h, w], logits: above 0 the place sounds.
        """
        if self.fusion != "localise":
            return None
        model = similarity_of(run.solver(self.name))

        def answer(pictures: tf.Tensor, sound: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"heat": model({"image": pictures, "sound": sound}, training=False)[..., 0]}

        return ServedNetwork(answer)

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        images, sounds, answer = np.asarray(puzzle["image"]), np.asarray(puzzle["sound"]), np.asarray(answer)
        words = ("does not fit", "fits")
        rows = min(count, len(images))
        figure = Figure(figsize=(5.5, 1.9 * rows), layout="constrained")
        for row, (left, right) in enumerate(figure.subplots(rows, 2, squeeze=False, width_ratios=[1, 2])):
            left.imshow(images[row])
            left.set_axis_off()
            right.specgram(sounds[row] + 1e-6, NFFT=256, noverlap=128, Fs=self.rate[0] if self.rate else 2)
            right.tick_params(labelsize=6)
            title, colour = words[answer[row]], "black"
            if prediction is not None:
                guess = int(np.argmax(prediction[row]))
                title += f", said {words[guess]}"
                colour = "tab:green" if guess == answer[row] else "tab:red"
            right.set_title(title, fontsize=9, color=colour, loc="left")
        return figure


def similarity_of(solver: keras.Model) -> keras.Model:
    """Return the part of the network of audio_visual(fusion="localise") that outputs the map, float32 [B, h, w, 1]."""
    return keras.Model(solver.input, solver.get_layer(SIMILARITY).output)


def draw_frame(clip: Clip, seconds: float, sample_rate: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw a frame around whose time a clip has `seconds` of sound: its number int32 [], and whether there is one."""
    place, exists = _draw_place(_has_sound_around(clip, seconds, sample_rate), seed)
    return place[0], exists


def draw_pair(clip: Clip, seconds: float, sample_rate: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw two frames around whose times a clip has `seconds` of sound without overlap: int32 [2], whether there are.

    Any two that are far enough apart, in any order, alike: so the first is no other moment of a clip than the second.
    """
    fits, times = _has_sound_around(clip, seconds, sample_rate), clip.times
    apart = tf.abs(times[:, None] - times) >= seconds - 1 / sample_rate
    return _draw_place(fits[:, None] & fits & apart, seed)


def _has_sound_around(clip: Clip, seconds: float, sample_rate: int) -> tf.Tensor:
    """Say around the times of which frames there is so much sound: bool [T]."""
    end = clip.sound_start + tf.cast(clip.samples, tf.float32) / sample_rate
    times, rounding = clip.times, 1 / sample_rate
    return (times - seconds / 2 >= clip.sound_start - rounding) & (times + seconds / 2 <= end + rounding)


def _draw_place(allowed: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw a place where `allowed`, bool [T] or [T, T], holds, and say whether any does.

    The place is int32 [1] or [2], 0 where none does.
    """
    places = tf.cast(tf.where(allowed), tf.int32)
    count, rank = tf.shape(places)[0], allowed.shape.rank
    draw = tf.random.stateless_uniform([], seed, 0, tf.maximum(count, 1), tf.int32)
    return tf.cond(count > 0, lambda: places[draw], lambda: tf.zeros([rank], tf.int32)), count > 0


def _partners(given: clip_records.Clips, samples: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return for each clip another recording of the batch that has so much sound, int32 [B], and whether there is one.

    Silent clips are passed over, or positives would count more often than negatives.
    """
    sounds = tf.strings.length(given.sound) // 2 >= samples
    allowed = sounds & (given.recording[:, None] != given.recording)
    draws = tf.random.stateless_uniform(tf.shape(allowed), seed)
    return tf.argmax(tf.where(allowed, draws, -1.0), 1, tf.int32), tf.reduce_any(allowed, 1)


def _time(clip: Clip, place: tf.Tensor) -> tf.Tensor:
    return tf.cond(clip.count > 0, lambda: clip.times[place], lambda: 0.0)


def recolour(picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change the saturation, times 0.5 to 1.5, about grey, and the brightness, +-32, of uint8 [S, S, 3]."""
    draws = tf.random.stateless_uniform([2], seed)
    saturation, brightness = 0.5 + draws[0], 64 * (draws[1] - 0.5)
    # As one product of matrices: a mean over three channels alone takes a third of the decoding.
    mixed = saturation * tf.eye(3) + (1 - saturation) / 3
    levels = tf.reshape(tf.cast(picture, tf.float32), [-1, 3]) @ mixed + (brightness + 0.5)
    return tf.reshape(tf.cast(tf.clip_by_value(levels, 0, 255), tf.uint8), tf.shape(picture))


def _project(features: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """Project [..., C] to [..., 128] through a hidden layer."""
    hidden = keras.layers.Dense(WIDTH, use_bias=False, name=f"audio_visual_{kind}_hidden")(features)
    hidden = BatchNormalization(name=f"audio_visual_{kind}_norm")(hidden)
    hidden = keras.layers.ReLU(name=f"audio_visual_{kind}_relu")(hidden)
    return keras.layers.Dense(WIDTH, name=NUMBERS.format(kind))(hidden)


def _stage(trunk: Trunk, stage: str) -> Trunk | keras.Model:
    """Return the trunk, or its part that ends with a stage; weights are shared.

    Raise UserError for an unknown stage.
    """
    if not stage:
        return trunk
    if stage not in trunk.stages:
        raise UserError(f"audio_visual: stage={stage!r} is given, the trunk has: {', '.join(trunk.stages)}")
    body = keras.Model(trunk.body.inputs[0], trunk.body.get_layer(stage).output, name=f"audio_visual_{stage}")
    return Trunk(trunk.pixels, body, trunk.stages)
