"""Results folders of nnU-Net: what a path stands for, and what of the folder a bundle has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medquanbench import open_bundle, open_dataset, shelf
from medquanbench.eval import __main__ as door
from medquanbench.images import read_labels
from medquanbench.nnunet_folder import is_folder, locate
from medquanbench.run import plan_run
from medquanbench.tasks import TASKS
from medquanbench.values import Recipe as Precision
from medquanbench.values import RequestError
from tests.trained_nnunet import PLAIN, RESIDUAL, Recipe, predicted, write_model

MODEL = "Dataset501_Micro/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.mark.parametrize("path", (
    "", "Dataset501_Micro", MODEL, f"{MODEL}/fold_0", f"{MODEL}/fold_all", f"{MODEL}/fold_7",
    f"{MODEL}/fold_0/checkpoint_final.pth",
))  # fmt: skip
def test_what_belongs_to_nnunets_results(tmp_path, path):
    write_model(tmp_path, Recipe(PLAIN), folds=("0", "all"))
    assert is_folder(tmp_path / path)


@pytest.mark.parametrize(
    "path", ("weights", "weights/w.pt", "weights/fold_0/best.pth", "weights/fold_0/last.pt", "demo")
)
def test_what_does_not(tmp_path, path):
    for name in ("w.pt", "fold_0/best.pth", "fold_0/last.pt"):
        (tmp_path / "weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "weights" / name).touch()
    assert not is_folder(tmp_path / path)


def test_one_finished_fold_of_several_is_taken(tmp_path):
    folder = write_model(tmp_path, Recipe(PLAIN), folds=("0", "1"))
    (folder / "fold_0" / "checkpoint_final.pth").rename(folder / "fold_0" / "checkpoint_latest.pth")
    assert locate(folder).checkpoint == folder / "fold_1" / "checkpoint_final.pth"


def test_a_link_to_a_checkpoint_keeps_its_place(tmp_path):
    """As a download tool leaves files: links into a store, where no folder is around them."""
    folder = write_model(tmp_path, Recipe(PLAIN))
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint.rename(tmp_path / "blob")
    checkpoint.symlink_to(tmp_path / "blob")
    assert open_bundle("nnunet", weights=folder).weights == f"{MODEL}/fold_0"


def test_what_a_bundle_has_of_the_folder(tmp_path):
    folder = write_model(tmp_path, Recipe(RESIDUAL))
    bundle = open_bundle("nnunet", weights=folder)
    assert (bundle.name, bundle.variant, bundle.weights) == ("nnunet", "3d_fullres", f"{MODEL}/fold_0")
    assert bundle.labels == ("background", "low", "high")
    assert (bundle.intensity.unit, bundle.intensity.per_value) == ("HU", 80.0)
    assert (bundle.window.size, bundle.window.overlap, bundle.window.mode) == ((8, 16, 16), 0.5, "gaussian")
    assert (bundle.restore, bundle.channels, bundle.loaded.under) == ("nnunet", 1, "network_weights")
    assert not bundle.trained_on_phantoms
    content = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    own = bundle.network().state_dict()
    assert all(torch.equal(own[name], value) for name, value in content.items()) and len(own) == len(content)


def test_a_checkpoint_beside_the_final_one_is_named_with_its_file(tmp_path):
    folder = write_model(tmp_path, Recipe(PLAIN))
    best = folder / "fold_0" / "checkpoint_best.pth"
    shutil.copy(folder / "fold_0" / "checkpoint_final.pth", best)
    assert open_bundle("nnunet", weights=best).weights == f"{MODEL}/fold_0/checkpoint_best.pth"


def test_relative_paths_and_the_bundles_variant(tmp_path, monkeypatch):
    monkeypatch.chdir(write_model(tmp_path, Recipe(PLAIN)))
    for given in (".", "fold_0", Path("fold_0", "checkpoint_final.pth")):
        assert open_bundle("nnunet", weights=given, variant="3d_fullres").weights == f"{MODEL}/fold_0"
    monkeypatch.chdir("fold_0")
    for given in (".", "checkpoint_final.pth"):
        assert open_bundle("nnunet", weights=given).weights == f"{MODEL}/fold_0"


def test_what_nnunet_ignores_is_no_output(tmp_path):
    recipe = Recipe(PLAIN, labels=(("background", 0), ("low", 1), ("high", 2), ("ignore", 3)))
    assert open_bundle("nnunet", weights=write_model(tmp_path, recipe)).labels == ("background", "low", "high")


@pytest.mark.parametrize("axes", (None, (0, 1, 2)), ids=str)
def test_that_nnunet_itself_would_mirror_is_told(tmp_path, axes):
    trainer = "nnUNetTrainerNoMirroring" if axes is None else "nnUNetTrainer"
    bundle = open_bundle("nnunet", weights=write_model(tmp_path, Recipe(PLAIN), trainer=trainer))
    assert len(bundle.remarks) == (axes is not None)
    assert all("mirrored along the axes 0, 1, 2" in remark for remark in bundle.remarks)


def test_all_of_the_plan_that_is_used_is_in_the_run_key(tmp_path):
    """Changes of the plan change the key, also of what no network's shape shows; other configurations do not."""
    dataset, weights = open_dataset("btcv-phantom"), set()

    def key(number: int, *path: str, value: object = None) -> str:
        folder = write_model(tmp_path / str(number), Recipe(PLAIN))
        plans = json.loads((folder / "plans.json").read_text())
        inner = plans
        for part in path[:-1]:
            inner = inner[part]
        if path:
            inner[path[-1]] = value
        (folder / "plans.json").write_text(json.dumps(plans))
        bundle = open_bundle("nnunet", weights=folder)
        weights.add(bundle.weights_sha256)
        return plan_run(bundle, dataset, "test", {}, Precision(), 0).key

    own, other = ("configurations", "3d_fullres"), ("configurations", "2d")
    first = key(0)
    assert key(1) == key(2, *other, "batch_size", value=7) == first
    changed = {
        key(3, *own, "spacing", value=[2, 1, 1]),
        key(4, *own, "resampling_fn_data_kwargs", "order", value=1),
        key(5, "foreground_intensity_properties_per_channel", "0", "mean", value=151.0),
        key(6, "image_reader_writer", value="NibabelIO"),
        key(7, *own, "use_mask_for_norm", value=[True]),
        first,
    }
    assert len(changed) == 6
    assert len(weights) == 1


