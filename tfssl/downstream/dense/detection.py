"""Detection: where are the things, and what are they? A box each, by RetinaNet (arXiv 1708.02002)."""

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense.base import AnswerReader, DenseTarget
from tfssl.downstream.dense.boxes import layouts, precision
from tfssl.downstream.dense.data import Annotated, Read, places
from tfssl.downstream.dense.network import stages_up_to
from tfssl.downstream.dense.toy import toy_scenes
from tfssl.downstream.starts import Start
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.pipelines.ops.annotations import BOX, LEAST_LEFT, LEFT_OUT, cut_boxes
from tfssl.pipelines.sources import splits

if TYPE_CHECKING:
    from tfssl.downstream.dense.boxes.anchors import Levels

NEEDED = {"keras_hub": "KerasHub", "pycocotools": "pycocotools", "yaml": "PyYAML"}
"""Packages, and what they are called."""
BALANCE, FOCUS = 0.25, 2.0
"""alpha and gamma of the focal loss."""
BETA = 1 / 9
"""Where the loss of offsets passes from squares to absolute values, as in Detectron's RetinaNet."""


@dataclasses.dataclass(frozen=True)
class Detection(DenseTarget):
    """Where are the things, and what are they?

    Answer: float32 [N, K, 1, 6]: left, top, right, bottom as shares of the sides; class; kind, as of
    `pipelines.ops.annotations.cut_boxes`. Network: float32 [N, A, 1, 4 + C], of each anchor the offsets of its box and
    logits of classes, by the focal loss and by smooth L1 (Lin et al. 2017, arXiv 1708.02002), over the number of
    anchors that have a box.

    Measured by AP50, and AP as COCO has it. Within the centred square: of a thing that it cuts the visible part, where
    that is a quarter or more.

    Attributes:
      most: boxes of the picture that has most.
      levels: of the pyramid, once the trunk is known.
    """

    most: int = 0
    levels: "Levels | None" = None

    name: ClassVar[str] = "detection"
    headline: ClassVar[str] = "AP50"

    @classmethod
    def read_parts(cls, data: Any, settings: FinetuneSettings) -> dict[str, Read]:
        """Read 'toy:images(...)', or a folder: see `boxes.layouts.read`."""
        lacking = [title for package, title in NEEDED.items() if importlib.util.find_spec(package) is None]
        if lacking:
            raise UserError(f"--target detection needs {' and '.join(lacking)}; pip install 'tfssl[detection]'")
        if (toy := _read_toy(data)) is not None:
            return {splits.TRAIN: toy}
        places(data)  # where this is no folder it is said
        return layouts.read(Path(data), settings.labels, settings.max_broken)

    @classmethod
    def read(cls, place: Any, settings: FinetuneSettings) -> Read:
        """Read the training part."""
        return cls.read_parts(place, settings)[splits.TRAIN]

    @classmethod
    def made_of(cls, reads: Mapping[str, Read]) -> Self:
        """Take the names that there are, or number the classes up to the largest; see how many boxes there may be."""
        names = reads[splits.TRAIN].names
        for part, read in reads.items():
            if read.names != names:
                raise UserError(
                    f"{part} has the classes {', '.join(read.names)}, and training {', '.join(names)}; give all parts"
                    " the same"
                )
        highest = max(int(read.answers[..., 4].max(initial=0)) for read in reads.values())
        names = names or tuple(str(number) for number in range(highest + 1))
        return cls(names=names, most=max(read.answers.shape[1] for read in reads.values()))

    def on(self, start: Start) -> Self:
        """Choose the stages that are levels of the pyramid."""
        from tfssl.downstream.dense.boxes.anchors import Levels

        trunk, size = start.random, start.size
        stages = stages_up_to(trunk, start.stage)
        body = keras.Model(trunk.body.inputs[0], [trunk.body.get_layer(stage).output for stage in stages])
        maps = tf.nest.flatten(body(keras.Input((size, size, 3))))
        return dataclasses.replace(
            self, levels=Levels.of([(stage, int(each.shape[1])) for stage, each in zip(stages, maps, strict=True)])
        )

    def stages(self, trunk: Trunk, stage: str) -> tuple[str, ...]:
        return self._levels.stages

    def answer_on(self, maps: Sequence[keras.KerasTensor], size: int) -> keras.KerasTensor:
        from tfssl.downstream.dense.boxes.anchors import head

        return head(maps, self._levels, len(self.names))

    @property
    def _levels(self) -> "Levels":
        assert self.levels is not None
        return self.levels

    @property
    def what(self) -> str:
        return f"{len(self.names)} classes of boxes"

    @property
    def outputs(self) -> int:
        return 4 + len(self.names)

    def answer_reader(self, part: Annotated, size: int) -> AnswerReader:
        # One row more, of kind 0, is what `anchors.matched` needs.
        rows = np.zeros((part.count, self.most + 1, 6), np.float32)
        rows[:, : part.answers.shape[1]] = part.answers
        boxes = tf.constant(rows)

        def read(index: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
            return cut_boxes(tf.gather(boxes, index), box, mirrored)[:, :, None, :]

        return read

    def answer_shape(self, model: PretextModel) -> tuple[int, int, int]:
        return self.most + 1, 1, 6

    def losses(self, answers: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        from tfssl.downstream.dense.boxes.anchors import matched

        offsets, classes = matched(answers[:, :, 0], self._levels)
        is_thing, is_known = classes >= 0, tf.cast(classes > -2, tf.float32)
        wanted = tf.one_hot(tf.cast(classes, tf.int32), len(self.names))
        named = keras.losses.binary_focal_crossentropy(
            wanted, outputs[:, :, 0, 4:], True, alpha=BALANCE, gamma=FOCUS, from_logits=True
        )
        # Where there is no box, offsets are those of any.
        safe = tf.where(is_thing[..., None], offsets, outputs[:, :, 0, :4])
        placed = keras.losses.huber(safe, outputs[:, :, 0, :4], delta=BETA) * 4 / BETA
        total = tf.reduce_sum(named * is_known * len(self.names) + placed * tf.cast(is_thing, tf.float32), 1)
        return total / tf.maximum(tf.reduce_sum(tf.cast(is_thing, tf.float32), 1), 1.0)

    def finish(self, outputs: Any) -> Any:
        from tfssl.downstream.dense.boxes.anchors import decoded

        return decoded(outputs, self._levels)

    def add_up(self, answers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what pycocotools says of each picture: see `boxes.precision.matches`."""
        return precision.matches(answers[:, :, 0], found, len(self.names))

    def as_found(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        rows = answer[answer[:, 0, 5] == BOX][:, 0]
        return {
            "boxes": rows[:, :4],
            "classes": rows[:, 4].astype(int),
            "scores": np.ones(len(rows)),
            "count": np.array(len(rows)),
        }

    def scores_of(self, table: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return precision.means(precision.average_precisions(table, counts, [0])[:, 0])

    def figures_of(self, table: np.ndarray) -> dict[str, float]:
        every = range(len(precision.THRESHOLDS))
        found = precision.average_precisions(table, np.ones((1, len(table))), every)[0]
        whole = {"AP50": found[:1], "AP": found, "AP75": found[5:6]}
        each = {f"AP50 of {name}": float(own) for name, own in zip(self.names, found[0], strict=True)}
        return {name: float(precision.means(own).mean()) for name, own in whole.items()} | {
            name: own for name, own in each.items() if not np.isnan(own)
        }


def _read_toy(data: Any) -> Read | None:
    """Read the boxes of toy scenes: around what is seen; of things that are nearly hidden they are left out."""
    if (toy := toy_scenes(data)) is None:
        return None
    from tfssl.pipelines.toy_world import CLASSES

    scenes = toy.scenes
    top, left, height, width = np.moveaxis(scenes.boxes, -1, 0)
    kind = np.where(scenes.visibility < LEAST_LEFT, LEFT_OUT, BOX)
    rows = np.stack([left, top, left + width, top + height, scenes.class_ids, kind], -1)
    rows = np.where(((height > 0) & (width > 0) & (scenes.class_ids >= 0))[..., None], rows, 0)
    return Read(toy.source, rows.astype(np.float32), tuple(CLASSES), toy.origin)
