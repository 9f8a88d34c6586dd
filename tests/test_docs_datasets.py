"""docs/datasets.md says what is so: its commands run in their order, and print and exit as the page shows."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench.data.__main__ import COMMANDS, main
from medquanbench.data.findings import KINDS
from tests.bad_input.bad import save
from tests.test_docs import PAGE as OWN_DATA
from tests.test_docs import blocks, write_images

PAGE = Path(__file__).resolve().parent.parent / "docs" / "datasets.md"
DOOR = "python -m medquanbench.data "


@dataclass(frozen=True)
class Shown:
    """A command of the page, and what the page says that it prints; "" where it shows nothing."""

    command: str
    text: str


def shown() -> list[Shown]:
    found = re.findall(r"```bash\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE.read_text(), re.DOTALL)
    return [Shown(command.replace("\\\n", " ").strip(), text) for command, text in found]


def write_data(folder: Path) -> None:
    """The page's `my-data`, and `damaged-data` with the three damages that it names."""
    write_images(folder / "my-data")
    card = next(block for block in blocks(OWN_DATA) if block.file == "my-data/abdomen.toml")
    (folder / card.file).write_text(card.text)
    bad = Path(shutil.copytree(folder / "my-data", folder / "damaged-data"))
    label = bad / "labels" / "patient_01.nii.gz"
    there = nibabel.load(label)
    save(np.asarray(there.dataobj), label, np.diag([-1.0, 1, 1, 1]) @ there.affine)
    cut = bad / "labels" / "patient_02.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-9])
    shutil.copy(bad / "images" / "patient_01.nii.gz", bad / "images" / "patient_03.nii.gz")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    folder, patch = tmp_path_factory.mktemp("datasets"), pytest.MonkeyPatch()
    patch.chdir(folder)
    write_data(folder)
    yield folder
    patch.undo()


def test_every_command_prints_what_the_page_shows(place, capsys):
    commands = shown()
    assert len(commands) > 5 and sum(bool(one.text) for one in commands) > 4
    for one in commands:
        assert one.command.startswith(DOOR), one.command
        code = main(shlex.split(one.command.removeprefix(DOOR)))
        told = capsys.readouterr().out.replace(f"{place}/", "")
        assert code == (1 if "\nerror: " in told else 0), one.command
        for line in one.text.splitlines():
            assert line in told.splitlines() or line == "...", f"{one.command}\nprints no line\n{line}\nbut\n{told}"
        assert "..." in one.text.splitlines() or not one.text or one.text == told


def test_the_page_has_every_kind_of_finding_and_every_command():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| \w+ \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    assert rows == {kind: meaning for kind, (_, meaning) in KINDS.items()}
    severities = dict(re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    assert severities == {kind: str(severity) for kind, (severity, _) in KINDS.items()}
    assert all(f"data {name}" in PAGE.read_text() for name in COMMANDS)
