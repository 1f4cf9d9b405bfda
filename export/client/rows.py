"""What a client is given to embed: rows of one kind, divided into requests that a server takes."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.export.client.answers import list_names
from tfssl.export.signatures.bounds import MAX_BYTES

Row = str | Path | bytes | np.ndarray

MESSAGE_BYTES = 2**22 - 2**16
"""Bytes of the rows in a request of several rows: what a gRPC server takes by default, less its envelope."""

CLASSIFY = {"serving_default": "classify", "pixels": "classify_pixels"}
"""The signature that says what a row shows, by the one that embeds it."""

INVALID = {
    "serving_default": "is no picture, or too large a one",
    "classify": "is no picture, or too large a one",
    "waveform": "is not finite, or far too loud",
}
"""What is wrong with a row that a signature calls not valid."""


def read_rows(rows: Row | Iterable[Row]) -> tuple[str, list[Row]]:
    """Return the signature for some rows of one kind, and the rows one by one.

    Raise UserError where they are of none.
    """
    if isinstance(rows, (str, Path, bytes)):
        rows = [rows]
    kinds: set[str | None] = set()
    if isinstance(rows, np.ndarray):
        if rows.ndim == (3 if rows.dtype == np.uint8 else 1):
            rows = rows[None]
        if not len(rows):
            kinds = {"pixels" if rows.dtype == np.uint8 else "waveform"}
    given = list(rows)
    kinds |= {_signature(row) for row in given}
    if len(kinds) <= 1 and None not in kinds:
        (signature,) = kinds or {"serving_default"}
        if signature == "waveform":
            given = [row.astype(np.float32, copy=False) for row in given]  # type: ignore[union-attr]
        return str(signature), given
    kind_names = {
        f"{row.dtype} {format_shape(row.shape)}" if isinstance(row, np.ndarray) else type(row).__name__ for row in given
    }
    raise UserError(
        f"rows of {list_names(sorted(kind_names))} are given, expected all paths or bytes of pictures, all uint8 pixels"
        " [S, S, 3], or all floating-point waveforms [samples]"
    )


def _signature(row: Any) -> str | None:
    if isinstance(row, (str, Path, bytes)):
        return "serving_default"
    if isinstance(row, np.ndarray) and row.dtype == np.uint8:
        return "pixels"
    if isinstance(row, np.ndarray) and np.issubdtype(row.dtype, np.floating) and row.ndim == 1:
        return "waveform"
    return None


def divide(rows: list[Row], most: int) -> tuple[list[list[int]], dict[int, str]]:
    """Divide rows among requests of at most `most`: their numbers, and what is wrong with rows that no model takes."""
    requests: list[list[int]] = []
    wrong: dict[int, str] = {}
    room = 0
    for number, row in enumerate(rows):
        size = _bytes(row)
        if size > MAX_BYTES and not isinstance(row, np.ndarray):
            wrong[number] = f"has {size:,} bytes, and a picture may have {MAX_BYTES:,}"
            continue
        if not requests or len(requests[-1]) == most or size > room:
            requests.append([])
            room = MESSAGE_BYTES
        requests[-1].append(number)
        room -= size
    return requests, wrong


def _bytes(row: Row) -> int:
    if isinstance(row, (str, Path)):
        try:
            return os.stat(row).st_size
        except OSError:  # told when it is read
            return 0
    return row.nbytes if isinstance(row, np.ndarray) else len(row)


def describe_wrong(rows: list[Row], wrong: dict[int, str], what: str = "embedding") -> str:
    """Say in one line which rows have no embedding, or no other answer, the first five by name."""
    names = {number: row if isinstance(row, (str, Path)) else f"row {number}" for number, row in enumerate(rows)}
    first = "; ".join(f"{names[number]} {problem}" for number, problem in list(wrong.items())[:5])
    more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return f"{len(wrong)} of {len(rows)} rows have no {what}: {first}{more}; leave them out, or give invalid='nan'"


def format_shape(shape: Iterable[int | None]) -> str:
    """Format (4, None) as '4 x ?'."""
    return " x ".join("?" if size is None else str(size) for size in shape)
