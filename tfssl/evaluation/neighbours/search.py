"""How `neighbours` looks through the data: in batches, of which only what is closest is kept."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.evaluation.config import NeighboursSettings
from tfssl.evaluation.neighbours import patches
from tfssl.evaluation.neighbours.asked import Asked
from tfssl.evaluation.neighbours.networks import Asking
from tfssl.frozen.closest import Closest
from tfssl.pipelines import batches
from tfssl.pipelines.ops import near_duplicates
from tfssl.pipelines.progress import Progress


def look_through(
    settings: NeighboursSettings, asked: Asked, networks: Sequence[Asking]
) -> tuple[list[Closest], list[set[int]], int]:
    """Pass over the data, once for each size that networks take and each frame, with all networks of that size.

    Returns:
      What is closest under each network; which rows were left out for each question; how many are broken.
    """
    source, looks = asked.source, asked.looks
    groups, own_groups, own_numbers = source.groups, asked.groups, asked.numbers
    closest: dict[int, Closest] = {}
    left_out: list[set[int]] = [set() for _ in own_groups]
    broken = 0
    sizes = list(dict.fromkeys(each.size for each in networks))
    rows_at_once = max(1, settings.batch_size // (patches.COUNT if looks.patches else 1))
    total = source.count * looks.frames * len(sizes)
    what = "frames" if source.moving else "pictures"
    with Progress(f"{what} measured", source.name, total) as progress:
        for size in sizes:
            of_size = [number for number, each in enumerate(networks) if each.size == size]
            images, patterns = asked.read(size)
            questions = {number: networks[number].embed(images) for number in of_size}
            closest |= {number: Closest(len(images), settings.count) for number in of_size}
            for frame, at in enumerate(looks.passes):
                for batch in batches.plain(source, looks.side(size), rows_at_once, at=at):
                    valid = batch["valid"].numpy()
                    rows = batch["index"].numpy()[valid]
                    progress.add(len(valid))
                    if size == sizes[0] and frame == 0:
                        broken += int((~valid).sum())
                    if not len(rows):
                        continue
                    squares = tf.boolean_mask(batch["image"], valid)
                    seen = looks.cut(squares, size)
                    each = int(seen.shape[1])
                    places = np.tile(np.arange(each), len(rows)) if looks.patches else np.full(len(rows), frame)
                    numbers = np.repeat(rows, each) * looks.places + places
                    if settings.duplicates:
                        barred, keys = own_numbers[:, None] == numbers, numbers
                    else:
                        own = own_groups[:, None] == groups[rows]
                        alike = patterns @ near_duplicates.patterns(squares).numpy().T >= near_duplicates.ALIKE
                        _note(left_out, own, alike, rows, asked)
                        barred, keys = np.repeat(own | alike, each, 1), np.repeat(groups[rows], each)
                    shown = tf.reshape(seen, [-1, size, size, 3])
                    for number in of_size:
                        cosines = questions[number] @ networks[number].embed(shown).T
                        closest[number].add(np.where(barred, -np.inf, cosines), numbers, keys)
    return [closest[number] for number in range(len(networks))], left_out, broken


def _note(left_out: list[set[int]], own: np.ndarray, alike: np.ndarray, rows: np.ndarray, asked: Asked) -> None:
    """Note what is left out for each question: near-duplicates, and copies of a picture but not the picture itself."""
    noted = alike & ~own if asked.source.moving else alike | own
    for question, column in np.argwhere(noted).tolist():
        row = int(rows[column])
        sampled = question - len(asked.files)
        if row != (asked.files[question].row if sampled < 0 else asked.rows[sampled]):
            left_out[question].add(row)
