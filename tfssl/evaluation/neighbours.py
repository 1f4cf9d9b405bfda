"""`neighbours`: frames and pictures with what is nearest to them in features, beside random weights."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.figures import save_figure
from tfssl.base.files import atomic_write
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.evaluation.config import NeighboursSettings
from tfssl.frozen import features
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.runs.run import Run, load_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH, ASKED = 64, 256
DRAWN = 96
"""Pixels of a picture in the gallery."""


class Found(NamedTuple):
    """The nearest of N questions, the most similar first.

    Attributes:
      rows: int [N, k], numbers of pictures or clips.
      frames: int [N, k], which of their frames.
      similarity: float32 [N, k], cosines.
    """

    rows: np.ndarray
    frames: np.ndarray
    similarity: np.ndarray


@dataclasses.dataclass(frozen=True)
class Neighbours(Result):
    """What `neighbours` drew and counted.

    Attributes:
      file: the gallery.
      run, data, stage: folder, name, stage.
      items: pictures or clips that were looked through; each was a question once.
      nearest: answers to each.
      alike: share of all answers that have the class of the question, with the run's weights; None without labels.
      random: the same with random weights.
      chance: the same of answers at random.
    """

    file: Path
    run: Path
    data: str
    stage: str = dataclasses.field(metadata={"key": "layer"})
    items: int
    nearest: int
    alike: float | None
    random: float | None
    chance: float | None

    def __str__(self) -> str:
        line = f"{self.file}: {self.stage} of {self.run} on {self.data}"
        if self.alike is None:
            return line
        return (
            f"{line}; of the {self.nearest} nearest of each of {self.items}, {100 * self.alike:.1f} % have its class;"
            f" random weights {100 * self.random:.1f} %, chance {100 * self.chance:.1f} %"  # type: ignore[operator]
        )


@on_its_own()
def neighbours(
    run: str | Path | Run,
    data: Any,
    to: str | Path,
    *,
    count: int = 6,
    nearest: int = 5,
    frames: int = 5,
    limit: int = 2000,
    stage: str | None = None,
    seed: int = 0,
) -> Neighbours:
    """Draw frames of clips, or pictures, each with those that are nearest in features, beside random weights.

    Features are averages over all places, similarity is the cosine. A question is the frame in the middle of a clip;
    answers are frames of other recordings, one a clip at most, as neighbours in time are alike whatever was learned. Of
    pictures no copy of the question counts.

    Args:
      run: a run, or its folder.
      data: anything that `open_source` takes, better none that was trained on.
      to: a picture file (png, svg, pdf, jpg).
      count: questions that are drawn.
      nearest: answers to each.
      frames: of a clip, spread evenly over it, to choose from.
      limit: largest count of clips or pictures to look through, drawn by the seed.
      stage: a stage of the trunk; the last where None.
      seed: other seeds ask for others.

    Raises:
      UserError: an unknown stage, a count out of range, data with too few recordings.
    """
    to = NeighboursSettings(**locals()).to
    run = load_run(run)
    trunk = run.trunk()
    stage = stage or trunk.stages[-1]
    if stage not in trunk.stages:
        raise UserError(f"--stage {stage} is given, the trunk has: {', '.join(trunk.stages)}")
    source = open_source(data)
    if source.moving:
        source = source.subset(np.flatnonzero(source.frame_counts > 0), source.name)
    else:
        frames = 1
    if source.count > limit:
        source = batches.sample(source, limit, seed)
    groups = source.groups
    recordings = len(np.unique(groups))
    if recordings <= nearest:
        raise UserError(f"{source.name} has {recordings} recordings; expected more than --nearest {nearest}")
    size = run.settings.size
    untrained = features.stage_model(run.random_trunk(), size)
    estimate_batch_norm(untrained, source, size, run.settings.batch_size, seed)
    answers = [
        search(_embed(model, source, size, stage, frames), groups, nearest)
        for model in (features.stage_model(trunk, size), untrained)
    ]
    asked = np.random.default_rng(seed).permutation(source.count)[:count]
    with atomic_write(to) as temporary:
        save_figure(_draw_gallery(source, answers, asked, frames), temporary, dpi=120)
    shares: list[float | None] = [None, None, None]
    if source.labels is not None:
        shares = [share_alike(each, source.labels) for each in answers] + [chance_alike(source.labels, groups)]
    return Neighbours(to, run.folder, source.name, stage, source.count, nearest, *shares)


def search(embeddings: np.ndarray, groups: np.ndarray, nearest: int) -> Found:
    """Ask for the middle frame of each: of each other recording's clips the frame that is most similar counts.

    Args:
      embeddings: float32 [N, F, D], of F frames of each.
      groups: int [N]: answers are never of the question's own group.
      nearest: answers to each, fewer than there are groups.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
    count, frames, _ = unit.shape
    parts = []
    for start in range(0, count, ASKED):
        some = slice(start, start + ASKED)
        cosines = np.einsum("qd,nfd->qnf", unit[some, frames // 2], unit, optimize=True)
        best = cosines.max(2)
        best[groups[some, None] == groups] = -np.inf
        rows = np.argsort(-best, 1, kind="stable")[:, :nearest]
        chosen = np.take_along_axis(cosines.argmax(2), rows, 1)
        parts.append(Found(rows, chosen, np.take_along_axis(best, rows, 1)))
    return Found(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def share_alike(answers: Found, labels: np.ndarray) -> float | None:
    """Return the share of answers with the question's label, of questions that have one; None where none has."""
    known = np.flatnonzero(labels >= 0)
    return float((labels[answers.rows[known]] == labels[known, None]).mean()) if len(known) else None


def chance_alike(labels: np.ndarray, groups: np.ndarray) -> float | None:
    """Return the same share of answers at random."""
    known = np.flatnonzero(labels >= 0)
    others = groups[known, None] != groups
    same = (labels[known, None] == labels) & others
    return float((same.sum(1) / others.sum(1)).mean()) if len(known) else None


def _embed(model: Any, source: AnySource, size: int, stage: str, frames: int) -> np.ndarray:
    """Embed frames, float32 [N, F, D]. Raise UserError where a picture cannot be decoded."""
    extractor = features.make_extractor(model, {stage: (1,)})
    rows = []
    for number in range(frames):
        stream = batches.plain(source, size, BATCH, at=(number + 0.5) / frames)
        kept = features.extract(extractor, stream, source.count)
        if kept.broken:
            lost = sorted(set(range(source.count)) - set(kept.rows.tolist()))
            raise UserError(f"{source.paths[lost[0]]} cannot be decoded to its end; mend or remove it")
        rows.append(kept.stages[stage][1].astype(np.float32))
    return np.stack(rows, 1)


def _draw_gallery(source: AnySource, answered: list[Found], asked: np.ndarray, frames: int) -> "Figure":
    """Draw two rows for each question, trained and random; the question stands first."""
    from matplotlib.figure import Figure

    wanted = {(int(row), frames // 2) for row in asked}
    for each in answered:
        wanted |= set(zip(each.rows[asked].ravel().tolist(), each.frames[asked].ravel().tolist(), strict=True))
    pictures = _pictures(source, wanted, frames)
    nearest = answered[0].rows.shape[1]
    figure = Figure(figsize=(1.1 * (nearest + 1), 2.6 * len(asked)), layout="constrained")
    cells = figure.subplots(2 * len(asked), nearest + 1, squeeze=False)
    for axis in cells.flat:
        axis.set_axis_off()
    for number, row in enumerate(asked.tolist()):
        for line, (each, name) in enumerate(zip(answered, ("trained", "random weights"), strict=True)):
            places = cells[2 * number + line]
            places[0].imshow(pictures[row, frames // 2])
            places[0].set_title(f"{name}\n{_label(source, row)}".strip(), fontsize=7, parse_math=False)
            answers = zip(each.rows[row].tolist(), each.frames[row].tolist(), each.similarity[row], strict=True)
            for axis, (answer, frame, cosine) in zip(places[1:], answers, strict=True):
                axis.imshow(pictures[answer, frame])
                right = _label(source, row) and _label(source, answer) == _label(source, row)
                axis.set_title(
                    f"{cosine:.3f}\n{_label(source, answer)}".strip(),
                    fontsize=7,
                    parse_math=False,  # a $ in the name of a class begins no formula
                    color="tab:green" if right else "black",
                )
    return figure


def _label(source: AnySource, row: int) -> str:
    if source.labels is None or source.labels[row] < 0:
        return ""
    return source.classes[source.labels[row]]


def _pictures(source: AnySource, wanted: set[tuple[int, int]], frames: int) -> dict[tuple[int, int], np.ndarray]:
    """Decode pictures: (row, frame) -> uint8 [96, 96, 3]."""
    pictures = {}
    for frame in range(frames):
        rows = np.array(sorted(row for row, number in wanted if number == frame), int)
        if not len(rows):
            continue
        stream = batches.plain(source.subset(rows, source.name), DRAWN, BATCH, at=(frame + 0.5) / frames)
        for batch in stream:
            for place, image in zip(batch["index"].numpy(), batch["image"].numpy(), strict=True):
                pictures[int(rows[place]), frame] = image
    return pictures
