"""The commands of docs/scoring.md are run, and its tables name the columns that are there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.data.__main__ import main
from medquanbench.data.label_set import SHELF
from medquanbench.data.score_tables import CASES_COLUMNS, RESULTS_COLUMNS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "scoring.md"
DOOR = "python -m medquanbench.data "


@pytest.fixture
def done(micro_data, tmp_path, monkeypatch) -> Path:
    """The folder in which all commands of the page were run."""
    shutil.move(micro_data / "labels", tmp_path / "labels")
    shutil.move(micro_data / "micro.toml", tmp_path / "abdomen.toml")
    for name in ("my-predictions", "other-predictions"):
        shutil.copytree(tmp_path / "labels", tmp_path / name)
    labels = {"background": 0, "LOW": 1, "High": 2}
    (tmp_path / "other-predictions" / "dataset.json").write_text(json.dumps({"labels": labels}))
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL):
        text = block.replace("\\\n", " ").strip()
        assert text.startswith(DOOR)
        assert main([*shlex.split(text.removeprefix(DOOR)), "--jobs", "1"]) == 0
    return tmp_path


def test_the_page_is_run(done):
    listed = re.findall(r"^\| `([\w.]+)/?` \|", PAGE.read_text(), re.MULTILINE)
    for folder in ("scores", "other-scores"):
        assert {path.name for path in (done / folder).iterdir()} == set(listed)


def test_the_columns_are_those_of_the_files():
    text = PAGE.read_text()
    assert f"`{','.join(RESULTS_COLUMNS)}`" in text and f"`{','.join(CASES_COLUMNS)}`" in text


def test_the_page_names_every_label_set():
    text = PAGE.read_text()
    assert all(f"`{name}`" in text for name in shelf.names(SHELF, ".toml"))
