"""``medquanbench DOOR ...``: the same doors as ``python -m medquanbench.DOOR`` (floor 5)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

DOORS = {
    "eval": "evaluate a bundle on a dataset, in float and quantized",
    "sensitivity": "carry out a study card: many runs that answer one question",
    "profile": "what a network is made of: parameters, multiply-adds, activations",
    "data": "look at datasets: list, info, verify, fetch, prepare; score predictions",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a door. Returns its exit code; 2 where there is no such door."""
    argv = list(sys.argv[1:] if argv is None else argv)
    usage = "usage: medquanbench DOOR ...\n\n" + "\n".join(f"  {name:12} {text}" for name, text in DOORS.items())
    if argv[:1] in (["-h"], ["--help"]):
        print(usage)
        return 0
    if not argv or argv[0] not in DOORS:
        asked = f"no door '{argv[0]}'; " if argv else ""
        print(f"error: {asked}there is: {', '.join(DOORS)}\n{usage}", file=sys.stderr)
        return 2
    door: Callable[[Sequence[str]], int] = import_module(f"medquanbench.{argv[0]}.__main__").main
    return door(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
