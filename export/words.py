"""`export` of a run on text: signatures for words and sentences, and files that other programs read.

DIR/<version>/words.keras               int32 [N], places in the vocabulary -> float32 [N, D]
DIR/<version>/vocabulary.txt            the words, one a line, the commonest first
DIR/<version>/words.txt, words.bin      word2vec's text and binary formats, where asked for
DIR/<version>/tflite/numbers_*          with vocabulary.txt attached, as TFLite's metadata has it (a zip at the end)
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfssl.base.environment import versions
from tfssl.base.errors import UserError
from tfssl.export.versions import FORMAT
from tfssl.pipelines.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tfssl.runs.run import Run

VOCABULARY = "vocabulary.txt"
FORMATS = {"text": "words.txt", "binary": "words.bin"}
"""word2vec's formats, and the names of their files."""
EVALUATION = "words_evaluation.json"


def check_formats(given: str | Sequence[str]) -> tuple[str, ...]:
    """Parse 'text, binary' or a sequence as formats. Raise UserError for an unknown one."""
    names = [each.strip() for each in given.split(",")] if isinstance(given, str) else list(given)
    names = [name for name in names if name]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--word2vec {name} is given, expected some of {','.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


def check_options(run: "Run", options: Mapping[str, bool]) -> None:
    """Raise UserError where an option is given that a table of words has no use for."""
    given = [option for option, is_given in options.items() if is_given]
    if given:
        raise UserError(
            f"{given[0]} is given, and {run.folder} is a run on text, whose table is exported; leave it out"
        )


def table_of(run: "Run", l2_normalise: bool) -> np.ndarray:
    """Return the table of a run, float32 [V, D]; with `l2_normalise` its rows have length 1."""
    table = np.asarray(run.word_table().layer.get_weights()[0])
    if l2_normalise:
        table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    return np.asarray(table, np.float32)


def network_of(table: np.ndarray) -> keras.Model:
    """Return a table as a Keras model of stock layers: int32 [N] -> float32 [N, D]."""
    numbers = keras.Input((), dtype="int32", name="numbers")
    network = keras.Model(numbers, keras.layers.Embedding(*table.shape, name="table")(numbers), name="words")
    network.set_weights([table])
    return network


def describe(run: "Run", vocabulary: Vocabulary, l2_normalise: bool) -> dict[str, Any]:
    """Return what encoder.json says of the export."""
    count, dimensions = len(vocabulary), run.words["dimensions"]  # type: ignore[index]
    path = run.folder / EVALUATION
    held_out = json.loads(path.read_text()).get("held_out") if path.is_file() else None
    line = f"vectors of {count:,} words; "
    if held_out:
        line += f"loss on {held_out['data']} {held_out['loss']:.3f}, frequencies alone {held_out['unigram']:.3f}"
    else:
        line += "was not measured: tfssl evaluate-words RUN TEXT"
    return {
        "format": FORMAT,
        "trunk": "words",
        "layer": "words",
        "pool": 1,
        "measured": {"held_out": held_out} if held_out else {},
        "embedding": line,
        "size": count,
        "dimensions": dimensions,
        "tasks": run.settings.tasks,
        "sound": None,
        "words": {"count": count, "lower": vocabulary.lower, "split": vocabulary.split},
        "versions": versions(),
        "principal_components": None,
        "l2_normalise": l2_normalise,
    }


def texts_to_keep(vocabulary: Vocabulary, count: int) -> dict[str, list[bytes]]:
    """Return golden inputs: words from the commonest to the rarest, one in capitals, two that are none, sentences."""
    places = np.unique(np.linspace(0, len(vocabulary) - 1, count - 3).round().astype(int))
    words = [vocabulary.words[place] for place in places]
    words += [words[0].upper(), b"nobody has this word", b"\xff"]
    sentences = [b" ".join(words[start : start + 3]) for start in range(0, len(words) - 2)]
    return {"words": words, "sentences": [*sentences, b"", b"..."]}


def write_files(folder: Path, vocabulary: Vocabulary, table: np.ndarray, formats: Sequence[str]) -> tuple[str, ...]:
    """Write the vocabulary, and files of word2vec's formats; return the names of these."""
    (folder / VOCABULARY).write_bytes(lines_of(vocabulary))
    for name in formats:
        with open(folder / FORMATS[name], "wb") as file:
            file.write(b"%d %d\n" % table.shape)
            for word, row in zip(vocabulary.words, table, strict=True):
                if name == "binary":
                    file.write(word + b" " + row.astype("<f4").tobytes() + b"\n")
                else:
                    file.write(word + b" " + " ".join(map(repr, row.tolist())).encode() + b"\n")
    return tuple(FORMATS[name] for name in formats)


def lines_of(vocabulary: Vocabulary) -> bytes:
    """Return the words, one a line."""
    return b"".join(word + b"\n" for word in vocabulary.words)
