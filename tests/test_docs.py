"""The pages of docs/ say what is so: their files are written and their commands run, in their order, as they stand."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medquanbench import open_dataset
from medquanbench.bundle import build_network
from medquanbench.eval import __main__ as door
from medquanbench.images import grid_of, read_labels, same_grid, write_nifti
from medquanbench.phantoms import PHANTOMS
from medquanbench.reference import read_reference
from tests.trained_nnunet import PLAIN, Recipe, write_model
from tests.zoo_like import SPLEEN_NETWORK, config_of, metadata_of, network_of, random_weights, write_zoo

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "your-own-model-and-data.md"
DOOR = "python -m medquanbench.eval "
LIVER, RIGHT_KIDNEY = 6, 2  # among the phantom's structures, which are the outputs of the demo networks


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the file it is: the last of its kind named in the paragraph above."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> list[Block]:
    found = []
    for match in re.finditer(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL):
        above = match.string[: match.start()].strip().split("\n\n")[-1]
        named = re.findall(rf"`([^`\s]+\.{match[1]})`", above)
        found.append(Block(match[1], match[2], named[-1] if named else ""))
    return found


def write_images(folder: Path) -> None:
    """Liver and right kidney of three phantoms, as the page's cards name them."""
    places = {1057: "images/patient_01", 1058: "images/patient_02", 1059: "scan 17/ct"}
    drawn = {1057: "labels/patient_01", 1058: "labels/patient_02", 1059: "scan 17/drawn by reader B"}
    for seed, image in places.items():
        phantom = PHANTOMS["btcv-phantom/1"](seed)
        box = (slice(10, 74), slice(10, 74), slice(4, 36))
        label = np.zeros_like(phantom.label[box])
        label[phantom.label[box] == LIVER], label[phantom.label[box] == RIGHT_KIDNEY] = 1, 2
        write_nifti(phantom.image[box], phantom.affine, folder / f"{image}.nii.gz")
        write_nifti(label, phantom.affine, folder / f"{drawn[seed]}.nii.gz")


def write_downloaded(folder: Path) -> None:
    """A bundle as the Model Zoo has them, with random weights."""
    config = config_of(SPLEEN_NETWORK | {"out_channels": 3})
    write_zoo(folder, config, metadata_of(["background", "liver", "right kidney"]))
    random_weights(network_of(config), folder / "models" / "model.pt")


def command(text: str) -> list[str]:
    text = text.replace("\\\n", " ").strip()
    assert text.startswith(DOOR) and "\n" not in text, f"this test runs the eval door alone: {text}"
    return shlex.split(text.removeprefix(DOOR))


def stamps(folder: Path) -> dict[Path, int]:
    files = [*folder.glob("parts/*/*.json"), *folder.glob("predictions/*/*")]
    return {file: file.stat().st_mtime_ns for file in files}


def rows(file: Path) -> dict[str, dict[str, str]]:
    with open(file, newline="") as handle:
        return {row["recipe"]: row for row in csv.DictReader(handle)}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Iterator[Path]:
    """The folder in which all that stands on the page was done."""
    folder, patch = tmp_path_factory.mktemp("page"), pytest.MonkeyPatch()
    patch.chdir(folder)
    write_images(folder / "my-data")
    demo = load_file(ROOT / "bundles" / "swinunetr" / "models" / "demo-btcv-phantom.safetensors")
    torch.save({"state_dict": demo, "epoch": 7}, "my_swin_unetr.pt")
    write_downloaded(folder / "downloads" / "abdomen_ct_segmentation")
    outputs = (("background", 0), ("liver", 1), ("right kidney", 2))
    write_model(
        folder / "nnUNet_results", Recipe(PLAIN, spacing_mm=(5, 3, 3), labels=outputs), dataset="Dataset501_Liver"
    )
    commands: dict[str, dict[Path, int]] = {}
    for block in blocks(PAGE):
        if block.language == "bash":
            before = commands.get(block.text)
            assert door.main(command(block.text)) == 0, block.text
            out = folder / command(block.text)[-1]
            commands[block.text] = stamps(out)
            assert before in (None, commands[block.text]), "a command that stands there again computed again"
            continue
        assert block.file, f"no name above this file:\n{block.text}"
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(block.text)
        if block.file.endswith("inference.json"):
            (folder / "my-bundle" / "models").mkdir()
            torch.manual_seed(0)
            torch.save(build_network(json.loads(block.text)).state_dict(), folder / "my-bundle" / "models" / "model.pt")
    yield folder
    patch.undo()


def test_the_page_is_run_and_one_of_its_commands_stands_there_twice(done):
    commands = [block.text for block in blocks(PAGE) if block.language == "bash"]
    assert len(commands) == 7 and len(set(commands)) == 6
    assert {path.name for path in (done / "runs").iterdir()} == {
        "first-look", "abdomen", "nnunet", "zoo", "follow-up", "follow-up-margin",
    }  # fmt: skip


def test_what_comes_out_is_what_the_page_lists(done):
    section = PAGE.read_text().partition("## 4")[2].partition("## 5")[0]
    listed = re.findall(r"^\| `(.*)` \|", section, re.MULTILINE)
    names = {name.strip("`/") for line in listed for name in line.split(", ")}
    assert {path.name for path in (done / "runs" / "abdomen").iterdir()} == names


