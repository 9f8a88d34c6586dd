#!/usr/bin/env python3
"""Make docs/methods-results.md from the published runs of the study `methods`; --check says whether it is up to date.

    python scripts/methods_tables.py [--results DIR] [--page FILE] [--check]

Reads every study.csv below docs/results that is of that study. One table a dataset: rows are recipes, columns are
bundles, cells the difference from FP32 with its interval, and what share of the loss of the baseline is closed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from readme_tables import MODELS

ROOT = Path(__file__).resolve().parent.parent
STUDY = "methods"
_HEAD = """\
# What each method does under W4A4

Made by `scripts/methods_tables.py` from the published runs of the study [`methods`](../sensitivity/methods.toml).
A cell is the paired difference in mean DSC from the FP32 row of the same network, with its 95 % interval, and behind
it how much of the loss of `adaptive` with the image at 4 bits is closed, with its interval. *n/a*: the network cannot
carry the row out; `study.csv` says why.
"""


def published(folder: Path) -> list[dict[str, str]]:
    """The rows of every published run of the study, in the order of the files' names."""
    rows = []
    for file in sorted(folder.glob("*/study.csv")):
        with open(file, newline="") as handle:
            rows += [row for row in csv.DictReader(handle) if row["study"] == STUDY]
    return rows


def table(rows: list[dict[str, str]]) -> list[str]:
    """The lines of one dataset's table."""
    bundles = [name for name in MODELS if any(row["bundle"] == name for row in rows)]
    bundles += sorted({row["bundle"] for row in rows} - set(bundles))
    by_place: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        if by_place.setdefault((row["row"], row["bundle"]), row) is not row:
            raise SystemExit(f"{row['bundle']} on {row['dataset']} is published twice")
    cases = " / ".join(dict.fromkeys(row["n_cases"] for row in rows if row["n_cases"]))
    lines = [f"{cases} cases.", "", _line(["Row", *(MODELS.get(name, name) for name in bundles)])]
    lines.append(_line(["---"] * (1 + len(bundles))))
    for name in dict.fromkeys(row["row"] for row in rows):
        lines.append(_line([name, *(_cell(by_place.get((name, bundle))) for bundle in bundles)]))
    return lines


def _cell(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    if not row["dsc"]:
        return "*n/a*"
    if not row["diff"]:
        return f"DSC {float(row['dsc']):.3f}"
    interval = f" [{float(row['ci_low']):+.4f}, {float(row['ci_high']):+.4f}]" if row["ci_low"] else ""
    closed = f"; {round(float(row['gap_closed_pct'])) + 0} %" if row["gap_closed_pct"] else ""
    spread = f" [{_whole(row['gap_ci_low'])}, {_whole(row['gap_ci_high'])}]" if row["gap_ci_low"] else ""
    return f"{round(float(row['diff']), 4) + 0.0:+.4f}{interval}{closed}{spread}"


def _whole(text: str) -> str:
    return str(round(float(text)))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(folder: Path) -> str:
    """The text of the page."""
    rows, parts = published(folder), [_HEAD]
    for dataset in sorted({row["dataset"] for row in rows}):
        note = " (generated images, not patients)" * ("phantom" in dataset)
        parts += [f"## {dataset}{note}\n", "\n".join(table([r for r in rows if r["dataset"] == dataset])) + "\n"]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "methods-results.md")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not published(args.results):
        print(f"no published run of the study {STUDY} in {args.results}", file=sys.stderr)
        return 2
    text = page(args.results)
    if args.check:
        return int(not args.page.is_file() or args.page.read_text() != text)
    args.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
