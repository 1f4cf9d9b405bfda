"""`predict`: what the pictures of a whole collection show, by a classifier or its export."""

import csv
import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfssl.apply.config import PredictSettings
from tfssl.apply.predict_dense import DensePredicted, open_network, predict_dense
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of, write_errors
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.embedding import files
from tfssl.embedding.embed import PART_BATCHES, broken_of, computing, make_parts
from tfssl.embedding.encoders import load_encoder
from tfssl.embedding.files import Parts
from tfssl.embedding.inputs import open_inputs
from tfssl.export.signatures.classifier import LIKELY
from tfssl.export.versions import description, newest_version
from tfssl.pipelines.sources.any_source import too_many_broken
from tfssl.runs.classifiers import is_classifier, load_classifier

GROUP = 1 << 16
"""Rows that are written to Parquet at once."""


class Prediction(NamedTuple):
    """What one picture shows.

    Attributes:
      path: its name.
      label: the most probable class; where it may have several, those that are at least as likely as not, with ;
        between them, "" for none.
      probability: of the most probable class, 0 .. 1.
      second: the runner-up; of several the most probable one that is not among the labels.
      second_probability: its probability.
    """

    path: str
    label: str
    probability: float
    second: str
    second_probability: float


@dataclasses.dataclass(frozen=True)
class Predicted(Result):
    """What `predict` wrote.

    Attributes:
      file: where it is.
      count: pictures in it.
      labels: label -> how many pictures have it, the commonest first.
      broken: what could not be read: name -> what is wrong.
    """

    file: Path
    count: int
    labels: dict[str, int]
    broken: dict[str, str]

    def __str__(self) -> str:
        shown = [f"{label or 'no label'} {count:,}" for label, count in list(self.labels.items())[:10]]
        more = f", and {len(self.labels) - 10} more" if len(self.labels) > 10 else ""
        lines = [f"{self.count:,} predictions in {self.file}: {', '.join(shown)}{more}"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines)


@on_its_own()
def predict(
    model: str | Path,
    data: Any,
    to: str | Path,
    *,
    unsure: bool = False,
    batch_size: int = 64,
    max_broken: float = 1.0,
    server: str | None = None,
    model_name: str | None = None,
    verbose: int = 1,
) -> Predicted | DensePredicted:
    """Say what every picture of a collection shows, in its order.

    Probabilities go to disk as they are made, to the folder FILE.parts; called again after an interruption it resumes,
    as `embed`. When all are there they become the file. A network of a dense target writes what it finds, and draws it:
    see `predict_dense`.

    Args:
      model: a folder that `finetune` wrote, or its export.
      data: anything that `open_source` takes; of a clip, the frame in its middle.
      to: FILE.csv or FILE.parquet with the fields of `Prediction`; of a dense target a folder.
      unsure: whether the least certain come first, to be looked at: those with the smallest probability, of several
        labels those with a class nearest to 1/2.
      batch_size: pictures at once.
      max_broken: largest part that may be unreadable; what is broken is listed and left out.
      server: address of a server that computes, and serves `model`, an export: as of `embed`.
      model_name: by which the server knows the model; that of the export's folder where None.
      verbose: 1 a progress bar with pictures a second and the time left, 0 nothing.

    Raises:
      UserError: no such classifier, export or data; too much that is broken; a file that exists or cannot be written; a
        server that is down or serves another model.
    """
    to = PredictSettings(**locals()).to
    if (dense := open_network(model)) is not None:
        options = {"--unsure": unsure, "--server": server is not None, "--model-name": model_name is not None}
        for option in (option for option, is_given in options.items() if is_given):
            raise UserError(f"{option} is given, and is for classifiers; {model} is a network for {dense.target}")
        return predict_dense(dense, data, to, batch_size, max_broken, verbose)
    classes, several = _classes(model)  # before `to`, whose kind depends on what this is
    if to.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"--to {to} is given, expected a file that ends in .csv or .parquet")
    if to.suffix.lower() == ".parquet":
        files.require_parquet()
    if to.exists():
        raise UserError(f"{to} exists; choose another --to, or remove it")
    encoder = load_encoder(model, None, "classes")
    inputs = open_inputs(data, False, max_broken)
    if inputs.source is None:
        raise UserError(f"{inputs.name} has sounds; expected pictures")
    record = {
        "format": files.FORMAT,
        "encoder": encoder.about(),
        "data": {"name": inputs.name, "fingerprint": inputs.fingerprint},
        "batch_size": batch_size,
    }
    parts = Parts(to, PART_BATCHES * batch_size, len(inputs.paths))
    with computing(encoder, model, server, model_name) as (encoder, about), write_errors(to):
        parts.claim(record | about)
        make_parts(encoder, inputs, parts, batch_size, verbose)
        valid = parts.valid()
        broken = broken_of(inputs, valid)
        if len(broken) > max_broken * inputs.listed or not valid.any():
            raise UserError(too_many_broken(inputs.name, broken, inputs.listed, max_broken))
        counts: dict[str, int] = {}
        rows = _count(_rows(parts, inputs.paths, classes, several), counts)
        with atomic_write(to) as temporary:
            write(temporary, sorted_by_doubt(rows, several) if unsure else (row for row, _ in rows))
        shutil.rmtree(parts.folder)
    labels = dict(sorted(counts.items(), key=lambda each: -each[1]))
    return Predicted(to, int(valid.sum()), labels, broken)


