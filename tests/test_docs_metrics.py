"""docs/metrics.md says what is so: its examples print what stands there."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


def test_the_examples_print_what_stands_there():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 10 and not result.failed
