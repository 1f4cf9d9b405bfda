"""Tables as text."""

from collections.abc import Sequence


def aligned(rows: Sequence[tuple[str, ...]], texts: Sequence[int]) -> list[str]:
    """Return the lines of a table, the first row as its head.

    Args:
      rows: of cells, all of one length.
      texts: numbers of the columns that begin on the left; the others end on the right, as numbers do.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