def _classes(model: Any) -> tuple[tuple[str, ...], bool]:
    """Return the names of the classes, and whether a picture may have several."""
    if is_classifier(model):
        classifier = load_classifier(model)
        return classifier.classes, classifier.several
    if (Path(model) / "run.json").exists():
        return (), False  # refused when it is loaded
    about = description(newest_version(model))
    if "classes" not in about:
        raise UserError(f"{model} is the export of an encoder, which knows no classes; export what finetune wrote")
    return tuple(about["classes"]), bool(about["several"])


def _rows(
    parts: Parts, paths: list[str], classes: Sequence[str], several: bool
) -> Iterator[tuple[Prediction, np.ndarray]]:
    for part in parts.read(paths, None):
        for path, shares in zip(part.path, part.embedding, strict=True):
            yield prediction_of(str(path), shares, classes, several), shares


def _count(
    rows: Iterable[tuple[Prediction, np.ndarray]], counts: dict[str, int]
) -> Iterator[tuple[Prediction, np.ndarray]]:
    for row, shares in rows:
        counts[row.label] = counts.get(row.label, 0) + 1
        yield row, shares


def prediction_of(path: str, shares: np.ndarray, classes: Sequence[str], several: bool) -> Prediction:
    """Say what a picture shows, of the probabilities of its classes, float [C]."""
    order = np.argsort(-shares, kind="stable").tolist()
    label, rest = classes[order[0]], order[1:]
    if several:
        label = ";".join(name for name, share in zip(classes, shares, strict=True) if share >= LIKELY)
        rest = [number for number in order if shares[number] < LIKELY]
    second, share = (classes[rest[0]], float(shares[rest[0]])) if rest else ("", 0.0)
    return Prediction(path, label, float(shares[order[0]]), second, share)


def sorted_by_doubt(rows: Iterable[tuple[Prediction, np.ndarray]], several: bool) -> list[Prediction]:
    """Return rows with the least certain first; they are held in memory, their probabilities are not."""

    def certainty(shares: np.ndarray) -> float:
        return float(np.abs(shares - LIKELY).min() if several else shares.max())

    measured = [(certainty(shares), row) for row, shares in rows]
    return [row for _, row in sorted(measured, key=lambda each: each[0])]


def write(path: Path, rows: Iterable[Prediction]) -> None:
    """Write rows as CSV or Parquet, by the ending."""
    if path.suffix.lower() == ".csv":
        # Names of files need not be UTF-8: their bytes are written.
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            table = csv.writer(file)
            table.writerow(Prediction._fields)
            table.writerows([*row[:2], f"{row[2]:.6f}", row[3], f"{row[4]:.6f}"] for row in rows)
        return
    pyarrow = files.require_parquet()
    text, number = pyarrow.string(), pyarrow.float32()
    schema = pyarrow.schema(list(zip(Prediction._fields, (text, text, number, text, number), strict=True)))
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        held: list[Prediction] = []

        def flush() -> None:
            columns = [
                pyarrow.array(column, field.type) for column, field in zip(zip(*held, strict=True), schema, strict=True)
            ]
            writer.write_table(pyarrow.table(columns, schema=schema))
            held.clear()

        for row in rows:
            held.append(row._replace(path=text_of(row.path)))
            if len(held) == GROUP:
                flush()
        if held:
            flush()
