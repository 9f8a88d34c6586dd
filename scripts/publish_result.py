#!/usr/bin/env python3
"""Copy the result of a run to docs/results, without what belongs to the machine it ran on, for maintainers.

    python scripts/publish_result.py runs/nnunet-demo-msd-hippocampus-1234abcd docs/results/nnunet-msd-hippocampus
    python scripts/publish_result.py runs/methods-unetr-btcv-phantom-1234abcd docs/results/methods-unetr-btcv-phantom

Of a study card's folder the study's own tables are copied, and of each variant's folder what of any other run's.
tests/test_readme.py checks the tables of the README against these files: no number without the run that made it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

FILES = ("results.csv", "labels.csv", "cases.csv")
SOMETIMES = ("draws.csv", "layers.csv", "best.csv")
STUDY = ("study.csv", "study.md")


def publish(run: Path, target: Path) -> None:
    """Copy one run: its tables, and its record without the machine and what stands in cases.csv."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, *(name for name in SOMETIMES if (run / name).is_file())):
        (target / name).write_bytes((run / name).read_bytes())
    record = json.loads((run / "record.json").read_text())
    del record["host"]
    for result in record["results"]:
        del result["record"]["cases"]  # they are in cases.csv
    (target / "record.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def publish_study(run: Path, target: Path) -> None:
    """Copy a study: its tables, and each variant's run."""
    target.mkdir(parents=True, exist_ok=True)
    for name in STUDY:
        (target / name).write_bytes((run / name).read_bytes())
    for record in sorted(run.glob("*/record.json")):
        publish(record.parent, target / record.parent.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--output", type=Path, help="file with what the terminal showed")
    args = parser.parse_args()
    is_study = (args.run / STUDY[0]).is_file()
    (publish_study if is_study else publish)(args.run, args.target)
    if args.output:
        (args.target / "output.txt").write_text(args.output.read_text())


if __name__ == "__main__":
    main()
