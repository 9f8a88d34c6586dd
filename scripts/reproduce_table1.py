#!/usr/bin/env python3
"""The paper's Table 1 on open data: six networks, seven configurations, two datasets; for maintainers.

    python scripts/reproduce_table1.py --hippocampus Task04_Hippocampus [NETWORK ...]

Each command finds its own finished run in runs/, so nothing is computed twice; what came out is copied to docs/results,
and docs/table1.md and docs/table1.csv set it beside the paper's figures. Without --hippocampus only these two are
written; --check says whether they are up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import republish
import table1

PAGE, TABLE = (table1.ROOT / "docs" / f"table1.{end}" for end in ("md", "csv"))
_BETWEEN = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MAKERS = {"missing": table1.missing_text, "answers": table1.answers_text, "table": table1.table_text}


def page(old: str) -> str:
    """The page with what follows from the numbers made anew."""
    shown = table1.sources()
    return _BETWEEN.sub(lambda match: match[1] + MAKERS[match[2]](shown) + match[3], old)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--hippocampus", type=Path, help="folder of the Decathlon's Task04: run the studies first")
    parser.add_argument("--check", action="store_true", help="whether page and table follow from docs/results")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="bundles to run (default: all six)")
    args = parser.parse_args()
    old, bundles = PAGE.read_text(), [family.bundle for family in table1.FAMILIES]
    if unknown := set(args.networks) - set(bundles):
        parser.error(f"no {', '.join(sorted(unknown))}; there is: {', '.join(bundles)}")
    if args.check:
        return int((page(old), table1.table_csv(table1.sources())) != (old, TABLE.read_text()))
    if args.hippocampus:
        known = republish.studies(args.hippocampus.resolve())
        for bundle in args.networks or bundles:
            for dataset in (table1.PHANTOM, table1.HIPPOCAMPUS):
                republish.publish(f"{bundle}-{dataset}", known[f"{bundle}-{dataset}"])
    PAGE.write_text(page(old))
    TABLE.write_text(table1.table_csv(table1.sources()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
