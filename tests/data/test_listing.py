"""list and info say what the cards say, of every card on the shelf, and load nothing heavy for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.data.__main__ import COMMANDS, main
from medquanbench.dataset import open_card

ROOT = Path(__file__).resolve().parent.parent.parent
CARDS = shelf.names(shelf.DATASETS, ".toml")


def told(capsys, *argv: str) -> str:
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_list_has_a_row_for_every_card(capsys):
    rows = told(capsys, "list").split("\n\n")[0].splitlines()
    assert rows[0].split()[0] == "name" and [row.split()[0] for row in rows[1:]] == list(CARDS)
    for row, card in zip(rows[1:], map(open_card, CARDS)):
        assert f" {card.modality} " in row and f" {len(card.labels)} " in row and row.endswith(card.title)
        assert ("phantom, made here" in row) is (card.phantom is not None)
        assert ("real, fetch" in row) is bool(card.access.downloads)
        own = {name: len(names) for name, names in card.split if "-" not in name}
        assert ", ".join(f"{name} {n}" for name, n in own.items()) in row


@pytest.mark.parametrize("name", CARDS)
def test_info_tells_all_of_a_card(name, capsys):
    card, text = open_card(name), told(capsys, "info", name)
    for said in (card.title, card.licence, card.source, card.citation, card.description, card.tolerance_source):
        assert flat(said) in flat(text)
    for split, names in card.split:
        assert re.search(rf"^  {split} +{len(names)} +{names[0]}", text, re.MULTILINE)
    for label in card.labels:
        stored = "" if all(x.stored == x.index for x in card.labels) else rf"file {label.stored} +"
        line = rf"^  {label.index} +{stored}{re.escape(label.name)} +{label.tolerance_mm:g} mm( +(?P<why>.*))?$"
        found = re.search(line, text, re.MULTILINE)
        assert found and (found["why"] or "") == label.tolerance_source
    for layout in () if card.phantom else card.layouts:
        assert layout.name in text and all(place.image in text and place.label in text for place in layout.places)
    for download in card.access.downloads:
        assert download.file in text and (download.url or download.zenodo) in text


def test_patients_with_several_scans_are_counted(capsys):
    assert "10 cases are of 5 patients with several scans" in told(capsys, "info", "wholebrain")
    assert "several scans" not in told(capsys, "info", "amos")


def test_a_card_is_known_by_its_path_too(micro_data, capsys):
    assert "1  low   1 mm" in told(capsys, "info", str(micro_data / "micro.toml"))


@pytest.mark.parametrize(
    "argv, words",
    [
        (["info", "bctv"], "no dataset 'bctv' in"),
        (["info"], "the following arguments are required: NAME|PATH"),
        (["list", "btcv"], "no flag 'btcv'"),
        (["lits"], "no command 'lits' in medquanbench.data; there is: fetch, info, list"),
    ],
)
def test_a_wrong_request_is_one_sentence(argv, words, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_the_help_names_every_command(capsys):
    text = told(capsys, "--help")
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("argv", [["--help"], ["list"], ["info", "totalsegmentator"], ["verify", "--help"]])
def test_neither_torch_nor_nibabel_is_loaded_to_look_at_cards(argv):
    heavy = {"torch", "monai"} if argv[0] == "verify" else {"torch", "monai", "nibabel"}
    code = "import sys\nfrom medquanbench.data.__main__ import main\ntry: main(sys.argv[1:])\n"
    code += f"except SystemExit: pass\nassert not {heavy} & set(sys.modules), sorted({heavy} & set(sys.modules))"
    subprocess.run([sys.executable, "-c", code, *argv], check=True, capture_output=True, cwd=ROOT)