PARTS = {"organs": (291, "1559", 0), "vertebrae": (292, "1532", 24), "cardiac": (293, "1559", 50),
         "muscles": (294, "1559", 68), "ribs": (295, "1559", 91)}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_of_totalsegmentator(tmp_path, part):
    """Plans in the old form; labels meet the dataset card's by name: label l of a part is l + offset of the whole."""
    number, subjects, offset = PARTS[part]
    variants = shelf.shelf(shelf.BUNDLES) / "nnunet" / "configs" / "variants"
    names = json.loads((variants / f"totalsegmentator-{part}.json").read_text())["labels"]
    recipe = Recipe(
        None, "NibabelIOWithReorient", spacing_mm=(1.5, 1.5, 1.5), labels=tuple(zip(names, range(len(names))))
    )
    folder = f"Dataset{number}_TotalSegmentator_part{number - 290}_{part}_{subjects}subj"
    model = write_model(tmp_path, recipe, trainer="nnUNetTrainerNoMirroring", dataset=folder)
    bundle = open_bundle("nnunet", weights=model / "fold_0" / "checkpoint_final.pth")
    dataset = open_dataset("totalsegmentator", root=tmp_path)
    targets = TASKS[dataset.task].targets(bundle, dataset)
    assert bundle.weights == f"{folder}/nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres/fold_0"
    assert bundle.remarks == ()
    assert len(targets.labels) == len(names) - 1
    assert not targets.unasked
    assert len(targets.unmapped) == 117 - len(targets.labels)
    in_card = {label.index: label.name for label in dataset.labels}
    assert [in_card[number + offset] for number in range(1, len(names))] == names[1:]


def test_without_nnunetv2_one_sentence_says_what_to_install(tmp_path):
    """In a process of its own in which nnunetv2 cannot be imported; nothing else needs it."""
    folder = write_model(tmp_path, Recipe(PLAIN))
    program = (
        "import sys; sys.modules['nnunetv2'] = None; from medquanbench.eval.__main__ import main; sys.exit(main())"
    )
    out = str(tmp_path / "out")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    told = subprocess.run(
        [sys.executable, "-c", program, "--bundle", "nnunet", "--weights", str(folder), "--out", out],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith(
        'error: results folders of nnU-Net are read by nnunetv2: pip install "medquanbench[nnunet]"'
    )
    assert "Traceback" not in told.stderr


def test_a_fold_from_the_command_line_to_a_saved_answer(tmp_path, micro_data):
    """FP32's saved label map is what nnU-Net writes; W4A4's is another; the same command computes nothing twice."""
    folder = write_model(
        tmp_path, Recipe(RESIDUAL, "NibabelIOWithReorient", spacing_mm=(2.2, 0.9, 1.1)), folds=("0", "1")
    )
    out = tmp_path / "out"
    argv = [
        "--bundle", "nnunet", "--weights", str(folder / "fold_1"), "--dataset", str(micro_data / "micro.toml"),
        "--data-root", str(micro_data), "--cases", "2", "--w4a4", "adaptive", "--save-predictions", "--out", str(out),
    ]  # fmt: skip
    assert door.main(argv) == 0
    answers = {recipe: read_labels(out / "predictions" / recipe / "m1.nii.gz") for recipe in ("fp32", "w4a4_adaptive")}
    image = micro_data / "images" / "m1.nii.gz"
    assert (answers["fp32"].labels == predicted(folder, image, fold="1")).all()
    assert (answers["w4a4_adaptive"].labels != answers["fp32"].labels).any()
    record = json.loads((out / "record.json").read_text())
    assert record["bundle"]["weights"] == f"{MODEL}/fold_1"
    assert "mirrored" in record["bundle"]["remarks"][0]
    before = (out / "results.csv").read_bytes()
    assert door.main(argv) == 0
    assert (out / "results.csv").read_bytes() == before


def test_a_network_of_two_images_is_refused_where_a_case_has_one(tmp_path, micro_data, capsys):
    folder = write_model(tmp_path, Recipe(PLAIN, channels=("T1", "T2")))
    bundle = open_bundle("nnunet", weights=folder)
    assert bundle.channels == 2
    with pytest.raises(RequestError, match="takes 2 images a case"):
        from medquanbench.study_plan import prepare

        prepare(bundle, open_dataset(micro_data / "micro.toml", root=micro_data), [], progress=lambda text: None)
