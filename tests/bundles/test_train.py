"""`python -m monai.bundle run` with train.json: the command of each page, on two small images, for one epoch."""

import re
import runpy
import shlex
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, run

from medquanbench import open_bundle, shelf, weights
from medquanbench.bundle import build_network, merged_config

SHELF = shelf.shelf(shelf.BUNDLES)
COMMAND = re.compile(r"^python -m monai\.bundle (run .*train\.json.*)$", re.MULTILINE)
ONE_EPOCH = {"epochs": 1, "val_interval": 1}


@pytest.fixture
def pair(images) -> Path:
    """Two cases: one to train on, one to validate on."""
    for kind in ("imagesTr", "labelsTr"):
        shutil.copy(images / kind / "case.nii.gz", images / kind / "other.nii.gz")
    return images


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / bundle.name, ignore=shutil.ignore_patterns("models")))


def overlays(folder: Path, *names: str) -> list[str]:
    return [str(folder / "configs" / name) for name in ("inference.json", "train.json", *names)]


def train(data: Path, models: Path, *names: str, **override: object) -> dict[str, torch.Tensor]:
    """Train nnU-Net's demo for one epoch with MONAI's own command; the last network's tensors."""
    folder = SHELF / "nnunet"
    paths = {"bundle_root": str(folder), "dataset_dir": str(data), "ckpt_dir": str(models)}
    run(config_file=overlays(folder, *names), **paths, **ONE_EPOCH, **override)
    return weights.read(models / "model_final.pt")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_train_json_is_the_same_file_in_every_bundle(bundle):
    assert (bundle / "configs/train.json").read_bytes() == (SHELF / "unetr/configs/train.json").read_bytes()


def test_the_command_of_the_page_writes_weights_that_fit(copy, pair, monkeypatch):
    (command,) = COMMAND.findall((copy / "docs/README.md").read_text())
    words = [str(pair) if word == "DIR" else word for word in shlex.split(command)]
    monkeypatch.chdir(copy)
    monkeypatch.setattr("sys.argv", ["monai.bundle", *words, "--epochs", "1", "--val_interval", "1"])
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=False)
    files = [copy / "models" / name for name in ("model.pt", "model_final.pt")]
    bundle = open_bundle(copy, variant=None, weights=files[0])
    assert bundle.variant == "demo" and len(bundle.labels) == 14
    assert equal(bundle.network().state_dict(), weights.read(files[1]))  # the only epoch is the best one


def test_it_is_a_training_workflow_of_monai_and_learns_from_all_but_the_last_fifth(pair):
    for kind in ("imagesTr", "labelsTr"):
        for number in range(9):
            shutil.copy(pair / kind / "case.nii.gz", pair / kind / f"z{number}.nii.gz")
    files = overlays(SHELF / "nnunet")
    workflow = ConfigWorkflow(config_file=files, workflow_type="train", dataset_dir=str(pair), cache_rate=0.0)
    workflow.initialize()
    assert not workflow.check_properties()
    names = [
        [Path(case["image"]).name[:-7] for case in data]
        for data in (workflow.train_dataset_data, workflow.val_dataset_data)
    ]
    assert names == [["case", "other", *(f"z{number}" for number in range(7))], ["z7", "z8"]]
    assert all(case["label"] == case["image"].replace("imagesTr", "labelsTr") for case in workflow.train_dataset_data)


def test_labels_lie_where_their_voxels_do_after_all_that_is_random(pair):
    box = np.zeros((40, 36, 30), dtype=bool)
    box[8:30, 6:26, 5:22] = True  # unlike its mirror images
    for kind, values in (("imagesTr", np.where(box, 250, -175)), ("labelsTr", box)):
        for file in (pair / kind).iterdir():
            nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), nibabel.load(file).affine), file)
    files, options = overlays(SHELF / "unetr"), {"flip_probability": 0.5, "windows_per_image": 12}
    workflow = ConfigWorkflow(config_file=files, workflow_type="train", dataset_dir=str(pair), **options)
    workflow.initialize()
    for window in workflow.train_dataset[0]:
        assert window["image"].shape == window["label"].shape == (1, 64, 64, 32)
        inside, labelled = window["image"] > 0.5, window["label"] == 1
        overlap = 2 * float((inside & labelled).sum()) / float(inside.sum() + labelled.sum())
        assert labelled.sum() > 1000 and overlap > 0.9  # their edges are rounded differently


def test_without_a_rate_nothing_changes_with_one_it_does_and_a_seed_repeats_it(pair, tmp_path):
    torch.manual_seed(5)
    begun = build_network(merged_config(SHELF / "nnunet", "demo", None)).state_dict()
    assert equal(train(pair, tmp_path / "still", learning_rate=0.0, seed=5), begun)
    one, again = (train(pair, tmp_path / name, seed=5) for name in ("one", "again"))
    unmoved = {key for key, value in one.items() if torch.equal(value, begun[key])}
    heads = {f"decoder.seg_layers.{stage}.{name}" for stage in (0, 1) for name in ("weight", "bias")}
    assert unmoved == heads and equal(one, again)  # those of deep supervision, which is off


def test_it_starts_from_weights_where_asked(pair, random_weights, tmp_path):
    file = random_weights(SHELF / "nnunet", "demo-btcv-phantom")
    given = {key: value.float() for key, value in weights.read(file).items()}
    asked = {"weights_file": str(file), "start_from_weights": True}
    last = train(pair, tmp_path / "models", learning_rate=0.0, seed=5, **asked)
    assert all(torch.equal(last[key], value) for key, value in given.items())


def test_weights_that_are_not_asked_for_are_not_read(pair, tmp_path):
    train(pair, tmp_path / "models", weights_file=str(tmp_path / "there is none.pt"))


def test_a_weights_set_brings_its_labels_and_they_count_where_its_weights_are_opened(head_images, tmp_path):
    for kind in ("imagesTr", "labelsTr"):
        shutil.copy(head_images / kind / "case.nii.gz", head_images / kind / "other.nii.gz")
    for file in (head_images / "labelsTr").iterdir():
        image = nibabel.load(file)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) % 3, image.affine), file)
    folder = Path(shutil.copytree(SHELF / "nnunet", tmp_path / "nnunet", ignore=shutil.ignore_patterns("models")))
    overlay = ("variants/demo.json", "weights/demo-msd-hippocampus.json")
    train(head_images, folder / "models", *overlay)
    bundle = open_bundle(folder, weights=folder / "models/model.pt", dataset="msd-hippocampus")
    assert bundle.labels == ("background", "anterior", "posterior") and bundle.window.size == (48, 64, 48)


def test_what_is_unknown_is_said_before_anything_is_trained(pair, tmp_path):
    with pytest.raises(SystemExit, match="The downloaded folder of Dataset291 says them"):
        train(pair, tmp_path / "models", "variants/totalsegmentator-organs.json")


def test_images_without_partners_are_refused(pair, tmp_path):
    (pair / "labelsTr/case.nii.gz").unlink()
    with pytest.raises(RuntimeError) as error:
        train(pair, tmp_path / "models")
    assert "argument 2 is shorter than argument 1" in first_cause(error.value)


def first_cause(error: BaseException) -> str:
    """What MONAI's wrapped errors began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
