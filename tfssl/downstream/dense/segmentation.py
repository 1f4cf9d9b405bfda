"""Segmentation: which class is each pixel of? Masks are pictures of class numbers; 255 is left out."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import data
from tfssl.downstream.dense.base import Additive, AnswerReader
from tfssl.downstream.dense.data import Annotated, Read
from tfssl.downstream.dense.toy import toy_scenes
from tfssl.export.checking.golden import as_objects
from tfssl.multitask.model import PretextModel
from tfssl.pipelines.ops.annotations import cut_maps
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

IGNORED = 255
"""The value of pixels that are neither learned from nor measured."""
NAMES_FILE = "classes.txt"
EXPECTED = "a PNG with the number of a class in each pixel, grey or with a palette"


@dataclasses.dataclass(frozen=True)
class Segmentation(Additive):
    """Which class is each pixel of?

    Answer: float32 [N, S, S, 1], the number of a class, or 255. Network: logits float32 [N, S, S, C].

    Measured as in PASCAL VOC: the intersection over union of each class, over all test pixels together, averaged over
    classes that occur. At the network's size, of the centred square.
    """

    name: ClassVar[str] = "segmentation"
    headline: ClassVar[str] = "mIoU"

    @classmethod
    def read(cls, place: Any, settings: FinetuneSettings) -> Read:
        """Read 'toy:images(...)', or a folder with images/ and masks/, and classes.txt in it or beside it."""
        if (toy := toy_scenes(place)) is not None:
            from tfssl.pipelines.toy_world import CLASSES

            scenes = toy.scenes
            classes = np.take_along_axis(
                scenes.class_ids, np.maximum(scenes.instances.reshape(len(scenes), -1), 2) - 2, 1
            )
            things = classes.reshape(scenes.instances.shape) + 2
            drawn = np.where(scenes.instances < 2, scenes.instances, things).astype(np.uint8)
            return Read(
                toy.source, as_objects([_encoded(mask) for mask in drawn]), ("sky", "ground", *CLASSES), toy.origin
            )
        folder = Path(place)
        if not (folder / "images").is_dir() or not (folder / "masks").is_dir():
            raise UserError(
                f"{folder} has no images/ and masks/; expected both, with a mask of the same name a picture"
            )
        source = data.open_pictures(folder / "images", settings.max_broken)
        masks = data.files_by_stem(folder / "masks")
        given, sides, answers = _names(folder), upright_sides(source), []
        for path, side in zip(source.paths, sides, strict=True):
            stem = str(Path(path).relative_to(folder / "images").with_suffix(""))
            if stem not in masks:
                raise UserError(f"{path} has no mask; expected {folder / 'masks' / stem}.png")
            answers.append(_encoded(_read_mask(masks[stem], path, side, given)))
        return Read(RegionSource.of(source), as_objects(answers), given, source)

    @classmethod
    def made_of(cls, reads: Mapping[str, Read]) -> Self:
        """Take the names that there are, or number the classes up to the largest in any mask."""
        if reads["train"].names:
            return cls(names=reads["train"].names)
        highest = 0
        for read in reads.values():
            for encoded in read.answers:
                mask = tf.io.decode_png(encoded, 1).numpy()
                highest = max(highest, int(mask[mask != IGNORED].max(initial=0)))
        return cls(names=tuple(str(number) for number in range(max(highest, 1) + 1)))

    @property
    def what(self) -> str:
        return f"{len(self.names)} classes of pixels"

    @property
    def outputs(self) -> int:
        return len(self.names)

    def answer_reader(self, part: Annotated, size: int) -> AnswerReader:
        masks = tf.constant(part.answers.tolist())

        def read(index: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
            return tf.cast(cut_maps(tf.gather(masks, index), box, mirrored, size, 1, tf.uint8), tf.float32)

        return read

    def answer_shape(self, model: PretextModel) -> tuple[int, int, int]:
        height, width = model.outputs[0].shape[1:3]
        return height, width, 1

    def losses(self, answers: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        numbers = tf.cast(answers[..., 0], tf.int32)
        counts = tf.cast(numbers != IGNORED, tf.float32)
        known = tf.where(numbers != IGNORED, numbers, 0)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(known, outputs) * counts
        return tf.reduce_sum(each, [1, 2]) / tf.maximum(tf.reduce_sum(counts, [1, 2]), 1.0)

    def finish(self, outputs: Any) -> Any:
        return keras.layers.Softmax(dtype="float32", name="probabilities")(outputs)

    def add_up(self, answers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return [B, 3 C]: pixels of each class that are right, that have the class, and that were given it."""
        count, rows = len(self.names), []
        for answer, named in zip(answers[..., 0].astype(int), found["class_map"], strict=True):
            held = answer != IGNORED
            pairs = np.bincount(answer[held] * count + named[held], minlength=count**2).reshape(count, count)
            rows.append(np.concatenate([np.diag(pairs), pairs.sum(1), pairs.sum(0)]))
        return np.array(rows, np.float64)

    def as_found(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        return {"class_map": answer[..., 0].astype(int)}

    def _ious(self, sums: np.ndarray) -> np.ndarray:
        right, have, given = np.split(sums, 3, -1)
        union = have + given - right
        return np.where(have > 0, right / np.maximum(union, 1), np.nan)

    def scores(self, sums: np.ndarray) -> np.ndarray:
        ious = self._ious(sums)
        held = ~np.isnan(ious)
        return np.where(held, ious, 0).sum(-1) / np.maximum(held.sum(-1), 1)

    def figures(self, sums: np.ndarray) -> dict[str, float]:
        right, have, _ = np.split(sums, 3)
        each = {f"IoU of {name}": float(iou) for name, iou in zip(self.names, self._ious(sums), strict=True)}
        whole = {"mIoU": float(self.scores(sums)), "pixels right": float(right.sum() / max(have.sum(), 1))}
        return whole | {name: value for name, value in each.items() if not np.isnan(value)}


def _names(folder: Path) -> tuple[str, ...]:
    """Read classes.txt of a folder or of the one around it: a name a line; () where there is none."""
    for path in (folder / NAMES_FILE, folder.parent / NAMES_FILE):
        if path.is_file():
            names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
            if len(names) < 2:
                raise UserError(f"{path} names {len(names)} classes, expected two or more, one a line")
            return names
    return ()


def _read_mask(path: Path, picture: str, side: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    image = data.read_map(path, EXPECTED)
    if image.mode not in ("L", "P", "1", "I;16", "I"):
        raise UserError(f"{path} has colours ({image.mode}), expected {EXPECTED}")
    data.check_side(path, image.width, image.height, picture, side)
    mask = np.asarray(image).astype(np.int64)
    largest = int(mask[mask != IGNORED].max(initial=0))
    if names and largest >= len(names):
        raise UserError(
            f"{path} has the value {largest}, which {NAMES_FILE} does not name: it has {len(names)} classes, 0 to"
            f" {len(names) - 1}; 255 is left out"
        )
    if largest > IGNORED or mask.min() < 0:
        raise UserError(
            f"{path} has the value {largest}; expected numbers of classes from 0 to 254, and 255 to leave out"
        )
    return mask.astype(np.uint8)


def _encoded(mask: np.ndarray) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(mask).save(target, "PNG")
    return target.getvalue()
