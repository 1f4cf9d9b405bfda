"""Files of embeddings: parts that outlive a kill, and the one file that they become, part by part."""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, check_format, text_of, write_json

ENDINGS = (".npz", ".parquet")
KEY = b"tfssl"  # of the record in a Parquet file's metadata
FORMAT = 1
"""Format of the record: 1 where it is not written. Raise it when older versions cannot read what is written."""


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Rows of a file of embeddings.

    Attributes:
      embedding: float32 [N, D].
      path: str [N].
      label: str or None [N]; None without any.
    """

    embedding: np.ndarray
    path: np.ndarray
    label: np.ndarray | None


def require_parquet() -> Any:
    """Import PyArrow. Raise UserError where it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as problem:
        raise UserError("Parquet needs PyArrow, which is not installed; pip install 'tfssl[search]'") from problem
    return pyarrow


def read_embeddings(file: str | Path) -> Embeddings:
    """Read all that is in a file that `embed` wrote. Raise UserError where it is none."""
    parts = list(iterate(Path(file)))
    label = None if parts[0].label is None else np.concatenate([part.label for part in parts])
    return Embeddings(
        np.concatenate([part.embedding for part in parts]), np.concatenate([part.path for part in parts]), label
    )


def read_record(path: Path) -> dict[str, Any]:
    """Read what a file of embeddings says of its encoder and its data. Raise UserError where it is none, or too new."""
    try:
        if path.suffix == ".npz":
            with np.load(path) as file:
                record = json.loads(str(file["record"]))
        else:
            record = json.loads(require_parquet().parquet.read_schema(path).metadata[KEY])
        check_format(path, record, FORMAT)
        return record
    except UserError:
        raise
    except Exception as problem:  # of many kinds, those of zip files and PyArrow's own among them
        why = "does not exist" if not path.exists() else "cannot be read as embeddings"
        raise UserError(f"{path} {why}; expected a file that `tfssl embed` wrote") from problem


def iterate(path: Path) -> Iterator[Embeddings]:
    """Yield the rows of a file, part by part: of Parquet never more than a group of rows in memory."""
    read_record(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            yield Embeddings(file["embedding"], file["path"], file.get("label"))
        return
    with require_parquet().parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            rows = table["embedding"].combine_chunks()
            embedding = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
            label = None
            if "label" in table.column_names:
                label = np.array(table["label"].to_pylist(), object)
            yield Embeddings(embedding, np.array(table["path"].to_pylist()), label)


class Parts:
    """Embeddings in parts of a fixed count of rows, in a folder beside the file that they become."""

    def __init__(self, file: Path, rows: int, count: int):
        self.folder = file.with_name(f"{file.name}.parts")
        self.rows, self.count = rows, count

    def claim(self, record: dict[str, Any]) -> None:
        """Make the folder, or find an interrupted call's. Raise UserError where that began with something else."""
        path = self.folder / "record.json"
        if not path.exists():
            write_json(path, record)
            return
        differ = difference(record, json.loads(path.read_text()))
        if differ:
            raise UserError(
                f"{self.folder} is left of an interrupted call with {differ}; resume that, give another --to,"
                " or remove the folder"
            )

    def starts(self) -> list[int]:
        """Return the numbers of the first rows of all parts."""
        return list(range(0, self.count, self.rows))

    def path(self, start: int) -> Path:
        """Return the path of the part that begins with a row."""
        return self.folder / f"{start:012}.npz"

    def missing(self) -> list[int]:
        """Return the first rows of the parts that are still to be made."""
        return [start for start in self.starts() if not self.path(start).exists()]

    def write(self, start: int, embedding: np.ndarray, valid: np.ndarray) -> None:
        """Write a part, whole or not at all: float32 [n, D], of which the rows count that are valid, bool [n].

        Of who has files of its own for each picture it may be rows of a table, str [k, F], of the valid ones alone.
        """
        with atomic_write(self.path(start)) as temporary:
            np.savez(temporary, embedding=embedding, valid=valid)

    def valid(self) -> np.ndarray:
        """Return bool [count]: which rows are no broken pictures."""
        marks = []
        for start in self.starts():
            with np.load(self.path(start)) as part:
                marks.append(part["valid"])
        return np.concatenate(marks)

    def read(self, paths: list[str], labels: list[str | None] | None) -> Iterator[Embeddings]:
        """Yield the valid rows with what they are called, part by part."""
        for start in self.starts():
            with np.load(self.path(start)) as part:
                embedding, valid = part["embedding"], part["valid"]
            chosen = start + np.flatnonzero(valid)
            label = None if labels is None else np.array([labels[number] for number in chosen], object)
            yield Embeddings(embedding[valid], np.array([paths[number] for number in chosen], object), label)


def difference(given: dict[str, Any], kept: dict[str, Any]) -> str | None:
    """Say what differs between the records of two files, in words for the user: "encoder A, now B is given"."""
    one, other = given["encoder"], kept["encoder"]
    if any(one[key] != other[key] for key in ("kind", "size", "dimensions", "fingerprint")):
        return f"the encoder {other['model']}, now another one, {one['model']}, is given"
    one, other = given["data"], kept["data"]
    if one["name"] != other["name"]:
        return f"the data {other['name']}, now {one['name']} is given"
    if one["fingerprint"] != other["fingerprint"]:
        return f"the data {other['name']} as it was before it changed"
    if given.get("batch_size", 0) != kept.get("batch_size", 0):
        return f"--batch-size {kept['batch_size']}, now {given['batch_size']} is given"
    return None


def write_parquet(path: Path, parts: Iterator[Embeddings], record: dict[str, Any], labelled: bool) -> None:
    """Write columns path (string, see `text_of`), embedding (list of D float32) and label (string, null if unknown)."""
    pyarrow = require_parquet()
    size = record["encoder"]["dimensions"]
    fields = [("path", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), size))]
    fields += [("label", pyarrow.string())] if labelled else []
    schema = pyarrow.schema(fields, metadata={KEY: json.dumps(record).encode()})
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.embedding.reshape(-1)), size)
            columns = [pyarrow.array([text_of(path) for path in part.path], pyarrow.string()), rows]
            columns += [pyarrow.array(part.label, pyarrow.string())] if part.label is not None else []
            writer.write_table(pyarrow.table(columns, schema=schema))


def write_npz(
    path: Path, parts: Iterator[Embeddings], record: dict[str, Any], names: list[str], labels: list[str] | None
) -> None:
    """Arrays embedding float32 [N, D], path str [N], label str [N] ("" unknown) and record (JSON), without pickles.

    Args:
      names, labels: of all rows; the rest comes part by part, so that no more than that is in memory.
    """
    shape = (len(names), record["encoder"]["dimensions"])
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with _entry(archive, "embedding") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(np.ascontiguousarray(part.embedding, "<f4").tobytes())
        rest = {"path": names, "record": json.dumps(record)} | ({} if labels is None else {"label": labels})
        for name, value in rest.items():
            with _entry(archive, name) as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)


def _entry(archive: zipfile.ZipFile, name: str) -> contextlib.AbstractContextManager[Any]:
    # With a date of its own: the same embeddings are the same file, byte by byte.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
