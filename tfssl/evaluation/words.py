"""`evaluate_words`: word vectors by analogies, by people's scores, by held-out text, and by their neighbours."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.evaluation import word_vectors
from tfssl.evaluation.config import EvaluateWordsSettings
from tfssl.evaluation.word_vectors import Agreement, Section, WordVectors
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.pipelines.text import windows
from tfssl.runs.run import Run, load_run
from tfssl.tasks.word2vec import Word2Vec, window_mean

FILE_NAME = "words_evaluation.json"
MODELS = ("trained", "random")
BATCH = 64


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The task's loss on a text, nats for each word (pair) with its noise.

    Attributes:
      data: name of the text.
      loss: of the trained tables.
      unigram: of the best scores that know how often each word comes, and nothing of the words around it.
      random: of random vectors, (1 + negatives) ln 2 less what noise that is the word itself would count.
      known: share of the words of the text that the vocabulary has.
      pairs: how many words (pairs) were asked for.
    """

    data: str
    loss: float
    unigram: float
    random: float
    known: float
    pairs: int


class Neighbour(NamedTuple):
    """A word and its cosine to the one that was asked for."""

    word: str
    similarity: float


@dataclasses.dataclass(frozen=True)
class WordsEvaluation(Result):
    """What `evaluate_words` found. All is of the run's vectors beside those that it began with ("trained", "random").

    Attributes:
      run: its folder.
      words: how many the vocabulary has.
      analogies: sections of "trained" and "random"; {} where not asked for.
      similarity: of "trained" and "random", one a file; {} where not asked for.
      held_out: the loss on a text, None where none was given.
      alike: with toy text, the share of the `nearest` words of each that are of its class: "trained", "random" and
        "chance"; {} otherwise.
      nearest: how many neighbours.
      neighbours: of "trained" and "random": word -> its neighbours, the nearest first.
      unknown: words whose neighbours were asked for, and that the vocabulary lacks.
    """

    run: Path
    words: int
    analogies: dict[str, list[Section]]
    similarity: dict[str, list[Agreement]]
    held_out: HeldOut | None
    alike: dict[str, float]
    nearest: int
    neighbours: dict[str, dict[str, list[Neighbour]]]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.run}: {self.words:,} words"]
        if self.analogies:
            lines += ["analogies, share right: trained, random vectors; asked of listed"]
            total = {name: _sum(sections) for name, sections in self.analogies.items()}
            rows = [*zip(*self.analogies.values(), strict=True), tuple(total.values())]
            lines += [f"  {own.name:28}{_share(own):>8}{_share(other):>8}{_of(own)}" for own, other in rows]
        if self.similarity:
            lines += ["similarity, Spearman's rank correlation: trained, random vectors; pairs asked of listed"]
            for own, other in zip(*self.similarity.values(), strict=True):
                lines.append(f"  {own.name:28}{_number(own.spearman):>8}{_number(other.spearman):>8}{_of(own)}")
        if self.held_out:
            found = self.held_out
            lines += [
                f"loss on {found.data}, nats a word: trained {found.loss:.4f}, frequencies alone {found.unigram:.4f},"
                f" random vectors {found.random:.4f}; {found.pairs:,} asked,"
                f" {100 * found.known:.1f} % of its words known"
            ]
        if self.alike:
            shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.alike.items())
            lines += [f"of the {self.nearest} nearest words, of the same class: {shares}"]
        for name, found_of in self.neighbours.items():
            if found_of:
                lines += [f"nearest, {name} vectors"]
            for word, found_words in found_of.items():
                listed = ", ".join(f"{each.word} {each.similarity:.2f}" for each in found_words)
                lines.append(f"  {word}: {listed}")
        lines += [f"not in the vocabulary: {', '.join(self.unknown)}"] if self.unknown else []
        return "\n".join(lines)


