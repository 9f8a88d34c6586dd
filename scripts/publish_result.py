#!/usr/bin/env python3
"""Copy the result of a run to docs/results, without what belongs to the machine it ran on, for maintainers.

    python scripts/publish_result.py runs/nnunet-demo-msd-hippocampus-1234abcd docs/results/nnunet-msd-hippocampus

tests/test_readme.py checks the tables of the README against these files: no number without the run that made it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

FILES = ("results.csv", "labels.csv", "cases.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--output", type=Path, help="file with what the terminal showed")
    args = parser.parse_args()
    args.target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (args.target / name).write_bytes((args.run / name).read_bytes())
    if args.output:
        (args.target / "output.txt").write_text(args.output.read_text())
    record = json.loads((args.run / "record.json").read_text())
    del record["host"]
    for result in record["results"]:
        del result["record"]["cases"]  # they are in cases.csv
    (args.target / "record.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
