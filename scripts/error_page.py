#!/usr/bin/env python3
"""Make docs/errors.md anew: every bad input of tests/bad_input, and what is said of it."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medquanbench.eval import __main__ as door  # noqa: E402
from tests.bad_input.bad import Bad, Place  # noqa: E402
from tests.bad_input.page import PAGE, TABLES, page, sentence_of  # noqa: E402
from tests.conftest import write_bundle, write_dataset  # noqa: E402


def said(bad: Bad, good: Place, folder: Path) -> str:
    """The sentence about one bad input, tried on a copy of the good request."""
    place = Place(folder / "place")
    shutil.copytree(good.folder, place.folder)
    argv, told = bad.argv(place), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = door.main(argv)
    shutil.rmtree(place.folder)
    if code != 2:
        raise SystemExit(f"{bad.what}: exit code {code}")
    return sentence_of(told.getvalue(), place)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        good = Place(Path(name) / "good")
        write_bundle(good.bundle)
        write_dataset(good.data)
        with contextlib.redirect_stdout(io.StringIO()):
            door.main(good.argv)
        PAGE.write_text(page({bad.what: said(bad, good, Path(name)) for rows in TABLES.values() for bad in rows}))


if __name__ == "__main__":
    main()
