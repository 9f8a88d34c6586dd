"""docs/composition.md says what is so: counted anew it is the same; its command and its Python print what it shows."""

from __future__ import annotations

import csv
import doctest
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

from medquanbench import shelf
from medquanbench.bundle import variants
from medquanbench.composition import by_size
from medquanbench.composition_bundle import profile, variants_of
from medquanbench.profile.__main__ import main
from medquanbench.report.composition_tables import composition_csv

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "composition.md"
DEPENDS = "other", "total"  # rows that hold what torch's kernels copy on the way


def rows(text: str) -> list[tuple[str, ...]]:
    """The rows of a composition.csv; of what depends on torch's version without the activations."""
    found = (tuple(row.values()) for row in csv.DictReader(io.StringIO(text)))
    return [row[:-1] if row[4] in DEPENDS else row for row in found]


def test_counted_anew_every_variant_on_the_shelf_is_what_the_table_says():
    anew = by_size(profile(subject) for name in shelf.names(shelf.BUNDLES) for subject in variants_of(name))
    assert rows(composition_csv(anew)) == rows((ROOT / "docs" / "composition.csv").read_text())


def test_the_tables_of_the_page_are_those_of_the_csv():
    subprocess.run([sys.executable, ROOT / "scripts" / "composition_page.py", "--check"], check=True)
    names = [f"| {b} {v} |" for b in shelf.names(shelf.BUNDLES) for v in variants(shelf.shelf(shelf.BUNDLES) / b)]
    assert all(PAGE.read_text().count(name) == 2 for name in names)


def test_the_command_prints_what_stands_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"```bash\npython -m medquanbench.profile (.*?)\n```", PAGE.read_text())
    (told,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert main(shlex.split(command)) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if not line.startswith(DEPENDS)] == [
        line for line in told.splitlines() if not line.startswith(DEPENDS)
    ]


def test_the_examples_print_what_stands_there():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted >= 5 and not result.failed
