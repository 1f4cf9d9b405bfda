"""The shared encoders of a run: the image trunk, and where a task listens, the sound trunk; made, kept, found again."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write
from tfssl.models import batch_norm
from tfssl.models.trunks import Trunk, make_encoder
from tfssl.models.trunks.opening import open_trunk
from tfssl.models.trunks.sound import make_sound_encoder, make_sound_trunk
from tfssl.models.words import make_table
from tfssl.multitask.puzzle_stream import puzzle_spec
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.tasks.base import PretextTask

PRECISE_STEPS = 64


@dataclasses.dataclass(frozen=True)
class Plans:
    """What the encoders of a run are made from.

    Attributes:
      trunk: the image trunk, as `open_trunk` takes it.
      size: side of pictures, pixels.
      sound: None, or the sound encoder's "trunk" (its name), "samples" and "rate" (of its window).
      image: None, or an image trunk that was made of them already, for `kept`.
    """

    trunk: str | Path | keras.Model
    size: int
    sound: Mapping[str, Any] | None = None
    image: Trunk | None = dataclasses.field(default=None, compare=False, repr=False)

    def make(self) -> dict[str, Trunk]:
        """Make new encoders by kind, "image" and, where tasks listen, "sound", under the current Keras dtype policy.

        Raises:
          UserError: an unknown name or setting, a size too small for the trunk.
        """
        return {"image": open_trunk(self.trunk, self.size)} | self._sound()

    @functools.cached_property
    def kept(self) -> dict[str, Trunk]:
        """Encoders made once, in the dtype policy of their first use: weights are copied into them to be saved."""
        return self.make() if self.image is None else {"image": self.image} | self._sound()

    def _sound(self) -> dict[str, Trunk]:
        if self.sound is None:
            return {}
        return {"sound": make_sound_trunk(self.sound["trunk"], self.sound["samples"], self.sound["rate"])}

    def model(self, kind: str, trunk: Trunk, pooled: bool = True) -> keras.Model:
        """Return one of the encoders as a plain model: pictures or waveforms -> embedding, or the feature map."""
        if kind == "image":
            return make_encoder(trunk, self.size, pooled=pooled)
        return make_sound_encoder(trunk, self.sound["samples"], pooled=pooled)  # type: ignore[index]

    def inputs(self, kind: str, source: AnySource, batch_size: int) -> tf.data.Dataset:
        """Return plain inputs of one of the encoders: whole pictures, or windows of sound, of the source."""
        if kind == "image":
            return batches.plain(source, self.size, batch_size).map(lambda batch: batch["image"])
        if self.sound is None or not source.has_sound.any():
            raise UserError(f"{source.name} has no sound; expected clips that have")
        plain = batches.plain_sound(source, self.sound["samples"], batch_size)
        return plain.map(lambda batch: batch["sound"])


@dataclasses.dataclass(frozen=True)
class WordPlans:
    """What the table of words of a run on text is made from; the same methods as of `Plans`.

    Attributes:
      count: words of the vocabulary.
      dimensions: numbers of a vector.
    """

    count: int
    dimensions: int
    sound = None

    def make(self) -> dict[str, Any]:
        """Make a new table, as {"words": WordTable}."""
        return {"words": make_table(self.count, self.dimensions)}

    @functools.cached_property
    def kept(self) -> dict[str, Any]:
        """A table made once: weights are copied into it to be saved."""
        return self.make()

    def model(self, kind: str, trunk: Any, pooled: bool = True) -> keras.Model:
        """Return the table as a plain model: numbers of words -> vectors."""
        return trunk.flat()

    def inputs(self, kind: str, source: AnySource, batch_size: int) -> Sequence[Any]:
        """Return (): a table has no batch norm."""
        return ()


AnyPlans = Plans | WordPlans


def sound_plan(tasks: Sequence[PretextTask], source: AnySource, size: int, text: str) -> dict[str, Any] | None:
    """Return what the sound encoder of these prepared tasks is made from; None where no task listens.

    Raises:
      UserError: tasks that listen to windows of different length.
    """
    listening = [task for task in tasks if "sound" in task.reads]
    if not listening:
        return None
    lengths = {task.name: int(puzzle_spec(task, size)[0]["sound"].shape[1]) for task in listening}
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"tasks share one sound encoder but differ in samples ({listing}); give all the same seconds=")
    return {"trunk": text, "samples": next(iter(lengths.values())), "rate": int(source.sound_rate)}


def save_weights(path: Path, plans: AnyPlans, kind: str, trunk: Any) -> None:
    """Write an encoder as a Keras file of stock layers, whole or not at all."""
    with atomic_write(path) as temporary:
        plans.model(kind, trunk, pooled=False).save(temporary)


def save_trained(
    path: Callable[[str], Path],
    plans: AnyPlans,
    trained: Mapping[str, Trunk],
    source: AnySource,
    batch_size: int,
    seed: int,
) -> None:
    """Write copies of the encoders, in float32 whatever the training dtype, with batch norm statistics of plain data.

    Args:
      path: the path of the file of each kind.
    """
    for kind, copy in plans.kept.items():
        copy.body.set_weights(trained[kind].body.get_weights())
        sample = batches.sample(source, PRECISE_STEPS * batch_size, seed)
        batch_norm.estimate(plans.model(kind, copy), plans.inputs(kind, sample, batch_size), PRECISE_STEPS)
        save_weights(path(kind), plans, kind, copy)
