"""From text to words, in the graph: the same for a corpus, for an evaluation and for what is served."""

import tensorflow as tf

from tfssl.base.errors import UserError

SPLITS = ("words", "spaces")
"""What ends a word. "words": all but letters, digits and marks of any script, hyphens, apostrophes and underscores
within a word being part of it. "spaces": white space alone, for text that was split before."""
INSIDE = "'\u2019_-"


def check_split(split: str) -> str:
    """Return a name of `SPLITS`. Raise UserError where it is none."""
    if split not in SPLITS:
        raise UserError(f"split={split!r} is given, expected one of: {', '.join(SPLITS)}")
    return split


def split_words(texts: tf.Tensor, split: str) -> tf.RaggedTensor:
    """Split texts, string [N] of UTF-8, into words: string [N, (words)]. Case stays as it is.

    Scripts that put no space between words (Chinese, Japanese, Thai) are split at their punctuation only.
    """
    if split == "words":
        texts = tf.strings.regex_replace(texts, rf"[^\p{{L}}\p{{M}}\p{{N}}{INSIDE}]+", " ")
        texts = tf.strings.regex_replace(texts, rf"(^| )[{INSIDE}]+", " ")
        texts = tf.strings.regex_replace(texts, rf"[{INSIDE}]+( |$)", " ")
    return tf.strings.split(texts)


def lower(words: tf.Tensor) -> tf.Tensor:
    """Return words, string of any shape, in lower case, in any script that has it."""
    return tf.strings.lower(words, encoding="utf-8")
