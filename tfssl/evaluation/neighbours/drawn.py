"""The places that `neighbours` found, in words, and as pictures of its gallery."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.evaluation.neighbours import patches
from tfssl.evaluation.neighbours.asked import Asked, decode, pixels_of
from tfssl.evaluation.neighbours.found import Neighbour, Neighbours, Place
from tfssl.frozen.closest import NONE, Closest
from tfssl.pipelines import batches
from tfssl.pipelines.decoding.headers import Header
from tfssl.pipelines.decoding.orientation import upright_size
from tfssl.pipelines.decoding.random_crops import centre_box
from tfssl.pipelines.ops.windows import Box
from tfssl.report import gallery


def _place(asked: Asked, number: int) -> dict[str, Any]:
    """Return what `Place` says of a place of the data, by its number."""
    source = asked.source
    row, place = divmod(number, asked.looks.places)
    label = None if source.labels is None or source.labels[row] < 0 else source.classes[source.labels[row]]
    frame = None if not source.moving else int(asked.looks.passes[place] * source.frame_counts[row])
    box = None
    if asked.looks.patches:
        square = centre_box(*upright_size(Header(*source.header[row]))).numpy()  # type: ignore[attr-defined]
        box = tuple(pixels_of(place, Box(*map(int, square))))
    return {"path": source.paths[row], "label": label, "frame": frame, "box": box}


def place_of_query(asked: Asked, number: int) -> dict[str, Any]:
    """Return what `Place` says of a question."""
    if number >= len(asked.files):
        return _place(asked, int(asked.numbers[number]))
    file = asked.files[number]
    label = None if file.row is None else _place(asked, file.row * asked.looks.places)["label"]
    return {"path": str(file.path), "label": label, "frame": None, "box": None if file.box is None else tuple(file.box)}


def neighbours_of(asked: Asked, closest: Closest, number: int) -> tuple[Neighbour, ...]:
    """Return what was found for a question."""
    return tuple(
        Neighbour(**_place(asked, int(each)), similarity=float(cosine))
        for each, cosine in zip(closest.numbers[number], closest.similarity[number], strict=True)
        if each != NONE
    )


def draw(
    found: Neighbours, asked: Asked, closest: Sequence[Closest], shown: list[int], run: Path | None = None
) -> None:
    """Draw the gallery into its file, and where `run` is the folder of one, keep it there for its page."""
    numbers = {int(each) for one in closest for each in one.numbers[shown].ravel() if each != NONE}
    numbers |= {int(asked.numbers[number]) for number in shown if number >= len(asked.files)}
    pictures = _pictures(asked, sorted(numbers))
    rows = []
    for query, number in zip(found.queries, shown, strict=True):
        if number < len(asked.files):
            whole, patch, box = _picture_of_file(asked, number)
        else:
            whole, patch, box = pictures[int(asked.numbers[number])]
        name = Path(query.path).name
        given = gallery.Picture(whole, query.label or name, f"query: {_words(query)}", False, box, patch)
        columns = []
        for one, each in zip(query.found, closest, strict=True):
            column = []
            for answer, place in zip(one, each.numbers[number].tolist(), strict=False):
                whole, patch, box = pictures[place]
                caption = f"{answer.similarity:.3f}\n{answer.label or ''}".strip()
                right = answer.label is not None and answer.label == query.label
                alt = f"{_words(answer)}, cosine {answer.similarity:.3f}"
                column.append(gallery.Picture(whole, caption, alt, right, box, patch))
            columns.append(column)
        rows.append(gallery.Row(given, columns))
    title = f"What is alike under {found.networks[0].name}"
    said = "\n".join([f"{found.opening}.", *found.sentences])
    titles = [each.title for each in found.networks]
    gallery.write(found.file, rows, found.count, titles, title, said)
    if run is not None:
        gallery.keep(run, gallery.shown(rows, titles, said))


def _words(place: Place) -> str:
    """Say what a picture is, for who cannot see it."""
    said = f"{place.label}, {place.path}" if place.label else place.path
    said += f", frame {place.frame}" if place.frame is not None else ""
    if place.box is not None:
        top, left, height, width = place.box
        said += f", {width} x {height} pixels at {left} from the left and {top} from the top"
    return said


Drawn = tuple[np.ndarray, np.ndarray | None, tuple[float, float, float, float] | None]
"""A picture, its patch and where that is, as of `gallery.Picture`."""


def _picture_of_file(asked: Asked, number: int) -> Drawn:
    file = asked.files[number]
    (whole,) = decode([file], [file.square], gallery.DRAWN)
    if file.box is None:
        return whole, None, None
    (patch,) = decode([file], [file.box], gallery.DRAWN)
    inside = (file.box.top - file.square.top, file.box.left - file.square.left, file.box.height, file.box.width)
    top, left, height, width = (pixels / file.square.height for pixels in inside)
    return whole, patch, (top, left, height, width)


def _pictures(asked: Asked, numbers: Sequence[int]) -> dict[int, Drawn]:
    """Decode places of the data, for the gallery, by their numbers."""
    looks = asked.looks
    pictures: dict[int, Drawn] = {}
    by_frame: dict[int, list[int]] = {}
    for number in numbers:
        by_frame.setdefault(0 if looks.patches else number % looks.places, []).append(number)
    for frame, some in by_frame.items():
        rows = np.array([number // looks.places for number in some])
        chosen = asked.source.subset(rows, asked.source.name)
        side = looks.side(gallery.DRAWN)
        for batch in batches.plain(chosen, side, 16, at=looks.passes[frame]):
            seen = looks.cut(batch["image"], gallery.DRAWN).numpy()
            wholes = tf.cast(tf.round(tf.image.resize(batch["image"], [gallery.DRAWN] * 2, method="area")), tf.uint8)
            for place, whole, parts in zip(batch["index"].numpy(), wholes.numpy(), seen, strict=True):
                number = some[place]
                part = number % looks.places
                is_patch = looks.patches
                pictures[number] = (whole, parts[part], patches.shares_of(part)) if is_patch else (whole, None, None)
    return pictures