@on_its_own()
def evaluate_words(
    run: "Run | str | Path",
    data: Any = None,
    *,
    analogies: str | Path | None = None,
    similarity: str | Path | Sequence[str | Path] = (),
    neighbours: str | Sequence[str] = (),
    nearest: int = 5,
    seed: int = 20161,
    verbose: int = 1,
) -> WordsEvaluation:
    """Measure the word vectors of a run, beside the random ones that it began with.

    What is asked for is measured: analogies, the agreement of cosines with people's scores, the task's loss on held-out
    text, neighbours of words. Words that the vocabulary lacks are left out, and how many questions that costs is said.
    Writes `words_evaluation.json` into the run's folder.

    Args:
      run: a run of word2vec, or its folder.
      data: a text that the run has not seen: 'text:FILES', 'toy:text(start=...)'. Its loss stands beside that of the
        unigram model. Of toy text, whose classes of words are known, the share of neighbours of the same class too.
      analogies: a file of the `questions-words` format.
      similarity: files of pairs of words with people's scores, as WordSim-353 and SimLex-999.
      neighbours: words whose nearest words to list.
      nearest: how many.
      seed: of windows and noise on held-out text.
      verbose: 1 says on standard error how far it is, 0 nothing.

    Raises:
      UserError: nothing is asked for; a run on something else; a file that cannot be read.
    """
    settings = EvaluateWordsSettings(**locals())
    run = load_run(run)
    tables = {name: np.asarray(run.word_table(random=name == "random").layer.get_weights()[0]) for name in MODELS}
    task = next(task for task in run.tasks() if isinstance(task, Word2Vec))
    vectors = {name: WordVectors.of(task.vocabulary, table) for name, table in tables.items()}
    files = settings.similarity
    if data is None and not (settings.analogies or files or settings.neighbours):
        raise UserError("nothing is asked for; give a text, --analogies, --similarity or --neighbours")
    nearest = min(nearest, len(task.vocabulary) - 1)
    questions = None if settings.analogies is None else word_vectors.read_analogies(settings.analogies, task.vocabulary)
    pairs = {path.name: word_vectors.read_pairs(path, task.vocabulary) for path in files}
    source = None if data is None else open_source(data)
    classes = list(getattr(source, "word_classes", {}).values())
    alike: dict[str, float] = {}
    for name, each in vectors.items() if classes else ():
        alike[name], chance = word_vectors.share_alike(each, classes, nearest)
        alike |= {"chance": chance} if name == MODELS[-1] else {}
    numbers = task.vocabulary.numbers([word.encode() for word in settings.neighbours])
    evaluation = WordsEvaluation(
        run=run.folder,
        words=len(task.vocabulary),
        analogies={}
        if questions is None
        else {n: word_vectors.answer_analogies(v, questions) for n, v in vectors.items()},
        similarity={
            n: [word_vectors.compare_pairs(v, name, *each) for name, each in pairs.items()] for n, v in vectors.items()
        }
        if pairs
        else {},
        held_out=None if source is None else _held_out(run, task, tables, source, seed, verbose),
        alike=alike,
        nearest=nearest,
        neighbours={n: _neighbours(v, settings.neighbours, numbers, nearest) for n, v in vectors.items()},
        unknown=tuple(word for word, number in zip(settings.neighbours, numbers, strict=True) if number < 0),
    )
    write_json(run.folder / FILE_NAME, evaluation.as_json())
    return evaluation


def _neighbours(
    vectors: WordVectors, words: Sequence[str], numbers: np.ndarray, count: int
) -> dict[str, list[Neighbour]]:
    known = numbers[numbers >= 0]
    if not len(known):
        return {}
    found, cosines = vectors.nearest(vectors.unit[known], count, known[:, None])
    texts = vectors.vocabulary.words
    return {
        word: [Neighbour(texts[one].decode(), float(cosine)) for one, cosine in zip(*row, strict=True)]
        for word, *row in zip([w for w, n in zip(words, numbers, strict=True) if n >= 0], found, cosines, strict=True)
    }


