"""Pictures with answers at their places, and their parts: to learn from, to choose on, to measure on."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.data import AllParts, joined
from tfssl.downstream.target import Part
from tfssl.pipelines.sources import dividing, splits
from tfssl.pipelines.sources.any_source import AnySource, parts_of, too_many_broken
from tfssl.pipelines.sources.folders import open_folder
from tfssl.pipelines.sources.ingested import is_ingested
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.regions import RegionSource

if TYPE_CHECKING:
    from tfssl.downstream.config import FinetuneSettings
    from tfssl.downstream.dense.base import DenseTarget

ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff")
"""Of maps: files that lose nothing."""
READ_BESIDE = (".json", ".txt")
"""Files beside pictures that are read, too: joints, names of classes, the camera."""


class Read(NamedTuple):
    """What a folder or a name holds.

    Attributes:
      source: its pictures.
      answers: [N, ...] of any kind.
      names: of classes or joints, () where there are none.
      origin: the pictures as they can be opened again by name.
      said: what else there is to say of it.
    """

    source: RegionSource
    answers: np.ndarray
    names: tuple[str, ...]
    origin: AnySource
    said: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Annotated(Part):
    """Pictures whose answers are known.

    Attributes:
      source: the pictures.
      answers: [N, ...]: numbers, or encoded maps, bytes as objects.
      groups: int [N]: pictures of one number stay in one part.
      by_time: whether they are frames in their order, of which the last ones are divided off.
    """

    source: RegionSource
    answers: np.ndarray
    groups: np.ndarray
    by_time: bool

    def subset(self, numbers: np.ndarray, name: str) -> Self:
        source = self.source.subset(numbers, name)
        return dataclasses.replace(self, source=source, answers=self.answers[numbers], groups=self.groups[numbers])

    def divided(self, seed: int) -> tuple[Self, Self]:
        """Divide them 80/20: by the seed and never through a group, or the last ones off where they are `by_time`."""
        if self.by_time:
            last = round(dividing.TRAINING * self.count)
            parts = np.arange(last), np.arange(last, self.count)
        else:
            parts = dividing.divide(np.zeros(self.count, int), self.groups, seed)
        names = (dividing.name_of_part(self.source.name, training, seed) for training in (True, False))
        one, other = (self.subset(numbers, name) for numbers, name in zip(parts, names, strict=True))
        return one, other

    def few(self, count: int | None, share: float | None, seed: int, draw: int) -> Self:
        if share is None:
            return self
        order = np.random.default_rng((seed, draw)).permutation(self.count)
        numbers = np.sort(order[: max(1, round(share * self.count))])
        return self.subset(numbers, f"{counted(len(numbers), 'picture')} of {self.source.name}, draw {draw}")

    def digest(self) -> bytes:
        answers = self.answers
        content = b"".join(answers) if answers.dtype == object else answers.tobytes()
        return self.source.fingerprint.encode() + self.source.regions.tobytes() + hashlib.sha256(content).digest()


@dataclasses.dataclass(frozen=True, eq=False)
class DenseParts(AllParts):
    """Data of a dense target.

    Attributes:
      target: what is learned of it.
      train, val, test, missing, note, origin: as of `downstream.data.Parts`.
    """

    target: "DenseTarget"
    train: Annotated
    val: Annotated | None
    test: Annotated
    missing: tuple[str, ...]
    note: str
    origin: AnySource
    unlabelled: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return self.target.names


def open_dense(target: type["DenseTarget"], data: Any, settings: "FinetuneSettings") -> DenseParts:
    """Open pictures with answers, and divide off what parts they lack.

    Args:
      target: says how its answers are read.
      data: 'toy:images(...)'; a folder as the target reads it, or one with such folders train/ and val/ or test/.
      settings: with the table of answers, groups, and whether pictures are divided by time.

    Raises:
      UserError: no such data, answers that do not fit, too few pictures to divide.
    """
    reads = target.read_parts(data, settings)
    made = target.made_of(reads)
    folder = Path(data) if isinstance(data, (str, os.PathLike)) else Path()
    parts = {part: _annotated(read, settings, folder) for part, read in reads.items()}
    note = f"{data} has {', '.join(f'{part}/' for part in parts) if len(parts) > 1 else 'no parts'}"
    whole, missing = parts[splits.TRAIN], [part for part in (splits.TEST, splits.VAL) if part not in parts]
    least = 1 + len(missing)
    if whole.count < least:
        raise UserError(
            f"{whole.source.name} has {counted(whole.count, 'picture')} with {made.what}, too few to learn"
            f" from, to choose on and to test on; give {least} or more"
        )
    if splits.TEST in missing:
        whole, parts[splits.TEST] = whole.divided(settings.seed)
    how = "the last 20 %, as --by-time says" if settings.by_time else f"20 % by seed {settings.seed}"
    note += f"; {' and '.join(missing)} divided off training, {how}" if missing else ""
    note += "".join(f"; {said}" for said in dict.fromkeys(read.said for read in reads.values()) if said)
    if not parts[splits.TEST].count or not whole.count:
        raise UserError(
            f"{whole.source.name} cannot be divided: all its pictures are of one group; give a folder test/"
        )
    origin = reads[splits.TRAIN].origin
    return DenseParts(made, whole, parts.get(splits.VAL), parts[splits.TEST], tuple(missing), note, origin)


def places(data: Any) -> dict[str, Any]:
    """Return what holds each part; "train" alone where DATA has no parts. Raise UserError where it cannot have any."""
    expected = "expected a folder of pictures with their answers, or 'toy:images(...)'"
    if not isinstance(data, (str, os.PathLike)):
        raise UserError(f"{type(data).__name__} is given; {expected}")
    if not str(data).startswith("toy:") and not os.path.isdir(data):
        raise UserError(f"{data} {'is a file' if os.path.exists(data) else 'does not exist'}; {expected}")
    parts = parts_of(data)
    if parts and splits.TRAIN not in parts:
        raise UserError(f"{data} has no train/ beside {', '.join(map(str, parts.values()))}; add it")
    return parts or {splits.TRAIN: data}


def _annotated(read: Read, settings: "FinetuneSettings", folder: Path) -> Annotated:
    groups = read.source.groups
    if settings.groups is not None:
        inside = [os.path.relpath(path, folder) for path in read.source.paths]
        named = dividing.groups_of_names(inside, settings.groups)
        groups = joined(groups, np.unique(named, return_inverse=True)[1])
    return Annotated(read.source, read.answers, groups, settings.by_time)


def open_pictures(place: Any, max_broken: float) -> PictureSource:
    """Open the pictures of a folder. Raise UserError where it holds something else."""
    if is_ingested(Path(place)):
        raise UserError(f"{place} has clips; expected a folder of pictures with their answers, or 'toy:images(...)'")
    source = open_folder(place, READ_BESIDE)
    if source.count == 0 or len(source.broken) > max_broken * source.listed:
        raise UserError(too_many_broken(source.name, source.broken, source.listed, max_broken))
    return source


def without_ends(source: PictureSource, ends: Sequence[str]) -> PictureSource:
    """Leave out pictures whose names end so, before the ending of the file: they are answers beside pictures."""
    numbers = [n for n, path in enumerate(source.paths) if not Path(path).stem.endswith(tuple(ends))]
    return source if len(numbers) == source.count else source.subset(np.array(numbers, int), source.name)


def files_by_stem(folder: Path) -> dict[str, Path]:
    """List the maps in a folder, at any depth: path below it without ending -> path."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return {str(path.relative_to(folder).with_suffix("")): path for path in found}


def read_map(path: Path, expected: str) -> Any:
    """Open a map with Pillow. Raise UserError where it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path)
        image.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected {expected}") from problem
    return image


def check_side(path: Path, width: int, height: int, picture: str, sides: np.ndarray) -> None:
    """Raise UserError where a map is not of the size of its picture; `sides` are its height and width."""
    if (height, width) != tuple(sides):
        raise UserError(
            f"{path} has {width} x {height} pixels, and its picture {Path(picture).name} {sides[1]} x {sides[0]};"
            " give them the same size"
        )
