"""The commands in the bundles' pages are run as they stand, on a copy of the bundle with a small image."""

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.bundle import variants

BUNDLES = tuple(sorted(folder.parent.name for folder in shelf.shelf(shelf.BUNDLES).glob("*/configs")))
HERE = Path(__file__).parent
# Full-size networks on windows of 96^3 or 128^3 take minutes on a CPU.
TOO_LARGE = re.compile(r"run .*variants/(?!demo\.json)")


def commands(bundle: str) -> list[str]:
    page = (shelf.shelf(shelf.BUNDLES) / bundle / "docs/README.md").read_text()
    return re.findall(r"^python -m monai\.bundle (.+)$", page, re.MULTILINE)


# The commands with train.json are run in test_train.py.
CASES = [(bundle, command) for bundle in BUNDLES for command in commands(bundle) if "train.json" not in command]


@pytest.mark.parametrize("name, command", [case for case in CASES if not TOO_LARGE.match(case[1])])
def test_a_command_of_the_page(name, command, images, head_images, random_weights, tmp_path, monkeypatch):
    source = shelf.shelf(shelf.BUNDLES) / name
    copy = Path(shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("models")))
    weights_set, data = "demo-btcv-phantom", images
    if "demo-msd-hippocampus" in command:
        weights_set, data = "demo-msd-hippocampus", head_images
    (copy / "models").mkdir()
    shutil.copy(random_weights(source, weights_set), copy / "models")
    (copy / "eval").mkdir()
    shutil.copy(HERE / "meta_schema_20240725.json", copy / "eval/schema.json")
    data = data if "evaluate.json" in command else data / "imagesTr"
    words = [{"DIR": str(data), "OUT": str(tmp_path / "out")}.get(word, word) for word in shlex.split(command)]
    monkeypatch.chdir(copy)
    monkeypatch.setattr("sys.argv", ["monai.bundle", *words])
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=False)
    if words[0] == "run":
        assert (tmp_path / "out/case_seg.nii.gz").is_file()


@pytest.mark.parametrize("name, command", [case for case in CASES if TOO_LARGE.match(case[1])])
def test_the_command_for_full_size_weights_names_files_that_are_there(name, command):
    named = re.findall(r"configs/[\w/.-]+\.json", command)
    assert len(named) == 2 and all((shelf.shelf(shelf.BUNDLES) / name / file).is_file() for file in named)


def test_every_page_has_commands_for_all_that_a_bundle_can():
    for bundle in BUNDLES:
        words = " ".join(commands(bundle))
        assert all(
            word in words for word in ("verify_metadata", "verify_net_in_out", "run ", "evaluate.json", "train.json")
        )


@pytest.mark.parametrize("name", BUNDLES)
def test_every_page_tells_the_same_of_training(name):
    sections = [
        re.search(
            r"^## Training\n(.+?)^## ",
            (shelf.shelf(shelf.BUNDLES) / bundle / "docs/README.md").read_text(),
            re.S | re.M,
        )
        for bundle in (name, "unetr")
    ]
    assert sections[0] and sections[0][1] == sections[1][1]


@pytest.mark.parametrize("name", BUNDLES)
def test_the_page_names_every_variant_and_label(name):
    folder = shelf.shelf(shelf.BUNDLES) / name
    page = (folder / "docs/README.md").read_text()
    assert all(f"`{variant}`" in page for variant in variants(folder))
    rows = [row.strip("| \n").split(" | ") for row in re.findall(r"^\| (?:background|stomach).*", page, re.MULTILINE)]
    labels = json.loads((folder / "configs/inference.json").read_text())["labels"]
    assert [label for row in rows for label in row] == labels