def test_a_known_architecture_finds_the_organs_by_their_names(done):
    table = rows(done / "runs" / "abdomen" / "results.csv")
    assert list(table) == ["fp32", "w8a8 adaptive", "w4a4 adaptive"]
    assert float(table["fp32"]["dsc"]) > 0.7 and table["fp32"]["n_cases"] == "2"
    assert table["fp32"]["weights"] == "my_swin_unetr.pt" and table["fp32"]["variant"] == "demo"
    with open(done / "runs" / "abdomen" / "cases.csv", newline="") as handle:
        assert {row["name"] for row in csv.DictReader(handle)} == {"liver", "right kidney"}


@pytest.mark.parametrize("recipe", ["fp32", "w8a8_adaptive", "w4a4_adaptive"])
@pytest.mark.parametrize("case", ["patient_01", "patient_02"])
def test_predictions_lie_over_the_images_in_the_networks_numbers(done, recipe, case):
    saved = read_labels(done / "runs" / "abdomen" / "predictions" / recipe / f"{case}.nii.gz")
    drawn = read_labels(done / "my-data" / "labels" / f"{case}.nii.gz")
    image = done / "my-data" / "images" / f"{case}.nii.gz"
    assert same_grid(saved.grid, grid_of(image)) and np.array_equal(saved.grid.affine, nibabel.load(image).affine)
    for output, index in ((LIVER, 1), (RIGHT_KIDNEY, 2)):
        overlap = ((saved.labels == output) & (drawn.labels == index)).sum()
        assert 2 * overlap / ((saved.labels == output).sum() + (drawn.labels == index).sum()) > 0.5


def test_a_folder_of_ones_own_and_files_by_name(done):
    table = rows(done / "runs" / "follow-up" / "results.csv")
    assert table["fp32"]["bundle"] == "my-bundle" and table["fp32"]["dataset"] == "follow-up"
    with open(done / "runs" / "follow-up" / "cases.csv", newline="") as handle:
        assert {row["case"] for row in csv.DictReader(handle)} == {"patient_01_later"}
    record = json.loads((done / "runs" / "follow-up-margin" / "record.json").read_text())
    assert record["study"]["margins"] == {"dsc": 0.005}


def test_a_bundle_from_the_model_zoo_needs_nothing_of_ours(done):
    assert not (done / "downloads" / "abdomen_ct_segmentation" / "configs" / "variants").exists()
    row = rows(done / "runs" / "zoo" / "results.csv")["fp32"]
    assert (row["bundle"], row["variant"], row["weights"]) == ("abdomen_ct_segmentation", "model", "model.pt")


def test_a_results_folder_of_nnunet_says_all_itself(done):
    row = rows(done / "runs" / "nnunet" / "results.csv")["fp32"]
    assert (row["bundle"], row["variant"]) == ("nnunet", "3d_fullres")
    assert row["weights"] == "Dataset501_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


def test_a_card_with_several_layouts_finds_its_cases_in_each(done):
    """The first with a mask for each structure, the second with label maps that hold stored values."""
    card, labels = done / "my-data" / "thorax.toml", np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    for root, below in (("a", "export-2025/"), ("b", "")):
        for case in ("scan_021", "scan_022", "scan_030"):
            write_nifti(labels, np.eye(4), done / root / f"{below}chest/{case}/ct.nii.gz")
            for index, name in enumerate(("liver", "right kidney"), 1):
                mask = (labels == index).astype(np.uint8)
                write_nifti(mask, np.eye(4), done / root / f"{below}chest/{case}/masks/{name}.nii.gz")
    for case, part in (("scan_021", "new"), ("scan_022", "old"), ("scan_030", "old")):
        write_nifti(labels, np.eye(4), done / "c" / part / "images" / f"{case}.nii.gz")
        stored = np.array([255, 5, 2], np.uint8)[labels]
        write_nifti(stored, np.eye(4), done / "c" / part / "labels" / f"{case}.nii.gz")
    for root, layout in (("a", "from the archive"), ("b", "from the archive"), ("c", "as one label map")):
        dataset = open_dataset(card, root=done / root)
        cases = dataset.cases("test")
        assert dataset.layout == layout and [case.name for case in cases] == ["scan_021", "scan_022", "scan_030"]
        assert all(np.array_equal(read_reference(case, dataset).labels, labels) for case in cases)
    assert len(dataset.names("train")) == 20 and dataset.names("paper-test") == ("scan_021",)
    assert dataset.patient_of("scan_021") == dataset.patient_of("scan_030") == "anna"


def test_links_of_the_pages_lead_somewhere():
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            file, _, heading = target.partition("#")
            file = file or page.name  # a heading of the page itself
            assert file.startswith("http") or (page.parent / file).exists(), target
            headings = re.findall(r"^#+ (.*)$", (page.parent / file).read_text(), re.MULTILINE) if heading else []
            assert not heading or heading in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]


def test_messages_that_the_page_quotes_are_those_of_the_package():
    source = "".join(file.read_text() for file in (ROOT / "medquanbench").rglob("*.py"))
    said = re.sub(r'"\s*f?"|\{[^}]*\}', "", re.sub(r'"\n\s+f?"', "", source))
    table = PAGE.read_text().partition("| The message says |")[2].partition("## 6")[0]
    quoted = [text for line in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for text in line.split("`, `")]
    assert len(quoted) >= 6
    for text in quoted:
        for words in text.strip("`").split("..."):
            assert words.strip(" ;,") in said, f"'{words}' is said nowhere"
