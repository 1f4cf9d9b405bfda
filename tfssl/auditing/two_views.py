"""What finds the partner of a view without knowing what it shows, and what the loss asks for.

Of two views of a picture a network may learn that they have the same pixels, or the same colours (Chen et al. 2020,
arXiv 2002.05709, figure 6: crops of one photo share its histogram), and nothing else. And where nothing pushes views of
different pictures apart, the same embedding for all is as good as any.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from tfssl.auditing import statistics
from tfssl.auditing.results import CONTENT, LEAK, OK, Probe
from tfssl.auditing.samples import Kept, Maker
from tfssl.tasks.parts.two_views import TwoViews

PICTURES = 64
"""Pictures of a batch among whose views partners are looked for, about: those of a step by default."""
ALIKE, MOST_ALIKE = 0.1, 0.05
"""Views are alike below this difference, in differences of pictures; and how many may be."""
MOST_FOUND = 1 / 3
"""Share of views whose partner colours may find. In toy pictures, CIFAR-10 and photos alike it is 0.14 to 0.15 with the
jitter of CIFAR-10, 0.06 to 0.07 with that of ImageNet, 0.51 to 0.55 without jitter, 0.81 to 0.86 where none is grey."""
BINS = 4
"""Of each colour: a histogram has 64."""

Sides = tuple[np.ndarray, np.ndarray]


def probes(maker: Maker, images: np.ndarray) -> list[Probe]:
    """Make the probes of a task of two views of pictures uint8 [batches, B, S, S, 3]; of other tasks there are none."""
    task = maker.task
    if not isinstance(task, TwoViews):
        return []
    plain = maker.of(dataclasses.replace(task, jitter=0.0, grey=0.0))
    made = Kept(lambda: _drawn(maker, images))
    return [
        _alike(str(task), made),
        _colours(str(task), "partner by colour histogram", made, MOST_FOUND),
        _colours(str(task), "partner by colour histogram, not jittered", _drawn(plain, images)),
        _constant(task),
    ]


def _drawn(maker: Maker, images: np.ndarray) -> Iterator[tuple[np.ndarray, Sides]]:
    """Return the number of the batch of each picture, and both views of all, by about `PICTURES` of them."""
    together = max(1, PICTURES // images.shape[1])
    for start in range(0, len(images) - len(images) % together or len(images), together):
        numbers = range(start, min(start + together, len(images)))
        sides = [maker.task.sides(maker.graph({"image": images[k]}, k)[0]) for k in numbers]  # type: ignore[attr-defined]
        first, second = (np.concatenate(each) for each in zip(*sides, strict=True))
        yield np.repeat(list(numbers), images.shape[1]), (first, second)


def _alike(text: str, made: Iterable[tuple[np.ndarray, Sides]]) -> Probe:
    """Count the pictures whose views are all but the same, or mirror images."""
    alike, groups = [], []
    for numbers, (first, second) in made:
        others = _difference(first, np.roll(second, 1, 0)).mean()
        nearest = np.minimum(_difference(first, second), _difference(first, second[:, :, ::-1]))
        alike.append(nearest < ALIKE * others)
        groups.append(numbers)
    share, bounds = statistics.mean_interval(np.concatenate(alike).astype(float), np.concatenate(groups))
    return Probe(
        task=text,
        name="views alike",
        verdict=LEAK if bounds[0] > MOST_ALIKE else OK,
        found=share,
        bounds=(max(bounds[0], 0.0), min(bounds[1], 1.0)),
        chance=0.0,
        note=f"share of pictures whose views are the same, mirrored or not; a leak is above {MOST_ALIKE:.0%}",
    )


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(np.float32) - other).mean((1, 2, 3))


def _colours(text: str, name: str, made: Iterable[tuple[np.ndarray, Sides]], most: float = np.inf) -> Probe:
    """Look for partners by the most similar histogram; above `most` it is a leak."""
    found, groups, chances = [], [], []
    for numbers, (first, second) in made:
        found.append(partners_found(histograms(first), histograms(second)))
        groups.append(numbers)
        chances.append(1 / (2 * len(first) - 1))
    share, bounds = statistics.mean_interval(np.concatenate(found), np.concatenate(groups))
    chance = float(np.mean(chances))
    leak = f"; a leak is above {most:.0%}" if np.isfinite(most) else ", for comparison"
    return Probe(
        task=text,
        name=name,
        verdict=LEAK if bounds[0] > most else CONTENT if bounds[0] > chance else OK,
        found=share,
        bounds=(max(bounds[0], 0.0), min(bounds[1], 1.0)),
        chance=chance,
        note=f"share of views whose partner has the nearest colours{leak}",
    )


def histograms(pictures: np.ndarray) -> np.ndarray:
    """Return roots of the shares of 4 x 4 x 4 colours, float [B, 64], of uint8 [B, h, w, 3]: unit vectors."""
    level = pictures.astype(int) * BINS // 256
    colours = ((level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]).reshape(len(pictures), -1)
    counts = np.stack([np.bincount(row, minlength=BINS**3) for row in colours])
    return np.sqrt(counts / colours.shape[1])


def partners_found(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Say of each picture for which part of its two views the other is the nearest of all, [B], by vectors [B, n]."""
    count = len(first)
    both = np.concatenate([first, second])
    similar = both @ both.T
    np.fill_diagonal(similar, -np.inf)
    right = similar.argmax(1) == np.roll(np.arange(2 * count), count)
    return right.reshape(2, count).mean(0)


def _constant(task: TwoViews) -> Probe:
    """Compare the loss of embeddings that are all the same with that of embeddings that know each picture."""
    drawn = np.random.default_rng(0).normal(size=(PICTURES, task.projection)).astype(np.float32)
    answer, loss = np.tile([1, -1], PICTURES), task.make_loss()
    known, constant = (float(loss(answer, each)) for each in (drawn.repeat(2, 0), np.ones_like(drawn).repeat(2, 0)))
    return Probe(
        task=str(task),
        name="constant embedding",
        verdict=OK if constant > known + 1e-3 * abs(known) + 1e-6 else LEAK,
        found=constant,
        chance=known,
        unit="loss",
        note="loss where all embeddings are the same, beside that of embeddings that know each picture",
    )