def _held_out(
    run: Run, task: Word2Vec, tables: dict[str, np.ndarray], source: AnySource, seed: int, verbose: int
) -> HeldOut:
    solver = run.solver(task.name)
    second = np.asarray(next(each for each in solver.layers if each.name.endswith("second_table")).get_weights()[0])
    losses, pairs = losses_on(task, source, {"trained": (tables["trained"], second)}, seed, verbose)
    corpus = source.corpus  # type: ignore[attr-defined]
    known = corpus.counts[task.on(source).reading.numbers >= 0].sum() / corpus.tokens
    return HeldOut(source.name, losses["trained"], losses["unigram"], losses["random"], float(known), pairs)


def losses_on(
    task: Word2Vec,
    source: AnySource,
    tables: dict[str, tuple[np.ndarray, np.ndarray]],
    seed: int,
    verbose: int = 0,
) -> tuple[dict[str, float], int]:
    """Measure the loss of tables on one pass over a text, nats for each word (pair) with its noise.

    Args:
      task: prepared.
      source: a text.
      tables: name -> both tables, float32 [V, D] each, in the order of the task's vocabulary.

    Returns:
      Name -> loss, of "unigram" and "random" too: see `HeldOut`. And how many words (pairs) were asked for.
    """
    check_fits([task], 1, source)
    made = {name: tuple(map(tf.constant, both)) for name, both in tables.items()}
    unigram = tf.constant(unigram_scores(task), tf.float32)
    batch_size = min(BATCH, source.count)

    def scores(puzzle: Any, table: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        seen, targets = tf.gather(table, puzzle["words"]), tf.gather(second, puzzle["targets"])
        asking = seen if task.model == "skipgram" else window_mean(puzzle["window"], seen)
        return tf.matmul(asking, targets, transpose_b=True)

    def by_frequency(puzzle: Any) -> tf.Tensor:
        return tf.gather(unigram, puzzle["targets"])[:, None]

    @tf.function
    def measure(puzzle: Any, answer: tf.Tensor, weight: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        given = {name: scores(puzzle, *both) for name, both in made.items()}
        given |= {"unigram": by_frequency(puzzle), "random": tf.zeros([1])}
        losses = {name: tf.reduce_sum(weight * (tf.nn.softplus(each) - answer * each)) for name, each in given.items()}
        return losses, tf.reduce_sum(weight * answer)

    sums: dict[str, float] = {}
    pairs = 0.0
    steps = math.ceil(source.count / batch_size)
    with Progress("passages measured", source.name, source.count, verbose) as progress:
        for puzzle, answer, weight in stream(source, [task], 0, batch_size, seed).take(steps):
            losses, count = measure(*(part[task.name] for part in (puzzle, answer, weight)))
            sums = {name: sums.get(name, 0.0) + float(loss) for name, loss in losses.items()}
            pairs += float(count)
            progress.add(batch_size)
    if not pairs:
        raise UserError(f"{source.name} has no two words side by side that the vocabulary has; give another text")
    return {name: total / pairs for name, total in sums.items()}, round(pairs)


def unigram_scores(task: Word2Vec) -> np.ndarray:
    """Return the scores, float64 [V], that are best where nothing of the context is known: log p / (negatives q).

    p is the chance of a word in the text after sub-sampling, q that of a word as noise.
    """
    counts = task.vocabulary.counts.astype(np.float64)
    p = counts * windows.keep_shares(task.vocabulary.counts, task.sample)
    q = counts**task.exponent
    return np.log(p / p.sum()) - np.log(task.negatives * q / q.sum())


def _sum(sections: Sequence[Section]) -> Section:
    return Section("all", *(sum(getattr(each, key) for each in sections) for key in ("right", "asked", "listed")))


def _share(section: Section) -> str:
    return f"{100 * section.right / section.asked:.1f} %" if section.asked else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _of(found: Section | Agreement) -> str:
    return f"   {found.asked:,} of {found.listed:,}"
