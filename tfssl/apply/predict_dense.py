"""`predict` by a network of a dense target: what is found in each picture, as files and drawn."""

import csv
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.apply.dense_drawing import DRAW, as_colours, colours, enlarged
from tfssl.apply.outputs import write_png
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of, write_errors
from tfssl.base.result import Result
from tfssl.base.words import counted
from tfssl.embedding import files
from tfssl.embedding.embed import PART_BATCHES
from tfssl.embedding.encoders import fingerprint
from tfssl.embedding.files import Parts
from tfssl.embedding.inputs import UNDECODABLE
from tfssl.export.signatures.dense import DECODERS, in_picture
from tfssl.export.versions import description, newest_version
from tfssl.pipelines import batches
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources.any_source import open_source, too_many_broken
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.regions import upright_sides
from tfssl.runs.dense import Dense, is_dense, load_dense

DRAWN = 256
"""Least pixels of a side of what is drawn."""
MADE = "made"
"""Folder in TO.parts that becomes TO."""
JOINT_FIELDS = ("path", "joint", "x", "y", "score")
BOX_FIELDS = ("path", "label", "score", "left", "top", "right", "bottom")
TABLES = {"keypoints": "keypoints.csv", "detection": "boxes.csv"}
"""Target -> the table that it writes, which may be written alone."""


@dataclasses.dataclass(frozen=True)
class DensePredicted(Result):
    """What `predict` wrote.

    Attributes:
      to: the folder, or the table.
      target: what was found.
      count: pictures.
      broken: what could not be read: name -> what is wrong.
    """

    to: Path
    target: str
    count: int
    broken: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.target} of {counted(self.count, 'picture')} in {self.to}"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines)


def open_network(model: Any) -> Dense | None:
    """Open a network of a dense target, of the folder that `finetune` wrote or of its export; None where it is none."""
    if is_dense(model):
        return load_dense(model)
    if not isinstance(model, (str, Path)) or not Path(model).is_dir() or (Path(model) / "run.json").exists():
        return None
    try:
        version = newest_version(model)
    except UserError:
        return None  # said by whoever expects an export
    about = description(version)
    return Dense(version, about) if "target" in about else None


def predict_dense(
    dense: Dense, data: Any, to: Path, batch_size: int, max_broken: float, verbose: int
) -> DensePredicted:
    """Find what a network finds in each picture of a collection, write it and draw it.

    Writes into the folder `to`, whole or not at all; until then it lies in TO.parts, and called again after an
    interruption it resumes, as `embed`:

        drawn/NAME.png     what was found, on the centred square of each picture, which is what the network sees
        keypoints.csv      path, joint, x, y in pixels of the picture, score 0 .. 1
        boxes.csv          path, label, score 0.01 .. 1, left, top, right, bottom in pixels of the picture
        masks/NAME.png     of segmentation: numbers of classes at the picture's size, 255 outside of the square;
                           classes.csv has their names and colours
        normals/NAME.png   (n + 1) / 2 in three colours at the picture's size, black outside of the square

    Args:
      to: a folder that is missing or empty; of key points and boxes also FILE.csv, for that table alone.

    Raises:
      UserError: a `to` of another kind, or that exists; data that are no pictures; too much that is broken; TO.parts of
        a call with another network, other data or another batch size.
    """
    alone = to.suffix.lower() == ".csv"
    if to.suffix.lower() in (".csv", ".parquet") and not (alone and dense.target in TABLES):
        wanted = "a folder, or FILE.csv" if dense.target in TABLES else "a folder"
        raise UserError(f"--to {to} is given; what is found for {dense.target} is written into {wanted}")
    if to.exists() and (alone or not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} exists; choose another --to, or remove it")
    source = open_source(data, max_broken)
    if not isinstance(source, PictureSource):
        raise UserError(f"{source.name} has {source.items}; expected pictures")
    parts = Parts(to, PART_BATCHES * batch_size, source.count)
    made = parts.folder / MADE
    writer = WRITERS[dense.target](made, dense, source, alone)
    with write_errors(to):
        parts.claim(_record(dense, source, batch_size))
        _make(dense, source, parts, writer, batch_size, verbose)
        valid = parts.valid()
        broken = source.broken | {source.paths[number]: UNDECODABLE for number in np.flatnonzero(~valid)}
        if len(broken) > max_broken * source.listed or not valid.any():
            raise UserError(too_many_broken(source.name, broken, source.listed, max_broken))
        writer.finish(to if alone else made, _rows(parts))
        if not alone:
            made.replace(to)
        shutil.rmtree(parts.folder)
    return DensePredicted(to, dense.target, int(valid.sum()), broken)


