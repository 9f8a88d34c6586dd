"""The profile door: what it prints and writes, and what it says of a wrong request."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medquanbench.__main__ import main as doors
from medquanbench.composition_bundle import profile, variants_of
from medquanbench.profile.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
FILES = {"composition.csv", "composition.json", "composition.svg", "composition.png", "composition.html"}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_variants_of_a_bundle_as_a_table_and_as_files(here, capsys):
    assert main(["--bundle", "unetr", "--composition"]) == 0
    folder = here / "runs" / "composition-unetr"
    assert {file.name for file in folder.iterdir()} == FILES
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].startswith(f"report: {Path('runs/composition-unetr/composition.html')}")
    assert max(map(len, shown.splitlines())) <= 100
    profiles = [profile(subject) for subject in variants_of("unetr")]
    with open(folder / "composition.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for found in profiles:
        own = [row for row in rows if row["variant"] == found.variant]
        for column in ("layers", "parameters", "multiply_adds", "activations"):
            assert sum(int(row[column]) for row in own) == getattr(found.composition.total, column)
    networks = json.loads((folder / "composition.json").read_text())["networks"]
    assert [network["variant"] for network in networks] == ["demo", "base"]  # the smaller first
    assert sum(layer["multiply_adds"] for layer in networks[0]["layers"]) == networks[0]["total"]["multiply_adds"]


def test_the_same_request_writes_the_same_bytes(here):
    request = ["--bundle", "nnunet", "--variant", "demo", "--window", "32", "32", "32", "--composition"]
    assert main([*request, "--out", "a"]) == doors(["profile", *request, "--out", "b"]) == 0
    assert {file.name for file in (here / "a").iterdir()} == FILES
    assert all((here / "a" / name).read_bytes() == (here / "b" / name).read_bytes() for name in FILES)


def test_a_weights_set_chooses_its_own_network(here, capsys):
    assert main(["--bundle", "unetr", "--weights", "demo-msd-hippocampus", "--composition"]) == 0
    assert "unetr demo: window 48x64x48" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--bundle", "unetr"], "profile does not know what to do; there is: --composition"),
        (["--composition"], "required: --bundle"),
        (["--bundle", "transunet", "--composition"], "no bundle 'transunet'"),
        (["--bundle", "unetr", "--variant", "huge", "--composition"], "no variant 'huge' in the bundle unetr"),
        (["--bundle", "all", "--variant", "demo", "--composition"], "--variant demo belongs to one bundle"),
        (["--bundle", "all", "--weights", "x.pt", "--composition"], "--weights x.pt belongs to one bundle"),
        (["--bundle", "unetr", "--window", "96", "96", "--composition"], "--window"),
        (["--bundle", "unetr", "--window", "96", "96", "0", "--composition"], "three numbers above 0"),
        (["--bundle", "unetr", "--window", "96", "96", "high", "--composition"], "'high' is no whole number"),
        (["--bundle", "unetr", "--window", "50", "50", "50", "--composition"], "does not take a window of 50x50x50"),
        (["--bundle", "unetr", "--weights", "nothing", "--composition"], "no weights 'nothing'"),
        (["--bundle", "unetr", "--engine", "ort"], "no flag '--engine' in profile"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(here, capsys, argv, words):
    assert main(argv) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and words in said[0]
    assert not list(here.iterdir())


def test_help_needs_no_torch():
    code = "import sys; sys.argv = ['profile', '--help']\ntry:\n  main()\nexcept SystemExit: pass\n"
    code = f"from medquanbench.profile.__main__ import main\n{code}assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"import sys\n{code}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_the_largest_network_takes_no_memory():
    """STU-Net-H has 5.8 GB of parameters; the process may have the 4 GiB of addresses that torch itself wants."""
    code = (
        "import resource, torch, monai.networks.nets, monai.bundle; from medquanbench.profile.__main__ import main\n"
        "import medquanbench.composition_bundle\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))\n"
        "from medquanbench.composition_bundle import profile, variant_of\n"
        "made = profile(variant_of('stunet', 'totalsegmentator-huge')).composition\n"
        "assert made.total.parameters > 1.4e9"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_a_bundle_given_by_its_path_is_run_and_that_is_said(here, micro_bundle, capsys):
    assert main(["--bundle", str(micro_bundle), "--composition", "--out", "a"]) == 0
    assert capsys.readouterr().err.startswith(f"note: {micro_bundle} is not on the shelf: $ expressions in its config")
