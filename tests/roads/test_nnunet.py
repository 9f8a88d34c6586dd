"""nnU-Net's road gives nnunetv2's own answer, voxel for voxel, and tells watchers where its logits lie."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from medquanbench import quant
from medquanbench.bundle import open_bundle
from medquanbench.images import grid_of, same_grid
from medquanbench.roads import ROADS
from medquanbench.values import Recipe as Precision
from medquanbench.values import RequestError, RunError
from tests.trained_nnunet import PLAIN, RESIDUAL, Recipe, affine_of, predicted, write_image, write_model

SPACING_MM = (1.0, 1.3, 3.0)  # of the images; the plans resample all three axes
READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")
NETWORKS = {
    "plain": Recipe(PLAIN),
    "residual, transposed": Recipe(RESIDUAL, transpose=(1, 0, 2), spacing_mm=(0.9, 2.5, 1.1), patch=(16, 8, 16)),
    "old plan, turned round": Recipe(None, transpose=(2, 0, 1), spacing_mm=(1.2, 2.5, 1.1), patch=(16, 8, 16)),
}
GRIDS = {
    "RAS": affine_of(SPACING_MM),
    "LPS, oblique": affine_of(SPACING_MM, 17, "LPS"),
    "ASL": affine_of(SPACING_MM, 0, "ASL"),
}


def answer(bundle, image, network=None, begin=None):
    return ROADS["nnunet"].answer(network or bundle.network(), bundle, (image,), "cpu", begin)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("reader", READERS)
def test_the_answer_is_nnunets_own_voxel_for_voxel(tmp_path, reader, network, grid):
    folder = write_model(tmp_path, replace(NETWORKS[network], reader=reader))
    image = write_image(tmp_path / "image.nii.gz", GRIDS[grid])
    ours = answer(open_bundle("nnunet", weights=folder), image)
    theirs = predicted(folder, image)
    assert len(np.unique(theirs)) == 3
    assert np.array_equal(ours.labels, theirs)
    assert same_grid(ours.grid, grid_of(image))


@pytest.mark.parametrize("masked", (False, True))
def test_z_scores_within_the_mask_or_not(tmp_path, masked):
    folder = write_model(tmp_path, Recipe(PLAIN, scheme="ZScoreNormalization", masked=masked))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"])
    assert np.array_equal(answer(open_bundle("nnunet", weights=folder), image).labels, predicted(folder, image))


def test_an_image_smaller_than_the_patch(tmp_path):
    folder = write_model(tmp_path, Recipe(PLAIN, patch=(16, 32, 32)))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"], (20, 12, 9), border=False)
    ours = answer(open_bundle("nnunet", weights=folder), image)
    assert np.array_equal(ours.labels, predicted(folder, image))


def test_a_network_that_its_trainer_builds(tmp_path):
    """nnUNetTrainerBN has batch norm where the plan says instance norm."""
    folder = write_model(tmp_path, Recipe(PLAIN), trainer="nnUNetTrainerBN")
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"])
    bundle = open_bundle("nnunet", weights=folder)
    assert any(isinstance(module, torch.nn.BatchNorm3d) for module in bundle.network().modules())
    assert np.array_equal(answer(bundle, image).labels, predicted(folder, image))


def test_each_fold_has_its_own_answer(tmp_path):
    folder = write_model(tmp_path, Recipe(PLAIN), folds=("0", "all"))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"])
    ours = [answer(open_bundle("nnunet", weights=folder / fold), image).labels for fold in ("fold_0", "fold_all")]
    assert np.array_equal(ours[0], predicted(folder, image, fold="0"))
    assert np.array_equal(ours[1], predicted(folder, image, fold="all"))
    assert not np.array_equal(*ours)


def test_a_quantized_network_gives_what_nnunets_predictor_gives_with_it(tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = write_model(tmp_path, Recipe(PLAIN))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["LPS, oblique"])
    bundle = open_bundle("nnunet", weights=folder)
    network, _ = quant.quantize(bundle.network(), Precision.parse("w4a4 adaptive"))
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), ("0",))
    predictor.network = network
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    plan = predictor.plans_manager, predictor.configuration_manager
    data, _, notes = preprocessor.run_case([str(image)], None, *plan, predictor.dataset_json)
    logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(data))
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape as back

    theirs = back(logits, *plan, predictor.label_manager, notes).transpose(2, 1, 0)
    ours = answer(bundle, image, network).labels
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, answer(bundle, image).labels)


@pytest.mark.parametrize("transpose", ((0, 1, 2), (2, 0, 1)), ids=str)
@pytest.mark.parametrize("reader", READERS)
def test_watchers_hear_every_voxel_once_on_the_grid_of_the_logits(tmp_path, reader, transpose, monkeypatch):
    """On the image's own voxels, the labels of the logits that are heard are those of the answer."""
    road = importlib.import_module("medquanbench.roads.nnunet")
    monkeypatch.setattr(road, "_BLOCK_BYTES", 9000)  # several blocks, the last one shorter
    affine = GRIDS["LPS, oblique"]
    spacing_mm = tuple(np.array(SPACING_MM[::-1])[list(transpose)])
    recipe = Recipe(RESIDUAL, reader, transpose, spacing_mm, patch=(8, 16, 16))
    bundle = open_bundle("nnunet", weights=write_model(tmp_path, recipe))
    image = write_image(tmp_path / "image.nii.gz", affine)
    heard, grids = [], []

    def begin(grid):
        grids.append(grid)
        return lambda first, logits: heard.append((first, logits.argmax(0).numpy(), logits.dtype))

    labels = answer(bundle, image, begin=begin).labels
    (grid,) = grids
    assert len(heard) > 1
    assert {dtype for _, _, dtype in heard} == {torch.float32}
    seen = np.zeros(grid.shape, int)
    to_image = np.linalg.inv(affine) @ grid.affine
    for first, classes, _ in heard:
        box = tuple(slice(low, low + size) for low, size in zip(first, classes.shape))
        seen[box] += 1
        index = np.moveaxis(np.indices(classes.shape), 0, -1) + first
        in_image = index @ to_image[:3, :3].T + to_image[:3, 3]
        assert np.abs(in_image - in_image.round()).max() < 1e-3
        assert np.array_equal(labels[tuple(np.moveaxis(in_image.round().astype(int), -1, 0))], classes)
    assert (seen == 1).all()
    cropped = sorted((30 - 3, 26 - 4, 14 - 2))
    assert sorted(grid.shape) == cropped


def test_an_answer_on_another_grid_is_an_error(tmp_path, monkeypatch):
    """As a reader or resampling of another nnunetv2 might give it: scoring must never see it."""
    road = importlib.import_module("medquanbench.roads.nnunet")
    bundle = open_bundle("nnunet", weights=write_model(tmp_path, Recipe(PLAIN)))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"])
    whole = road.carry_back

    def cut(plan, case, logits):
        found = whole(plan, case, logits)
        return replace(found, labels=found.labels[:-1])

    monkeypatch.setattr(road, "carry_back", cut)
    with pytest.raises(RequestError, match="carries the answer back to 29 x 26 x 14 voxels; .*image.nii.gz has 30 x"):
        answer(bundle, image)


@pytest.mark.parametrize("value", (1e6, torch.nan), ids=str)
def test_answers_beyond_half_precision_are_an_error(tmp_path, value):
    bundle = open_bundle("nnunet", weights=write_model(tmp_path, Recipe(PLAIN)))
    image = write_image(tmp_path / "image.nii.gz", GRIDS["RAS"])
    with pytest.raises(RunError, match="NaN or infinity, or values above 65504"):
        answer(bundle, image, lambda window: torch.full((1, 3, *window.shape[2:]), value))
