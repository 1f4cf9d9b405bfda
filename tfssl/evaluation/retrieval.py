"""Retrieval within and across picture and sound: nDCG and recall, beside chance (Arandjelovic and Zisserman 2018)."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Retrieved:
    """Of one direction, as "image-sound": query image, answer sound.

    Attributes:
      ndcg: nDCG at 30, an answer being relevant where it has the query's class; mean over queries.
      recall: k -> share of queries whose own partner is among the first k answers; {} within one modality, where the
        query itself is left out.
      chance: nDCG at 30 of answers in random order.
    """

    ndcg: float
    recall: dict[int, float]
    chance: float

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return dataclasses.asdict(self)


def retrieve(
    embeddings: dict[str, np.ndarray],
    labels: np.ndarray,
    ks: tuple[int, ...] = (1, 5, 10),
    depth: int = 30,
    seed: int = 0,
) -> dict[str, Retrieved]:
    """Searches every modality by every other, by cosine.

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
    found = {}
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
            found[f"{query}-{answer}"] = Retrieved(
                ndcg=float(ndcg_score(relevant[some], scores[some], k=depth)),
                recall=recall,
                chance=float(ndcg_score(relevant[some], chance[some], k=depth)),
            )
    return found
