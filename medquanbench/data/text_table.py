"""Rows as text, their columns below each other (floor 5)."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """A line a row; all rows have as many cells as the first."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell!s:{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
