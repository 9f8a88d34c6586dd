"""Every bad input ends with exit code 2 and one sentence, and costs nothing of what was finished.

The tables stand in bad_input/; docs/errors.md shows them with their sentences (`python scripts/error_page.py`).
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest

from medquanbench.eval import __main__ as door
from tests.bad_input.bad import Bad, Place
from tests.bad_input.page import PAGE, TABLES, line, page, sentence_of
from tests.conftest import write_bundle, write_dataset

ROWS = [bad for rows in TABLES.values() for bad in rows]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """The good request, and its finished study."""
    place = Place(tmp_path_factory.mktemp("good"))
    write_bundle(place.bundle)
    write_dataset(place.data)
    assert door.main(place.argv) == 0
    return place.folder


@pytest.fixture
def place(template, tmp_path) -> Place:
    shutil.copytree(template, tmp_path / "place")
    return Place(tmp_path / "place")


def test_the_good_request_computes_nothing_twice(place):
    before = contents(place.out / "parts")
    assert len(before) > 8
    assert door.main(place.argv) == 0
    assert contents(place.out / "parts") == before


@pytest.mark.parametrize("bad", ROWS, ids=lambda bad: bad.what)
def test_bad_input_is_one_sentence_and_costs_nothing(bad: Bad, place, capsys):
    if not bad.possible():
        pytest.skip("not on this machine")
    argv = bad.argv(place)
    before = contents(place.out)
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert door.main(argv) == 2
    assert not [w for w in warned if issubclass(w.category, (UserWarning, RuntimeWarning))], "more than one sentence"
    sentence = sentence_of(capsys.readouterr().err, place)
    assert bad.words in sentence
    assert contents(place.out) == before
    assert not (place.folder / "run-by-the-payload").exists()
    assert line(bad, sentence) in PAGE.read_text().splitlines(), "the page is old: python scripts/error_page.py"


def test_the_page_has_the_rows_of_the_tables_and_no_others():
    def without_sentences(text: str) -> str:
        return re.sub(r"^(\| [^|]+ \|).*$", r"\1", text, flags=re.MULTILINE)

    expected = page({bad.what: bad.words for bad in ROWS})
    assert without_sentences(PAGE.read_text()) == without_sentences(expected), "python scripts/error_page.py"


def test_no_row_stands_twice():
    assert len({bad.what for bad in ROWS}) == len(ROWS)
