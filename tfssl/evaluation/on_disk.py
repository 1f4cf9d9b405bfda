"""Rows of a large array on disk, of which a part at a time is in memory."""

from pathlib import Path
from typing import Any

import numpy as np

SCATTERED = 8
"""Of rows so many times less dense than the file each is read by itself."""


class RowsOnDisk:
    """Rows of a .npy file.

    A slice of them is read when it is asked for; an array of numbers or of truth values chooses rows and reads nothing.
    Who wants an array (`np.asarray`) gets a copy of all. Not a `np.memmap`: pages of it that were looked at count as
    memory of the process.
    """

    def __init__(self, path: Path, numbers: np.ndarray | None = None):
        """Take some rows of a file, all where `numbers`, int [N], is None."""
        mapped = np.load(path, mmap_mode="r")
        self._path, self._offset, self._columns = path, mapped.offset, mapped.shape[1]
        self.dtype = mapped.dtype
        self._numbers = np.arange(len(mapped)) if numbers is None else numbers

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self._numbers), self._columns

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self._numbers) * self._columns

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        wanted = self._numbers[place]
        if not isinstance(place, slice):
            return RowsOnDisk(self._path, wanted)
        if not len(wanted):
            return np.empty((0, self._columns), self.dtype)
        first = int(wanted.min())
        count = (int(wanted.max()) + 1 - first) * self._columns
        if count > SCATTERED * len(wanted) * self._columns:
            return np.concatenate([self._read(int(number), self._columns) for number in wanted])
        return self._read(first, count)[wanted - first]

    def _read(self, first: int, count: int) -> np.ndarray:
        """Return `count` numbers of the file from row `first` on, as rows."""
        offset = self._offset + first * self._columns * self.dtype.itemsize
        return np.fromfile(self._path, self.dtype, count, offset=offset).reshape(-1, self._columns)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


Features = np.ndarray | RowsOnDisk
"""float16 or float32 [N, D], in memory or on disk."""
