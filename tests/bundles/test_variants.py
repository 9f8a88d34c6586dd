"""The published variants: keys, shapes and counts of the official networks, and how images reach them."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import run
from monai.networks.nets import SwinUNETR

from medquanbench import shelf, weights
from medquanbench.bundle import (
    build_network,
    empty_network,
    merged_config,
    open_bundle,
    parse_preprocessing,
    variants,
)
from medquanbench.bundle_config import window_of
from medquanbench.images import Grid, read_labels
from medquanbench.infer import predict, preprocess
from medquanbench.restore import restore_labels

KEYS = Path(__file__).parent / "keys"
PUBLISHED = tuple(sorted(file.stem for file in KEYS.glob("*.json")))


def config_of(bundle: str, variant: str) -> dict:
    return merged_config(shelf.shelf(shelf.BUNDLES) / bundle, variant, None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_those_of_the_official_network(name):
    bundle, _, variant = name.partition("-")
    table = json.loads((KEYS / f"{name}.json").read_text())
    network = empty_network(config_of(bundle, variant))
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == table["state_dict"]
    assert sum(parameter.numel() for parameter in network.parameters()) == table["parameters"]


@pytest.mark.parametrize("variant, millions", [("tiny", 4.078), ("small", 15.703), ("base", 62.187)])
def test_parameter_counts_of_swinunetr(variant, millions):
    network = empty_network(config_of("swinunetr", variant))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
def test_a_swin_unetr_of_monai_1_5_has_a_twin_that_is_taken_only_where_it_is_asked_for(variant, tmp_path):
    state = {
        key: torch.zeros(()).expand(v.shape)
        for key, v in empty_network(config_of("swinunetr", variant)).state_dict().items()
    }
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    found = open_bundle("swinunetr", variant=None, weights=tmp_path / "w.pt")
    assert found.variant == variant and "MONAI before 1.5" in found.remarks[0]
    asked = open_bundle("swinunetr", variant=f"{variant}-monai-1.5", weights=tmp_path / "w.pt")
    assert asked.remarks == ("The patch merging is that of MONAI 1.5 and newer.",)
    twin, published = config_of("swinunetr", f"{variant}-monai-1.5"), config_of("swinunetr", variant)
    assert twin.pop("twin_of") == variant and twin["network_def"].pop("downsample") == "merging"
    del published["network_def"]["downsample"], published["given_weights"], twin["given_weights"]
    assert twin == published


def test_the_twin_merges_as_todays_monai_does_and_the_published_variant_does_not():
    x, answers = torch.randn(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0)), {}
    plain = {"spatial_dims": 3, "in_channels": 1, "out_channels": 14, "feature_size": 12, "norm_name": "instance"}
    torch.manual_seed(0)
    state = SwinUNETR(**plain).state_dict()
    for name in ("tiny", "tiny-monai-1.5", None):
        network = build_network(config_of("swinunetr", name)) if name else SwinUNETR(**plain)
        network.load_state_dict(state)
        with torch.no_grad():
            answers[name] = network.eval()(x)
    assert torch.equal(answers["tiny-monai-1.5"], answers[None])
    assert not torch.allclose(answers["tiny"], answers[None], atol=1e-3)


def test_nnunets_entries_and_distinct_tensors():
    state = empty_network(config_of("nnunet", "totalsegmentator-organs")).state_dict(keep_vars=True)
    assert len(state) == 292 and len({id(value) for value in state.values()}) == 108
    assert round(sum(value.numel() for value in state.values()) / 1e6, 1) == 88.6


@pytest.mark.parametrize(
    "part, heads, first, last",
    [
        ("organs", 25, "spleen", "kidney_cyst_right"),
        ("vertebrae", 27, "sacrum", "vertebrae_C1"),
        ("cardiac", 19, "heart", "iliac_vena_right"),
        ("muscles", 24, "humerus_left", "skull"),
        ("ribs", 27, "rib_left_1", "costal_cartilages"),
    ],
)
def test_the_parts_of_totalsegmentator(part, heads, first, last):
    config = config_of("nnunet", f"totalsegmentator-{part}")
    labels = config["labels"]
    assert (len(labels), labels[0], labels[1], labels[-1]) == (heads, "background", first, last)
    assert empty_network(config).decoder.seg_layers[-1].weight.shape[0] == heads
    assert config["unknown"] == ["patch size", "intensity normalisation"] and config["unknown_why"]


def test_together_they_name_117_structures_once():
    parts = [name for name in variants(shelf.shelf(shelf.BUNDLES) / "nnunet") if name.startswith("totalsegmentator-")]
    names = [label for part in parts for label in config_of("nnunet", part)["labels"][1:]]
    assert len(parts) == 5 and len(names) == len(set(names)) == 117


def image_of_a_box(file: Path) -> Path:
    """Air (-1000 HU) around a box of 50 HU, 30 x 24 x 20 mm, at 1 mm; stored left-posterior-superior."""
    array = np.full((60, 50, 40), -1000, np.int16)
    array[10:40, 6:30, 8:28] = 50
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    return file


@pytest.mark.parametrize(
    "bundle, variant, blending",
    [
        ("swinunetr", "tiny", "gaussian"),
        ("swinunetr", "small", "gaussian"),
        ("swinunetr", "base", "gaussian"),
        ("unetr", "base", "constant"),
    ],
)
def test_the_published_recipe_by_hand(bundle, variant, blending, tmp_path):
    config = config_of(bundle, variant)
    window, volume = window_of(config), preprocess(parse_preprocessing(config), image_of_a_box(tmp_path / "i.nii.gz"))
    assert (window.size, window.overlap, window.mode) == ((96, 96, 96), 0.5, blending)
    np.testing.assert_allclose(volume.grid.spacing_mm, (1.5, 1.5, 2.0))
    assert nibabel.aff2axcodes(volume.grid.affine) == ("R", "A", "S")
    # Reoriented, the image begins at (-59, -49, 0) mm and the box covers -39..-10, -29..-6, 8..27 mm. Within lie, of
    # -59 + 1.5 k, k = 14..32; of -49 + 1.5 k, k = 14..28; of 2 k, k = 4..13. Beside it air pulls below -175 HU: cut.
    assert volume.grid.shape == (19, 15, 10)
    np.testing.assert_allclose(volume.grid.affine[:3, 3], (-38, -28, 8), atol=1e-5)
    np.testing.assert_allclose(volume.tensor.numpy(), (50 + 175) / 425, atol=1e-6)


def test_totalsegmentator_sees_axes_in_nnunets_order(tmp_path):
    config = config_of("nnunet", "totalsegmentator-organs")
    assert config["preprocessing"]["transforms"].pop(4) is None  # the unknown normalisation
    volume = preprocess(parse_preprocessing(config), image_of_a_box(tmp_path / "i.nii.gz"))
    # nnU-Net reads (z, y, x) of the nearest RAS orientation: 40, 50, 60 mm at 1.5 mm.
    assert nibabel.aff2axcodes(volume.grid.affine) == ("S", "A", "R")
    assert all(abs(found - mm / 1.5) <= 1 for found, mm in zip(volume.grid.shape, (40, 50, 60)))
    np.testing.assert_allclose(volume.grid.spacing_mm, (1.5, 1.5, 1.5))


@pytest.mark.parametrize("bundle", ["swinunetr", "nnunet", "unetr"])
def test_every_merged_config_is_plain_json(bundle):
    folder = shelf.shelf(shelf.BUNDLES) / bundle
    sets = [None, *(file.stem for file in (folder / "configs/weights").glob("*.json"))]
    for variant in variants(folder):
        for weights_set in sets:
            config = merged_config(folder, variant, weights_set)
            assert json.loads(json.dumps(config)) == config


def test_filling_in_a_plans_file_makes_a_variant_run(tmp_path):
    """As docs/README.md tells, with numbers made up for this test and two channels a stage."""
    folder = Path(shutil.copytree(shelf.shelf(shelf.BUNDLES) / "nnunet", tmp_path / "nnunet"))
    file = folder / "configs/variants/totalsegmentator-cardiac.json"
    p005, p995, mean, std = -300.0, 500.0, 40.0, 80.0
    overlay = json.loads(file.read_text())
    for key in ("unknown", "unknown_why", "initialize", "+imports"):
        del overlay[key]
    overlay["network_def#features_per_stage"] = [2] * 6
    overlay["inferer#roi_size"] = [64, 64, 32]
    overlay["intensity"] = {"unit": "HU", "per_value": std}
    overlay["preprocessing#transforms#4"] = {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": p005,
        "a_max": p995,
        "b_min": (p005 - mean) / std,
        "b_max": (p995 - mean) / std,
        "clip": True,
    }
    file.write_text(json.dumps(overlay))
    weights.pack(build_network(merged_config(folder, file.stem, None)), tmp_path / "w.safetensors")
    bundle = open_bundle(folder, variant=file.stem, weights=tmp_path / "w.safetensors")
    assert bundle.window.size == (64, 64, 32) and len(bundle.labels) == 19
    image = image_of_a_box(tmp_path / "box.nii.gz")
    volume = preprocess(bundle.preprocessing(), image)
    assert float(volume.tensor.max()) == pytest.approx((50 - mean) / std)  # nnU-Net's z-score of 50 HU
    assert float(volume.tensor.min()) == pytest.approx((p005 - mean) / std)  # of air, clipped
    saved = monai_answer(folder, file, tmp_path, image)
    original = Grid((60, 50, 40), nibabel.load(image).affine)
    ours = restore_labels(predict(bundle.network(), volume, bundle.window), volume.grid, original)
    assert np.mean(saved == ours) > 0.99  # voxels midway between two of the coarser grid may go either way


def monai_answer(folder: Path, variant: Path, place: Path, image: Path) -> np.ndarray:
    (place / "in").mkdir()
    shutil.copy(image, place / "in")
    run(
        config_file=[str(folder / "configs/inference.json"), str(variant)],
        bundle_root=str(folder),
        meta_file=str(folder / "configs/metadata.json"),
        dataset_dir=str(place / "in"),
        output_dir=str(place / "out"),
        weights_file=str(place / "w.safetensors"),
    )
    return read_labels(place / "out/box_seg.nii.gz").labels