def _record(dense: Dense, source: PictureSource, batch_size: int) -> dict[str, Any]:
    """Return what an interrupted call must have in common with the one that resumes it."""
    return {
        "format": files.FORMAT,
        "encoder": {
            "model": str(dense.folder),
            "kind": dense.target,
            "size": dense.size,
            "dimensions": len(dense.names),
            "fingerprint": fingerprint(dense.network.weights),
        },
        "data": {"name": source.name, "fingerprint": source.fingerprint},
        "batch_size": batch_size,
    }


def _make(dense: Dense, source: PictureSource, parts: Parts, writer: "_Writer", batch_size: int, verbose: int) -> None:
    """Write what is found from the first missing part on; a part is there once all files of its pictures are."""
    missing = parts.missing()
    if not missing:
        return
    start = missing[0]
    if start and verbose:
        print(f"resumed: {start} of {counted(parts.count, 'picture')} are done already", file=sys.stderr)
    marks: list[np.ndarray] = []
    with Progress("pictures", source.name, parts.count - start, verbose, speed=True) as progress:
        for numbers, images, found, valid in _found(dense, source, batch_size, start):
            for row in np.flatnonzero(valid):
                writer.write(int(numbers[row]), images[row], {name: each[row] for name, each in found.items()})
            marks.append(valid)
            progress.add(len(valid))
            held = sum(map(len, marks))
            if held == parts.rows or start + held == parts.count:
                parts.write(start, np.array(writer.rows, str), np.concatenate(marks))
                start, marks, writer.rows = start + held, [], []


def _rows(parts: Parts) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, part by part."""
    for start in parts.starts():
        with np.load(parts.path(start)) as part:
            yield from map(tuple, part["embedding"].tolist())


def _found(
    dense: Dense, source: PictureSource, batch_size: int, start: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    """Yield from a number on: numbers of pictures, their squares to draw on, what is found in them, which are valid."""
    forward = finder(dense)
    sizes = (dense.size, max(DRAWN, dense.size))
    for seen, drawn in tf.data.Dataset.zip(*(batches.plain(source, size, batch_size, start) for size in sizes)):
        found = {name: each.numpy() for name, each in forward(seen["image"]).items()}
        yield seen["index"].numpy(), drawn["image"].numpy(), found, seen["valid"].numpy()


def finder(dense: Dense) -> Callable[[tf.Tensor], Mapping[str, tf.Tensor]]:
    """Return what finds: pixels uint8 [N, S, S, 3] -> what the target's decoder gives."""
    network, decode = dense.network, DECODERS[dense.target]
    spec = tf.TensorSpec(network.inputs[0].shape, tf.uint8)
    call = tf.function(lambda images: decode(network(images, training=False)), input_signature=[spec])
    return call.get_concrete_function()


