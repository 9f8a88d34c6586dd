"""`python -m monai.bundle run` on a small image: the answer lies on the image's grid and is the machine's answer."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import run

from medquanbench import shelf, weights
from medquanbench.bundle import build_network, merged_config, parse_preprocessing
from medquanbench.bundle_config import window_of
from medquanbench.images import Grid, LabelMap, read_labels
from medquanbench.infer import predict, preprocess
from medquanbench.metrics import dice
from medquanbench.restore import restore_labels


def monai_run(bundle: Path, overlays: tuple[str, ...], images: Path, output: Path, file: Path) -> LabelMap:
    """Run the bundle with MONAI's own command; the label map that it saved."""
    run(
        config_file=[str(bundle / "configs" / name) for name in ("inference.json", *overlays)],
        meta_file=str(bundle / "configs/metadata.json"),
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(output),
        weights_file=str(file),
    )
    return read_labels(output / "case_seg.nii.gz")


def machine(bundle: Path, weights_set: str, image: Path, file: Path) -> np.ndarray:
    """The same by this package's own road."""
    config = merged_config(bundle, "demo", weights_set)
    network = build_network(config).eval()
    weights.load_into(network, weights.read(file), str(file))
    volume, original = preprocess(parse_preprocessing(config), image), nibabel.load(image)
    labels = predict(network, volume, window_of(config))
    return restore_labels(labels, volume.grid, Grid(original.shape, original.affine))


def first_cause(error: BaseException) -> str:
    """What MONAI's wrapped errors began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_run_saves_the_machines_answer_on_the_images_grid(bundle, images, random_weights, tmp_path):
    file, image = random_weights(bundle, "demo-btcv-phantom"), images / "imagesTr/case.nii.gz"
    saved = monai_run(bundle, (), image.parent, tmp_path / "out", file)
    assert saved.grid.shape == (40, 36, 30)
    np.testing.assert_allclose(saved.grid.affine, nibabel.load(image).affine, atol=1e-5)
    assert len(np.unique(saved.labels)) > 2 and saved.labels.max() < 14
    np.testing.assert_array_equal(saved.labels, machine(bundle, "demo-btcv-phantom", image, file))


def test_run_with_a_variant_and_a_weights_overlay(bundle, head_images, random_weights, tmp_path):
    file, image = random_weights(bundle, "demo-msd-hippocampus"), head_images / "imagesTr/case.nii.gz"
    overlays = ("variants/demo.json", "weights/demo-msd-hippocampus.json")
    saved = monai_run(bundle, overlays, image.parent, tmp_path / "out", file)
    assert saved.labels.shape == (40, 36, 30) and 1 <= saved.labels.max() <= 2
    np.testing.assert_array_equal(saved.labels, machine(bundle, "demo-msd-hippocampus", image, file))


def test_the_evaluate_overlay_measures_the_saved_answer(bundle, images, random_weights, tmp_path):
    file = random_weights(bundle, "demo-btcv-phantom")
    saved = monai_run(bundle, ("evaluate.json",), images, tmp_path / "out", file)
    reference = read_labels(images / "labelsTr/case.nii.gz")
    ours = dice(reference.labels, saved.labels, tuple(range(1, 14)))
    header, row = (tmp_path / "out/mean_dice_raw.csv").read_text().split()
    theirs = [float(value) for value in row.split(",")[1:14]]
    assert header.split(",")[1] == "class0" and len(header.split(",")) == 15
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    name, mean = (tmp_path / "out/metrics.csv").read_text().split(",")
    assert name == "mean_dice" and float(mean) == pytest.approx(ours.mean(), abs=1e-6)


def test_evaluate_refuses_images_without_partners(bundle, images, random_weights, tmp_path):
    (images / "labelsTr/case.nii.gz").unlink()
    with pytest.raises(RuntimeError) as error:
        monai_run(bundle, ("evaluate.json",), images, tmp_path / "out", random_weights(bundle, "demo-btcv-phantom"))
    assert "argument 2 is shorter than argument 1" in first_cause(error.value)


def test_a_variant_with_unknowns_ends_with_its_reason(images, tmp_path):
    bundle = shelf.shelf(shelf.BUNDLES) / "nnunet"
    with pytest.raises(SystemExit, match="The downloaded folder of Dataset291 says them"):
        monai_run(bundle, ("variants/totalsegmentator-organs.json",), images, tmp_path / "out", tmp_path / "none")


def test_weights_that_do_not_fit_stop_the_run(bundle, images, tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(RuntimeError) as error:
        monai_run(bundle, (), images / "imagesTr", tmp_path / "out", tmp_path / "w.pt")
    assert "does not fit the network" in first_cause(error.value)
    assert not (tmp_path / "out").exists()
