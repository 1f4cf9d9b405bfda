"""`index`: embeddings in an index of FAISS, by cosine."""

import dataclasses
import functools
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import write_errors
from tfssl.base.result import Result
from tfssl.embedding import files
from tfssl.embedding.config import IndexSettings

"""Rows up to which all are compared: 100,000 of 512 numbers take 200 MB and some ten milliseconds a query."""
TRAINING_ROWS = 64  # of each cell, as many as FAISS asks for and more
VECTORS, PATHS, RECORD = "vectors.faiss", "names.npz", "index.json"
Parts = Callable[[], Iterable[files.Embeddings]]
"""Gives all rows anew, part by part."""
FORMAT = 1
"""Format of index.json: 1 where it is not written."""


@dataclasses.dataclass(frozen=True)
class Indexed(Result):
    """What `index` wrote.

    Attributes:
      folder: INDEX.
      count: embeddings in it.
      kind: "exact" or "cells".
    """

    folder: Path
    count: int
    kind: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.count} embeddings, {self.kind}"


def require_faiss() -> Any:
    """Import FAISS. Raise UserError where it is missing."""
    try:
        import faiss
    except ImportError as problem:
        raise UserError("an index needs FAISS, which is not installed; pip install 'tfssl[search]'") from problem
    return faiss


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale float32 [N, D] to rows of length 1; zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def index(embeddings: str | Path, out: str | Path, *, exact_up_to: int = 100_000) -> Indexed:
    """Make a FAISS index of a file of embeddings, or of the words of a run on text.

    Rows are scaled to length 1, so that inner products are cosines. Up to `exact_up_to` rows all are compared
    (IndexFlatIP); of more rows, 4 sqrt(N) cells are made by k-means and a search looks into a sixteenth of them
    (IndexIVFFlat): nearly always the same answers.

    Args:
      embeddings: a file that `embed` wrote; or a run of word2vec, its folder, or its export, whose words are indexed.
      out: folder of the index, new: vectors.faiss, names.npz, index.json. It appears whole or not at all.
      exact_up_to: rows.

    Raises:
      UserError: no such file, a folder that exists, FAISS is missing.
    """
    settings = IndexSettings(**locals())
    faiss = require_faiss()
    source, out = settings.embeddings, settings.out
    if source.is_dir():
        record, parts = _words(source)
    else:
        record, parts = files.read_record(source), functools.partial(files.iterate, source)
    if out.exists():
        raise UserError(f"{out} exists; choose a new folder for --out, or remove it")
    names: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    size = record["encoder"]["dimensions"]
    count = sum(len(part.path) for part in parts())
    exact = count <= exact_up_to
    vectors = faiss.IndexFlatIP(size) if exact else _cells(faiss, parts, count, size)
    for part in parts():
        vectors.add(unit(part.embedding))
        names.append(part.path.astype(str))
        if part.label is not None:
            labels.append(np.array([label or "" for label in part.label]))
    arrays = {"path": np.concatenate(names)} | ({"label": np.concatenate(labels)} if labels else {})
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=out.parent, prefix="."))
        try:
            # Written by Python, as FAISS's own writing does not say that a disk is full.
            (building / VECTORS).write_bytes(faiss.serialize_index(vectors).tobytes())
            np.savez(building / PATHS, **arrays)  # type: ignore[arg-type]
            kind = "exact" if exact else "cells"
            about = record | {"format": FORMAT, "count": count, "kind": kind}
            (building / RECORD).write_text(json.dumps(about, indent=2) + "\n")
            building.chmod(0o755)
            building.rename(out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return Indexed(out, count, kind)


def _words(folder: Path) -> tuple[dict[str, Any], Parts]:
    """Return the record and the rows of all words of a run on text, or of its export."""
    from tfssl.embedding import words  # TensorFlow, which files of embeddings do without

    if not words.is_words(folder):
        raise UserError(
            f"{folder} is neither a file that `tfssl embed` wrote, nor a run on text, nor its export; embed a"
            " collection by it, and give that file"
        )
    encoder, texts, table, _ = words.load_words(folder)
    record = {"encoder": encoder.about(), "data": {"name": "its vocabulary", "fingerprint": encoder.fingerprint}}
    return record, lambda: [files.Embeddings(table, np.array(texts), None)]


def _cells(faiss: Any, parts: Parts, count: int, size: int) -> Any:
    cells = max(1, round(4 * math.sqrt(count)))
    vectors = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, cells, faiss.METRIC_INNER_PRODUCT)
    vectors.nprobe = max(1, math.ceil(cells / 16))
    every = max(1, count // (TRAINING_ROWS * cells))
    rows = [unit(part.embedding[::every]) for part in parts()]
    vectors.cp.seed = 0
    vectors.train(np.concatenate(rows))
    return vectors
