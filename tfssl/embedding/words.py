"""Words to index and to ask for: the table of a run on text, or of its export."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.embedding.encoders import Encoder, fingerprint
from tfssl.export.versions import description, newest_version
from tfssl.export.words import VOCABULARY
from tfssl.pipelines.text.splitting import split_words
from tfssl.runs.run import Run, load_run

KIND = "words"
Answer = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""Texts -> float32 [N, D], the mean of the words of each, and bool [N], whether any is known."""


def is_words(model: Any) -> bool:
    """Say whether something is a run on text, its folder, or an export of one."""
    if isinstance(model, Run) or (Path(model) / "run.json").is_file():
        return load_run(model).words is not None
    try:
        return "words" in description(newest_version(model))
    except UserError:
        return False


def load_words(model: Any) -> tuple[Encoder, list[str], np.ndarray, Answer]:
    """Load a table of words.

    Args:
      model: what `is_words` is true of.

    Returns:
      What made the vectors, the words, their vectors float32 [V, D], and what answers texts.

    Raises:
      UserError: the run has not ended.
    """
    if isinstance(model, Run) or (Path(model) / "run.json").is_file():
        return _of_run(load_run(model))
    return _of_export(newest_version(model))


def _encoder(model: Path, table: np.ndarray, also: str = "") -> Encoder:
    count, size = table.shape
    hashed = fingerprint([table], also)
    return Encoder(str(model.resolve()), KIND, None, count, 0, size, hashed, lambda rows: tf.gather(table, rows))


def _of_run(run: Run) -> tuple[Encoder, list[str], np.ndarray, Answer]:
    table = np.asarray(run.word_table().layer.get_weights()[0])
    vocabulary = run.tasks()[0].vocabulary  # type: ignore[attr-defined]

    def answer(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        found = [vocabulary.numbers(words) for words in split_words(tf.constant(texts), vocabulary.split).to_list()]
        rows = [table[numbers[numbers >= 0]] for numbers in found]
        means = [each.mean(0) if len(each) else np.zeros(table.shape[1]) for each in rows]
        return np.array(means, np.float32), np.array([len(each) > 0 for each in rows])

    return _encoder(run.folder, table), vocabulary.texts, table, answer


def _of_export(version: Path) -> tuple[Encoder, list[str], np.ndarray, Answer]:
    loaded = tf.saved_model.load(str(version))
    about = description(version)
    (variable,) = loaded.signatures["words"].variables
    table = variable.numpy()
    words = (version / VOCABULARY).read_text(encoding="utf-8").split("\n")[:-1]

    def answer(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        made = loaded.signatures["sentences"](sentences=tf.constant(texts))
        return made["embedding"].numpy(), made["known"].numpy()

    encoder = _encoder(version, table, "length 1" if about.get("l2_normalise") else "")
    return encoder, words, table, answer
