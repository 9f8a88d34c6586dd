"""Read a published table; for the scripts that make pages of them."""

from __future__ import annotations

import csv
from pathlib import Path


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, column -> text."""
    with open(file, newline="") as handle:
        return list(csv.DictReader(handle))
