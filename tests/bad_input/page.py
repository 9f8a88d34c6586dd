"""The page that shows what is said of each bad input."""

from __future__ import annotations

from tests.bad_input.bad import ROOT, Bad, Place
from tests.bad_input.bundles import BUNDLES
from tests.bad_input.cards import CARDS
from tests.bad_input.folders import FOLDERS
from tests.bad_input.images import IMAGES
from tests.bad_input.nnunet import NNUNET
from tests.bad_input.requests import REQUESTS
from tests.bad_input.weights import WEIGHTS

PAGE = ROOT / "docs" / "errors.md"
TABLES: dict[str, list[Bad]] = REQUESTS | BUNDLES | WEIGHTS | NNUNET | CARDS | FOLDERS | IMAGES
_PROGRESS = ("note: ", "loading", "looking at the images of case", "run ")
FULL_DISK = "the disk of out is full (0 MB free): what was finished is kept; make room and give the same command again"
_HEAD = """\
# What is said of bad input

Each line is a test (tests/bad_input): a good request, spoiled in this way, ends with this sentence and exit code 2, and
what was finished before is untouched. Made by `python scripts/error_page.py`; folders are shortened.

All headers of a dataset are looked at first, then all voxels, and only then is anything computed: a bad fortieth case
is told at once, with all other bad files (the first three, and how many there are).

A failure of the machine (no memory, a broken disk, a network that overflows) ends with exit code 1. Finished cases are
kept there too, and the same command goes on from there.

A full disk is told so: "{full_disk}". Nothing half-written stays.
"""


def sentence_of(error: str, place: Place) -> str:
    """The one sentence on stderr, shortened; AssertionError where there is another number of them."""
    lines = [line for line in error.splitlines() if not line.startswith(_PROGRESS)]
    assert len(lines) == 1 and lines[0].startswith("error: "), error
    return place.shortened(lines[0].removeprefix("error: "))


def page(said: dict[str, str]) -> str:
    """The page, from the sentence of each row."""
    text = _HEAD.format(full_disk=FULL_DISK)
    for title, rows in TABLES.items():
        text += f"\n## {title}\n\n| Wrong | Said |\n|---|---|\n"
        text += "".join(f"{line(bad, said[bad.what])}\n" for bad in rows)
    return text


def line(bad: Bad, sentence: str) -> str:
    """The line of one bad input."""
    if bad.library:
        sentence = sentence[: sentence.index(bad.words) + len(bad.words)] + " ..."
    for sign in "|*<":
        sentence = sentence.replace(sign, f"\\{sign}")
    return f"| {bad.what} | {sentence} |"
