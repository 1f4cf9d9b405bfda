"""Key points: where are the joints? A heat map each, as Xiao et al. 2018 (arXiv 1804.06208)."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense.base import Additive, AnswerReader
from tfssl.downstream.dense.data import Annotated, Read
from tfssl.downstream.dense.joint_files import read_folder
from tfssl.downstream.dense.toy import toy_scenes
from tfssl.multitask.model import PretextModel
from tfssl.pipelines.ops.annotations import cut_points

THRESHOLDS = np.linspace(0, 0.5, 11)
"""Of the curve: distances, as shares of the torso or of the person's box."""
HEADLINE = 4
"""Which of them is the headline: 0.2."""
SIGMA = 1 / 24
"""Deviation of the Gaussian around a joint, as a share of the picture's side; Xiao et al. have 2 places of 64 x 48."""
TORSO = ("rightshoulder", "lefthip")
SIDES = {"l": "r", "left": "right", "r": "l", "right": "left"}


@dataclasses.dataclass(frozen=True)
class KeyPoints(Additive):
    """Where are the joints of the person, or of the thing?

    Answer: float32 [N, J, 1, 5]: x, y as shares of the sides, 1 where the joint is known, and inside; the length that
    distances are measured in, as a share too; unused. Network: logits float32 [N, h, w, J], whose softmax over all
    places of a joint's map should be a Gaussian around it (cross-entropy, as He et al. 2017, arXiv 1703.06870, have it
    with one place: it learns in fewer steps than the squared error).

    Measured by PCK@0.2: a joint is right where it is found within 0.2 torso lengths (right shoulder to left hip, where
    the joints have these names, else the longer side of the box around all known joints; of one whose torso is not
    known too). Over joints that are known, within the centred square.
    """

    name: ClassVar[str] = "keypoints"
    title: ClassVar[str] = "key points"
    headline: ClassVar[str] = "PCK@0.2"
    full_size: ClassVar[bool] = False

    @classmethod
    def read(cls, place: Any, settings: FinetuneSettings) -> Read:
        """Read 'toy:images(...)', of which those that show a person, or a folder: see `joint_files.read_folder`."""
        if (toy := toy_scenes(place, only="person")) is not None:
            from tfssl.pipelines.toy_world import CLASSES, KEY_POINTS

            names = KEY_POINTS[CLASSES.index("person")]
            points = toy.scenes.key_points[:, 0, : len(names), ::-1]
            inside = np.all((points >= 0) & (points < toy.scenes.image.shape[1]), -1, keepdims=True)
            answers = np.concatenate([np.where(inside, points, 0), inside], -1).astype(np.float32)
            return Read(toy.source, answers, names, toy.origin)
        return read_folder(place, settings.labels, settings.max_broken)

    @classmethod
    def made_of(cls, reads: Mapping[str, Read]) -> Self:
        names = reads["train"].names
        for part, read in reads.items():
            if read.names != names:
                raise UserError(
                    f"{part} has the joints {', '.join(read.names)}, and training {', '.join(names)}; give all parts"
                    " the same"
                )
        return cls(names=names, partners=partners_of(names))

    @property
    def what(self) -> str:
        return f"{len(self.names)} joints"

    @property
    def outputs(self) -> int:
        return len(self.names)

    def answer_reader(self, part: Annotated, size: int) -> AnswerReader:
        points, lengths = tf.constant(part.answers), tf.constant(reference_lengths(part.answers, self.names))
        partners = tf.constant(self.partners)

        def read(index: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
            moved = cut_points(tf.gather(points, index), box, mirrored, partners)
            length = tf.gather(lengths, index) / tf.cast(box[:, 3], tf.float32)
            more = tf.stack([length, tf.zeros_like(length)], 1)[:, None, :]
            return tf.concat([moved, tf.tile(more, [1, moved.shape[1], 1])], -1)[:, :, None, :]

        return read

    def answer_shape(self, model: PretextModel) -> tuple[int, int, int]:
        return len(self.names), 1, 5

    def losses(self, answers: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        height, width, count = outputs.shape[1:]
        x, y, known = answers[:, :, 0, 0], answers[:, :, 0, 1], answers[:, :, 0, 2]
        across = (tf.range(width, dtype=tf.float32) + 0.5) / width - x[..., None]
        down = (tf.range(height, dtype=tf.float32) + 0.5) / height - y[..., None]
        # No narrower than three quarters of a place: else a coarse map would have no place near the joint.
        wide, tall = max(SIGMA, 0.75 / width), max(SIGMA, 0.75 / height)
        exponent = (down / tall)[..., :, None] ** 2 + (across / wide)[..., None, :] ** 2
        wanted = tf.nn.softmax(tf.reshape(-exponent / 2, [-1, count, height * width]))
        logits = tf.reshape(tf.transpose(outputs, [0, 3, 1, 2]), [-1, count, height * width])
        each = tf.nn.softmax_cross_entropy_with_logits(wanted, logits) * known
        return tf.reduce_sum(each, 1) / tf.maximum(tf.reduce_sum(known, 1), 1.0)

    def finish(self, outputs: Any) -> Any:
        return keras.layers.Softmax(axis=(1, 2), dtype="float32", name="heat")(outputs)

    def add_up(self, answers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return [B, (1 + T) J]: which joints are known, and which of them are found within each threshold."""
        x, y, known, length = (answers[:, :, 0, number] for number in range(4))
        joints = found["joints"].astype(np.float64)
        distance = np.hypot(joints[..., 0] - x, joints[..., 1] - y) / np.maximum(length, 1e-9)
        right = (distance[:, None, :] <= THRESHOLDS[:, None]) & (known[:, None, :] > 0)
        return np.concatenate([known, right.reshape(len(known), -1)], 1).astype(np.float64)

    def as_found(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        return {"joints": np.where(answer[:, 0, 2:3] > 0, answer[:, 0, :2], np.nan)}

    def _shares(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how often each joint is known [..., J], and is found within each threshold [..., T, J]."""
        count = len(self.names)
        return sums[..., :count], sums[..., count:].reshape(*sums.shape[:-1], len(THRESHOLDS), count)

    def scores(self, sums: np.ndarray) -> np.ndarray:
        known, right = self._shares(sums)
        return right[..., HEADLINE, :].sum(-1) / np.maximum(known.sum(-1), 1)

    def figures(self, sums: np.ndarray) -> dict[str, float]:
        known, right = self._shares(sums)
        each = {
            f"PCK@0.2 of {name}": float(right[HEADLINE, number] / known[number])
            for number, name in enumerate(self.names)
            if known[number]
        }
        return {"PCK@0.2": float(self.scores(sums))} | each

    def curve(self, sums: np.ndarray) -> list[list[float]]:
        known, right = self._shares(sums)
        shares = right.sum(-1) / max(known.sum(), 1)
        return [[round(float(at), 3), float(share)] for at, share in zip(THRESHOLDS, shares, strict=True)]


def partners_of(names: tuple[str, ...]) -> tuple[int, ...]:
    """Return which joint each becomes in a mirror, by its name: left is right; itself where it has no side.

    Sides are said by a word of the name, as in 'l_ankle', 'left hand' and 'ankle-r'.
    """
    place = {name.lower(): number for number, name in enumerate(names)}
    found = []
    for number, name in enumerate(names):
        words = re.split(r"([^a-z0-9]+)", name.lower())
        other = "".join(SIDES.get(word, word) for word in words)
        found.append(place.get(other, number))
    return tuple(found)


def reference_lengths(points: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return the length that distances are measured in, in pixels, float32 [N].

    It is that of the torso, right shoulder to left hip, where both are known, else the longer side of the box around
    all known joints; a pixel at least.

    Args:
      points: float [N, J, 3]: x, y, 1 where known.
    """
    known = points[..., 2] > 0
    held = known.sum(1) > 0
    low = np.where(known[..., None], points[..., :2], np.inf).min(1)
    high = np.where(known[..., None], points[..., :2], -np.inf).max(1)
    lengths = np.where(held, np.max(np.where(held[:, None], high - low, 0), 1), 1.0)
    simple = [_simple(name) for name in names]
    if all(name in simple for name in TORSO):
        one, other = (simple.index(name) for name in TORSO)
        torso = np.hypot(*(points[:, one, :2] - points[:, other, :2]).T)
        lengths = np.where(known[:, one] & known[:, other], torso, lengths)
    return np.maximum(lengths, 1.0).astype(np.float32)


def _simple(name: str) -> str:
    """Return 'rightshoulder' of 'r_shoulder', 'right shoulder' and 'right_shoulder'."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    return "".join({"l": "left", "r": "right"}.get(word, word) for word in words)
