"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, without a line end after its last row; a `|` in a cell is escaped.

    Args:
      header: Titles of the columns.
      rows: The cells of each row, as many as the header has.

    Raises:
      ValueError: if a row has more or fewer cells than the header.
    """
    lines = [_line(header), "| --- " * len(header) + "|"]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells in {row}, but {len(header)} columns")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    escaped = (re.sub(r"(?<!\\)\|", r"\|", cell) for cell in cells)
    return f"| {' | '.join(escaped)} |"
