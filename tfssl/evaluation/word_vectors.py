"""Word vectors asked: what is nearest, which word completes an analogy, do cosines order pairs as people do?"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.text.vocabulary import Vocabulary

ASKED = 256
"""Questions at once: their cosines to 100,000 words take 100 MB."""


@dataclasses.dataclass(frozen=True, eq=False)
class WordVectors:
    """Vectors of the words of a vocabulary.

    Attributes:
      vocabulary: V words.
      unit: float32 [V, D], of length 1 each.
    """

    vocabulary: Vocabulary
    unit: np.ndarray

    @classmethod
    def of(cls, vocabulary: Vocabulary, table: np.ndarray) -> "WordVectors":
        """Make them of a table, float32 [V, D]."""
        length = np.linalg.norm(table, axis=1, keepdims=True)
        return cls(vocabulary, np.asarray(table / np.maximum(length, 1e-12), np.float32))

    def nearest(self, asked: np.ndarray, count: int, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the words of the largest cosines, int [N, count], the largest first, and these cosines.

        Args:
          asked: float32 [N, D].
          count: fewer than there are words less those left out.
          without: int [N, k], words that are no answers.
        """
        found, cosines = [], []
        asked = asked / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)
        for start in range(0, len(asked), ASKED):
            some = asked[start : start + ASKED] @ self.unit.T
            np.put_along_axis(some, without[start : start + ASKED], -np.inf, 1)
            best = np.argpartition(-some, count - 1, 1)[:, :count]
            values = np.take_along_axis(some, best, 1)
            order = np.argsort(-values, 1, kind="stable")
            found.append(np.take_along_axis(best, order, 1))
            cosines.append(np.take_along_axis(values, order, 1))
        return np.concatenate(found), np.concatenate(cosines)


@dataclasses.dataclass(frozen=True)
class Section:
    """Analogies of one kind.

    Attributes:
      name: of the kind.
      right, asked: how many were answered right, of how many.
      listed: how many there are; those with a word that the vocabulary lacks are not asked.
    """

    name: str
    right: int
    asked: int
    listed: int


def answer_analogies(vectors: WordVectors, questions: dict[str, np.ndarray]) -> list[Section]:
    """Ask "a is to b as c is to which word?": the word nearest to b - a + c by cosine, which is none of the three.

    As Mikolov et al. 2013 (arXiv 1301.3781) and gensim do, over the whole vocabulary.

    Args:
      questions: section -> int [N, 4], numbers of words, -1 of those that the vocabulary lacks.
    """
    sections = []
    for name, listed in questions.items():
        known = listed[(listed >= 0).all(1)]
        right = 0
        if len(known) and len(vectors.vocabulary) > 3:
            a, b, c, wanted = known.T
            place = vectors.unit[b] - vectors.unit[a] + vectors.unit[c]
            found, _ = vectors.nearest(place, 1, known[:, :3])
            right = int((found[:, 0] == wanted).sum())
        sections.append(Section(name, right, len(known), len(listed)))
    return sections


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How cosines order pairs of words, beside people.

    Attributes:
      name: of the file.
      spearman: rank correlation, -1..1; None where fewer than two pairs are known.
      asked, listed: pairs both of whose words the vocabulary has, of how many.
    """

    name: str
    spearman: float | None
    asked: int
    listed: int


def compare_pairs(vectors: WordVectors, name: str, pairs: np.ndarray, scores: np.ndarray) -> Agreement:
    """Return the rank correlation of cosines with people's scores.

    Args:
      pairs: int [N, 2], -1 of words that the vocabulary lacks.
      scores: float [N].
    """
    from scipy.stats import spearmanr

    known = (pairs >= 0).all(1)
    one, other = pairs[known].T
    cosines = (vectors.unit[one] * vectors.unit[other]).sum(1)
    found = float(spearmanr(cosines, scores[known]).statistic) if known.sum() > 1 else None
    return Agreement(name, found, int(known.sum()), len(pairs))


def share_alike(vectors: WordVectors, classes: Sequence[Iterable[str]], count: int) -> tuple[float, float]:
    """Return the share of the `count` nearest words of each that are of its class, and that of words at random.

    Only words of a class are asked for; all words of the vocabulary may answer.
    """
    number = np.full(len(vectors.vocabulary), -1)
    for label, group in enumerate(classes):
        own = vectors.vocabulary.numbers([word.encode() for word in group])
        number[own[own >= 0]] = label
    asked = np.flatnonzero(number >= 0)
    found, _ = vectors.nearest(vectors.unit[asked], count, asked[:, None])
    others = [((number == number[one]).sum() - 1) / (len(number) - 1) for one in asked]
    return float((number[found] == number[asked, None]).mean()), float(np.mean(others))


def read_analogies(path: Path, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Read a file of word2vec's `questions-words` format: lines ": section" and "a b c d".

    Returns:
      Section -> int32 [N, 4].

    Raises:
      UserError: no such file, or a line of something else.
    """
    questions: dict[str, list[list[bytes]]] = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if line.startswith(":"):
            section = questions.setdefault(line[1:].strip(), [])
        elif len(words) == 4 and questions:
            section.append([word.encode() for word in words])
        elif words:
            raise UserError(f"{path}, line {number}: expected ': SECTION', or four words; got {line[:60]!r}")
    return {name: _numbers(vocabulary, rows, 4) for name, rows in questions.items()}


def read_pairs(path: Path, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Read pairs of words with people's scores, as WordSim-353 and SimLex-999 have them.

    A line is two words and a score, with tabs or commas between them; # begins a comment. The first line may name its
    columns: then the score is that of SimLex999 where there is one, else the third.

    Returns:
      int32 [N, 2] and float64 [N].

    Raises:
      UserError: no such file, nothing in it, or a line of something else.
    """
    words: list[list[bytes]] = []
    scores: list[float] = []
    column, first = 2, True
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t" if "\t" in line else ",")]
        try:
            score = float(parts[column])
        except (ValueError, IndexError):
            if first and len(parts) > 2:
                column, first = parts.index("SimLex999") if "SimLex999" in parts else 2, False
                continue
            raise UserError(
                f"{path}, line {number}: expected two words and a score, with tabs or commas between; got {line[:60]!r}"
            ) from None
        first = False
        words.append([part.encode() for part in parts[:2]])
        scores.append(score)
    if not words:
        raise UserError(f"{path} has no pairs of words; expected lines of two words and a score")
    return _numbers(vocabulary, words, 2), np.array(scores)


def _numbers(vocabulary: Vocabulary, rows: list[list[bytes]], width: int) -> np.ndarray:
    return vocabulary.numbers(word for row in rows for word in row).reshape(-1, width)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "is not UTF-8"
        raise UserError(f"{path} cannot be read: {reason.lower()}") from problem