class _Writer:
    """Writes what is found in pictures, one after the other.

    Attributes:
      rows: of a table, which `finish` gets of all pictures; who calls `write` takes them away.
    """

    def __init__(self, to: Path, dense: Dense, source: PictureSource, alone: bool):
        self.to, self.dense, self.source, self.alone = to, dense, source, alone
        self.rows: list[tuple[str, ...]] = []
        self.sides, self.names = upright_sides(source), names_of(source)

    def write(self, number: int, image: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
        """Write what is found in a picture, and draw it."""
        self.write_found(number, found)
        if not self.alone:
            self.save("drawn", number, DRAW[self.dense.target](image, found, self.dense.names))

    def write_found(self, number: int, found: Mapping[str, np.ndarray]) -> None:
        """Write what is found in a picture."""

    def finish(self, to: Path, rows: Iterable[tuple[str, ...]]) -> None:
        """Write what belongs to all pictures into a folder; into a file where a table is all that is wanted."""

    def save(self, kind: str, number: int, pixels: np.ndarray) -> None:
        """Write a picture into a folder of its kind."""
        path = self.to / kind / f"{self.names[number]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, pixels)

    def at_own_size(self, number: int, values: np.ndarray, outside: int) -> np.ndarray:
        """Return a map of the centred square [S, S, ...] at the picture's size, with a value of what lies outside."""
        height, width = self.sides[number].tolist()
        side = min(height, width)
        whole = np.full((height, width, *values.shape[2:]), outside, values.dtype)
        top, left = (height - side) // 2, (width - side) // 2
        whole[top : top + side, left : left + side] = enlarged(values, (side, side))
        return whole


class _Table(_Writer):
    """Writes a table of places in pixels of the picture."""

    fields: Sequence[str]

    def in_picture(self, number: int, places: np.ndarray) -> np.ndarray:
        """Convert x and y [J, 2 or 4] from shares of the centred square's side to pixels of a picture."""
        height, width = (self.sides[number : number + 1, axis] for axis in range(2))
        return in_picture(tf.constant(places[None]), tf.constant(height), tf.constant(width)).numpy()[0]

    def finish(self, to: Path, rows: Iterable[tuple[str, ...]]) -> None:
        write_csv(to if self.alone else to / TABLES[self.dense.target], self.fields, rows)


class _Joints(_Table):
    fields = JOINT_FIELDS

    def write_found(self, number: int, found: Mapping[str, np.ndarray]) -> None:
        places, path = self.in_picture(number, found["joints"]), self.source.paths[number]
        for name, (x, y), score in zip(self.dense.names, places, found["scores"], strict=True):
            self.rows.append((path, name, f"{x:.2f}", f"{y:.2f}", f"{score:.4f}"))


class _Boxes(_Table):
    fields = BOX_FIELDS

    def write_found(self, number: int, found: Mapping[str, np.ndarray]) -> None:
        places, path = self.in_picture(number, found["boxes"]), self.source.paths[number]
        for row in range(int(found["count"])):
            name, score = self.dense.names[found["classes"][row]], found["scores"][row]
            self.rows.append((path, name, f"{score:.4f}", *(f"{each:.2f}" for each in places[row])))


class _Masks(_Writer):
    def write_found(self, number: int, found: Mapping[str, np.ndarray]) -> None:
        self.save("masks", number, self.at_own_size(number, found["class_map"].astype(np.uint8), 255)[..., None])

    def finish(self, to: Path, rows: Iterable[tuple[str, ...]]) -> None:
        names = self.dense.names
        named = enumerate(zip(names, colours(len(names)), strict=True))
        write_csv(
            to / "classes.csv",
            ("number", "name", "red", "green", "blue"),
            [(number, name, *rgb) for number, (name, rgb) in named],
        )


class _Normals(_Writer):
    def write_found(self, number: int, found: Mapping[str, np.ndarray]) -> None:
        self.save("normals", number, self.at_own_size(number, as_colours(found["normals"]), 0))


WRITERS: dict[str, type[_Writer]] = {
    "keypoints": _Joints,
    "segmentation": _Masks,
    "normals": _Normals,
    "detection": _Boxes,
}


def write_csv(path: Path, fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, whole or not at all. Names of files need not be UTF-8: their bytes are written."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(fields)
        table.writerows(rows)


def names_of(source: PictureSource) -> list[str]:
    """Return a name for what is written of each picture: its path below the source's folder, without ending.

    Of what is held in memory it is the number; of two of one name the second has its number behind it.
    """
    if source.encoded is not None:
        return [str(number) for number in range(source.count)]
    folder, used, names = Path(source.name), set(), []
    for number, path in enumerate(source.paths):
        own = Path(path)
        below = own.relative_to(folder) if own.is_relative_to(folder) else Path(own.name)
        name = text_of(str(below.with_suffix("")))
        name = f"{name}-{number}" if name in used else name
        used.add(name)
        names.append(name)
    return names
