"""Retrieval within and across picture and sound: nDCG and recall, beside chance (Arandjelovic and Zisserman 2018)."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.evaluation.config import RetrieveSettings
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.run import Run, load_run
from tfssl.tasks.audio_visual import NUMBERS, AudioVisual

BATCH = 32


@dataclasses.dataclass(frozen=True)
class Retrieved:
    """Figures of one direction, as "image-sound": query image, answer sound.

    Attributes:
      ndcg: nDCG at 30, an answer being relevant where it has the query's class; mean over queries.
      recall: k -> share of queries whose own partner is among the first k answers; {} within one modality, where the
        query itself is left out.
      chance: nDCG at 30 of answers in random order.
    """

    ndcg: float
    recall: dict[int, float]
    chance: float


@dataclasses.dataclass(frozen=True)
class Retrieval(Result):
    """What `retrieve` found.

    Attributes:
      run, data: folder and name.
      clips: how many have a label, a picture and sound.
      classes: how many of these there are.
      directions: "image-sound" and so on.
    """

    run: Path
    data: str
    clips: int
    classes: int
    directions: dict[str, Retrieved]

    def __str__(self) -> str:
        lines = [
            f"{self.run} on {self.data}: {self.clips} clips of {self.classes} classes",
            f"{'query-answer':14}{'nDCG@30':>8}{'chance':>8}{'recall@1':>10}{'@5':>7}{'@10':>7}",
        ]
        for name, direction in self.directions.items():
            recall = "".join(f"{100 * direction.recall[k]:>{10 if k == 1 else 7}.1f}" for k in direction.recall)
            lines.append(f"{name:14}{direction.ndcg:>8.3f}{direction.chance:>8.3f}{recall}")
        chance = ", ".join(f"{100 * k / self.clips:.1f}" for k in (1, 5, 10))
        lines.append(f"recall of the clip's own sound or picture, in %; chance {chance}")
        return "\n".join(lines)


@on_its_own()
def retrieve(run: str | Path | Run, data: Any) -> Retrieval:
    """Search clips by their pictures and their sounds, in the space that audio_visual makes of both.

    The frame in the middle of each clip, and the sound in its middle.

    Args:
      run: trained on audio_visual(fusion="distance"); the others do not put both in one space where near is alike.
      data: labelled clips, better none that were trained on.

    Raises:
      UserError: a run without such a task, data without labels, with fewer than two clips that have all, or
        without two of one class.
    """
    RetrieveSettings(**locals())
    run = load_run(run)
    task = next((task for task in run.tasks() if isinstance(task, AudioVisual)), None)
    if task is None or task.fusion != "distance":
        raise UserError(
            f"the run in {run.folder} has {run.settings.tasks}; retrieve needs one that was trained on"
            " 'audio_visual', with fusion='distance', which puts picture and sound in one space"
        )
    source = open_source(data)
    if not source.moving or source.labels is None:
        raise UserError(f"{source.name} is given, expected clips with labels, as `tfssl ingest` writes them")
    sample_rate = run.sound["rate"]  # type: ignore[index]
    numbers = np.flatnonzero(source.has_sound & (source.frame_counts > 0) & (source.labels >= 0))
    if len(numbers) < 2 or source.sound_rate != sample_rate:
        raise UserError(
            f"{source.name} has {len(numbers)} clips with a label, pictures and sound, at {source.sound_rate} hertz;"
            f" expected 2 or more, at {sample_rate} hertz"
        )
    chosen = source.subset(numbers, source.name)
    labels = source.labels[numbers]
    if np.bincount(labels).max() < 2:
        raise UserError(f"{source.name} has one clip of each class; nothing alike can be found, give more clips")
    solver = run.solver(task.name)
    outputs = {kind: solver.get_layer(NUMBERS.format(kind)).output for kind in ("image", "sound")}
    model = keras.Model(solver.input, outputs)
    embed = tf.function(lambda puzzle: model(puzzle, training=False), reduce_retracing=True)
    seen = batches.plain(chosen, run.settings.size, BATCH)
    heard = batches.plain_sound(chosen, run.sound["samples"], BATCH)  # type: ignore[index]
    embeddings: dict[str, list[np.ndarray]] = {"image": [], "sound": []}
    for frames, sounds in zip(seen, heard, strict=True):
        for kind, rows in embed({"image": frames["image"], "sound": sounds["sound"]}).items():
            embeddings[kind].append(rows.numpy())
    joined = {kind: np.concatenate(parts) for kind, parts in embeddings.items()}
    return Retrieval(run.folder, source.name, len(labels), len(set(labels.tolist())), search(joined, labels))


def search(
    embeddings: dict[str, np.ndarray],
    labels: np.ndarray,
    ks: tuple[int, ...] = (1, 5, 10),
    depth: int = 30,
    seed: int = 0,
) -> dict[str, Retrieved]:
    """Search every modality by every other, by cosine.

    Args:
      embeddings: modality -> float32 [N, D], in one space; row i of each belongs together.
      labels: int [N], classes.
      ks: of recall.
      depth: of nDCG.
      seed: of the random order.

    Returns:
      "image-sound" and so on -> what was found.
    """
    from sklearn.metrics import ndcg_score

    unit = {
        kind: rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for kind, rows in embeddings.items()
    }
    count = len(labels)
    same = (labels[:, None] == labels).astype(float)
    random = np.random.default_rng(seed).uniform(size=(count, count))
    directions = {}
    for query, rows in unit.items():
        for answer, others in unit.items():
            scores, relevant, chance = (rows @ others.T).astype(np.float64), same.copy(), random.copy()
            recall: dict[int, float] = {}
            if query == answer:
                keep = ~np.eye(count, dtype=bool)
                scores, relevant, chance = (each[keep].reshape(count, -1) for each in (scores, relevant, chance))
            else:
                own = np.diag(scores)[:, None]
                ranks = (scores > own).sum(1)
                recall = {k: float(np.mean(ranks < k)) for k in ks}
            some = relevant.any(1)  # nDCG has no meaning for a query of whose class there is nothing else
            directions[f"{query}-{answer}"] = Retrieved(
                ndcg=float(ndcg_score(relevant[some], scores[some], k=depth)),
                recall=recall,
                chance=float(ndcg_score(relevant[some], chance[some], k=depth)),
            )
    return directions
