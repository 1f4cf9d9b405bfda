"""Files of text as blocks of bytes that end where a word does: memory stays the same whatever the length of a line.

Bytes are read by Python, not in the graph: `tf.data.TextLineDataset` holds a line as a whole, and a corpus may be one
line of a gigabyte, as text8 is one of a hundred megabytes.
"""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from tfssl.base.errors import UserError

BLOCK = 1 << 20
LONGEST = 1 << 24
"""Bytes without white space that are held at once; of more, a word is cut."""
LINE_END = b"\n"
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def of_files(paths: Sequence[str], size: int = BLOCK) -> Iterator[bytes]:
    """Yield the text of files, one after the other, in blocks of about `size` bytes of UTF-8.

    A block ends behind a line, or within a long one behind white space; a file ends with the end of a line. Files that
    begin as gzip does are unpacked, whatever their names.

    Raises:
      UserError: a file that cannot be read, is damaged, or is not UTF-8: it says which line.
    """
    for path in paths:
        try:
            with _open(path) as file:
                yield from _of_file(file, path, size)
        except (OSError, EOFError, zlib.error) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise UserError(f"{path} cannot be read: {reason.lower()}; mend it, or leave it out") from problem


def of_texts(texts: Iterator[bytes], name: str, size: int = BLOCK) -> Iterator[bytes]:
    """Yield texts in blocks of about `size` bytes, each text on lines of its own. Raise UserError: see `of_files`."""
    held: list[bytes] = []
    bytes_held = 0
    for number, text in enumerate(texts):
        _check(text, f"text {number} of {name}")
        held.append(text)
        bytes_held += len(text)
        if bytes_held >= size:
            yield b"\n".join(held) + b"\n"
            held, bytes_held = [], 0
    if held:
        yield b"\n".join(held) + b"\n"


def _open(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _of_file(file: IO[bytes], path: str, size: int) -> Iterator[bytes]:
    line, rest, first, ended = 1, b"", True, True
    while True:
        more = file.read(size)
        data = rest + (more.removeprefix(BYTE_ORDER_MARK) if first else more)
        first = False
        cut = _cut(data) if more else len(data)
        block, rest = data[:cut], data[cut:]
        if block:
            _check(block, f"{path}, line", line)
            line += block.count(b"\n")
            ended = block.endswith(b"\n")
            yield block
        if not more:
            break
    if not ended:
        yield b"\n"


def _cut(data: bytes) -> int:
    """Return how much of a block can be handed on: up to the end of a line, or of a word; 0 where there is none."""
    if cut := data.rfind(b"\n") + 1:
        return cut
    if cut := max(data.rfind(b" "), data.rfind(b"\t")) + 1:
        return cut
    if len(data) < LONGEST:
        return 0
    cut = len(data)
    while data[cut - 1] & 0xC0 == 0x80:  # within a character
        cut -= 1
    return cut - 1


def _check(data: bytes, where: str, line: int | None = None) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        number = "" if line is None else f" {line + data.count(LINE_END, 0, problem.start):,}"
        wrong = data[problem.start : problem.start + 1].hex()
        raise UserError(
            f"{where}{number}: byte 0x{wrong} is not UTF-8; convert the text, as by iconv -f latin1 -t utf-8"
        ) from None


def stamp(paths: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return what tells files apart without reading them: real path, bytes, time of the last change."""
    found = [(os.path.realpath(path), os.stat(path)) for path in paths]
    return [(path, status.st_size, status.st_mtime_ns) for path, status in found]
