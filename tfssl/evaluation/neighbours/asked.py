"""What `neighbours` asks for: pictures of files, or boxes in them, and a sample of the data itself."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.apply.masks import of_box, parse_box
from tfssl.base.errors import UserError
from tfssl.evaluation.config import NeighboursSettings
from tfssl.evaluation.neighbours import patches
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import full_size, headers, picture_crops
from tfssl.pipelines.decoding.orientation import upright_size
from tfssl.pipelines.ops import near_duplicates
from tfssl.pipelines.ops.windows import Box
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.pipelines.sources.pictures import PREFIX_BYTES, hash_of_picture

SAMPLED = 500
"""Of the data so many are asked for at most, to count by; a share of as many has an error of 2 points."""
BATCH = 64


@dataclasses.dataclass(frozen=True)
class Looks:
    """How an item of the data is looked at: as it is, by frames, or by patches. Each of these is a place.

    Attributes:
      frames: of a clip; 1 of a picture.
      patches: whether patches are shown to the network, each alone. A place of the last map has seen most of the
        picture, so that a box around it would not be what was compared.
    """

    frames: int
    patches: bool

    @property
    def places(self) -> int:
        """How many places an item has."""
        return patches.COUNT if self.patches else self.frames

    @property
    def passes(self) -> list[float]:
        """Where in an item to look, once for each pass over the data: `at` of `batches.plain`."""
        return [(number + 0.5) / self.frames for number in range(self.frames)]

    @property
    def middle(self) -> int:
        """The frame that is asked for."""
        return self.frames // 2

    def side(self, size: int) -> int:
        """Return the side of the squares to read for a network that takes `size` pixels."""
        return patches.SCALE * size if self.patches else size

    def cut(self, images: tf.Tensor, size: int) -> tf.Tensor:
        """Cut squares uint8 [N, side, side, 3] into what the network sees, uint8 [N, n, size, size, 3]."""
        return patches.cut(images, size) if self.patches else images[:, None]


class File(NamedTuple):
    """A picture in a file.

    Attributes:
      path: where it is.
      data: its bytes.
      box: what the network sees of it, a square in pixels, upright; None for the largest centred square.
      square: what is shown of it: the largest square around that.
      row: of the data, which picture it is, byte for byte; None where it is none.
    """

    path: Path
    data: bytes
    box: Box | None
    square: Box
    row: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """Q questions: the files, then the sample.

    Attributes:
      source, looks: what is looked through, and how.
      files: the files.
      rows: int [S], which items of the data are the sample.
      places: int [S], which place of each.
    """

    source: AnySource
    looks: Looks
    files: Sequence[File]
    rows: np.ndarray
    places: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """int [Q], the groups of the data that these are of; below 0 where it has none."""
        known = self.source.groups
        given = [-1 - number if file.row is None else known[file.row] for number, file in enumerate(self.files)]
        return np.concatenate([np.asarray(given, int), known[self.rows]])

    @property
    def numbers(self) -> np.ndarray:
        """int [Q], row times places plus place of each; -1 of what is no place of the data."""
        whole = not self.looks.patches and self.looks.frames == 1
        given = [-1 if file.row is None or not whole else file.row for file in self.files]
        return np.concatenate([np.asarray(given, int), self.rows * self.looks.places + self.places])

    def read(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what a network sees of them, uint8 [Q, size, size, 3], and `near_duplicates.patterns` of the wholes.

        Raises:
          UserError: a file is no picture.
        """
        parts = [self._of_files(size)] if self.files else []
        for squares, places, _ in self._squares(self.looks.side(size)):
            seen = self.looks.cut(squares, size)
            chosen = tf.gather(seen, places, axis=1, batch_dims=1) if self.looks.patches else seen[:, 0]
            parts.append((chosen.numpy(), near_duplicates.patterns(squares).numpy()))
        images, patterns = (np.concatenate(each) for each in zip(*parts, strict=True))
        return images, patterns

    def _of_files(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        boxes = [file.box for file in self.files]
        whole = decode(self.files, [None] * len(boxes), size)
        images = whole if not any(boxes) else decode(self.files, boxes, size)
        return images, near_duplicates.patterns(whole).numpy()

    def _squares(self, side: int) -> Iterator[tuple[tf.Tensor, np.ndarray, np.ndarray]]:
        """Yield squares of the sample, uint8 [b, side, side, 3]; the place of each; whether it can be decoded."""
        at = self.looks.passes[self.looks.middle]
        for batch in batches.plain(self.source.subset(self.rows, self.source.name), side, BATCH, at=at):
            index = batch["index"].numpy()
            yield batch["image"], self.places[index], batch["valid"].numpy()

    def without_broken(self, size: int) -> "Asked":
        """Return the same without what of the sample cannot be decoded."""
        valid = [each for _, _, each in self._squares(size)]
        kept = np.concatenate(valid) if valid else np.zeros(0, bool)
        return dataclasses.replace(self, rows=self.rows[kept], places=self.places[kept])


def open_asked(settings: NeighboursSettings, source: AnySource, looks: Looks) -> Asked:
    """Open the files, and draw the sample of the data by the seed.

    Raises:
      UserError: a file that is not there or no picture; boxes without files or patches, not one for each file, not of
        four numbers, or outside of their file.
    """
    files = _open_files(settings, source)
    rng = np.random.default_rng(settings.seed)
    rows = rng.permutation(source.count)[: max(SAMPLED, settings.queries)]
    places = rng.integers(patches.COUNT, size=len(rows)) if looks.patches else np.full(len(rows), looks.middle)
    return Asked(source, looks, files, rows, places).without_broken(near_duplicates.SIDE)


def decode(files: Sequence[File], boxes: Sequence[Box | None], size: int) -> np.ndarray:
    """Decode a box of each file, or the largest centred square where it is None: uint8 [N, size, size, 3].

    Raises:
      UserError: a file is no picture.
    """
    data = tf.constant([file.data for file in files])
    header = headers.read_headers(data)
    height, width = upright_size(header)
    chosen = [
        box or _centre(*each) for box, *each in zip(boxes, height.numpy().tolist(), width.numpy().tolist(), strict=True)
    ]
    images, valid = picture_crops.decode_boxes(
        lambda one: one, data, header, tf.constant(chosen, tf.int32), size, parallel=tf.data.AUTOTUNE
    )
    for file, fine in zip(files, valid.numpy(), strict=True):
        if not fine:
            raise UserError(f"--query {file.path} cannot be decoded to its end; give another picture")
    return images.numpy()


def _open_files(settings: NeighboursSettings, source: AnySource) -> list[File]:
    if not settings.query:
        if settings.box:
            raise UserError(f"--box {settings.box[0]} is given without --query; say which picture it is of")
        return []
    if settings.box and not settings.patches:
        raise UserError(f"--box {settings.box[0]} is given without --patches, for which it says where; add --patches")
    listed = full_size.list_pictures(list(settings.query))
    if settings.box and len(settings.box) != len(listed):
        raise UserError(
            f"{len(settings.box)} --box are given for {len(listed)} pictures of --query; give one for each, or none"
        )
    known = {} if source.moving else {int(value): row for row, value in reversed([*enumerate(source.contents)])}
    by_path = {path: row for row, path in enumerate(source.paths)}
    rng = np.random.default_rng([settings.seed, 1])
    files = []
    for number, each in enumerate(listed):
        height, width = _size_of(each.path)
        data = each.path.read_bytes()
        row = by_path.get(str(each.path), known.get(hash_of_picture(data[:PREFIX_BYTES], len(data))))
        box, square = None, _centre(height, width)
        if settings.box:
            box = _square(settings.box[number], each.path, height, width)
            square = _around(box, min(height, width), height, width)
        elif settings.patches:
            box = pixels_of(int(rng.integers(patches.COUNT)), square)
        files.append(File(each.path, data, box, square, row))
    return files


def _size_of(path: Path) -> tuple[int, int]:
    """Return height and width of a picture, upright. Raise UserError where it is none."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise UserError(f"--query {path} cannot be read: {(problem.strerror or str(problem)).lower()}") from problem
    header = headers.read_headers(tf.constant([data]))
    if problem_number := int(header.problem[0]):
        raise UserError(f"--query {path} {headers.PROBLEMS[problem_number]}; give a picture")
    height, width = upright_size(header)
    return int(height[0]), int(width[0])


def _square(given: str, path: Path, height: int, width: int) -> Box:
    """Return the square around a box, as a network takes squares; no larger than the picture's shorter side."""
    box = parse_box(given)
    if box is None:
        raise UserError(f"--box {given} is given, expected TOP,LEFT,HEIGHT,WIDTH in pixels")
    of_box(box, path, (height, width))
    return _around(box, min(max(box.height, box.width), height, width), height, width)


def _around(box: Box, side: int, height: int, width: int) -> Box:
    """Return the square of a side whose middle is nearest to that of a box, inside of the picture."""
    top = min(max(0, box.top + (box.height - side) // 2), height - side)
    left = min(max(0, box.left + (box.width - side) // 2), width - side)
    return Box(top, left, side, side)


def _centre(height: int, width: int) -> Box:
    side = min(height, width)
    return Box((height - side) // 2, (width - side) // 2, side, side)


def pixels_of(place: int, square: Box) -> Box:
    """Return where a patch of a square lies in the picture, in pixels."""
    top, left, tall, wide = patches.shares_of(place)
    side = max(1, round(square.height * tall)), max(1, round(square.width * wide))
    return Box(square.top + round(square.height * top), square.left + round(square.width * left), *side)
