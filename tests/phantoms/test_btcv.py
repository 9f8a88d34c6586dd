"""The laws of `btcv-phantom/1`: what a seed makes is fixed, anatomy is plausible, intensity alone does not label it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from medquanbench.phantoms import PHANTOMS, Phantom

CARD = tomllib.loads((Path(__file__).parents[2] / "datasets" / "btcv-phantom.toml").read_text(encoding="utf-8"))
LABELS = {entry["name"]: entry["index"] for entry in CARD["label"]}
SEEDS = (1, 2, 3, 1002, 1060, 2**31)

# Adult organs in ml, from small to enlarged; vessels and esophagus as far as the field of view shows them.
VOLUME_ML = {
    "spleen": (50, 350),
    "right kidney": (60, 230),
    "left kidney": (60, 230),
    "gallbladder": (8, 70),
    "esophagus": (5, 30),
    "liver": (600, 2000),
    "stomach": (100, 700),
    "aorta": (30, 150),
    "inferior vena cava": (30, 160),
    "portal and splenic veins": (8, 40),
    "pancreas": (30, 130),
    "right adrenal gland": (2, 10),
    "left adrenal gland": (2, 10),
}
NEIGHBOURS = [
    ("liver", "right kidney"),
    ("liver", "gallbladder"),
    ("liver", "stomach"),
    ("liver", "inferior vena cava"),
    ("spleen", "stomach"),
    ("spleen", "left kidney"),
    ("spleen", "pancreas"),
    ("pancreas", "portal and splenic veins"),
    ("esophagus", "stomach"),
    ("right adrenal gland", "right kidney"),
    ("left adrenal gland", "left kidney"),
]


@cache
def volume(seed: int) -> Phantom:
    return PHANTOMS[CARD["phantom"]](seed)


def touch(label: np.ndarray, a: int, b: int) -> bool:
    """Whether a voxel of a and one of b share a face."""
    for axis in range(3):
        low, high = np.moveaxis(label, axis, 0)[:-1], np.moveaxis(label, axis, 0)[1:]
        if (((low == a) & (high == b)) | ((low == b) & (high == a))).any():
            return True
    return False


def best_dice_by_intensity(image: np.ndarray, label: np.ndarray, index: int) -> float:
    """The highest DSC that any set of HU values can reach for a label.

    A set S of values predicts n(S) voxels, h(S) of them rightly: DSC = 2 h(S) / (n(S) + H), H the label's size. Among
    sets of one DSC level d, keeping a value v pays exactly if h(v) / n(v) > d / 2; so the best set holds all values
    whose share of the label is above a threshold, and trying every prefix of the values sorted by share finds it.
    """
    _, value = np.unique(image, return_inverse=True)
    n = np.bincount(value.ravel())
    h = np.bincount(value.ravel()[label.ravel() == index], minlength=len(n))
    order = np.argsort(-h / n, kind="stable")
    return float((2 * np.cumsum(h[order]) / (np.cumsum(n[order]) + h.sum())).max())


def test_the_best_threshold_is_found_on_a_case_solved_by_hand():
    # value 5: 3 of 4 voxels are the label; value 7: 1 of 4; value 9: none. {5}: 6/8; {5, 7}: 8/12.
    image = np.array([5, 5, 5, 5, 7, 7, 7, 7, 9, 9])
    label = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0])
    assert best_dice_by_intensity(image, label, 1) == pytest.approx(6 / 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_types_grid_and_spacing(seed):
    phantom = volume(seed)
    assert phantom.image.dtype == np.int16 and phantom.label.dtype == np.uint8 and phantom.affine.dtype == np.float64
    assert phantom.image.shape == phantom.label.shape
    x_mm, y_mm, z_mm = phantom.spacing_mm
    assert np.array_equal(phantom.affine[:3, :3], np.diag([-x_mm, -y_mm, z_mm]))
    assert phantom.affine[3].tolist() == [0, 0, 0, 1]
    assert 2.7 <= x_mm == y_mm <= 3.1 and 4.6 <= z_mm <= 5.4
    extent_mm = np.array(phantom.image.shape) * phantom.spacing_mm
    assert np.all(np.abs(extent_mm - (312, 244, 206)) <= np.array(phantom.spacing_mm) / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_structure_is_there_at_a_plausible_size(seed):
    phantom = volume(seed)
    counts = np.bincount(phantom.label.ravel(), minlength=14)
    assert len(counts) == 14 and counts[1:].min() >= 40
    ml = counts * np.prod(phantom.spacing_mm) / 1000
    for name, (low, high) in VOLUME_ML.items():
        assert low < ml[LABELS[name]] < high, name


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_lie_on_their_side_in_the_world(seed):
    phantom = volume(seed)

    def centre_mm(name):
        return phantom.affine[:3, :3] @ np.argwhere(phantom.label == LABELS[name]).mean(axis=0) + phantom.affine[:3, 3]

    assert centre_mm("liver")[0] > centre_mm("stomach")[0] > centre_mm("spleen")[0]  # RAS+: right is positive
    assert centre_mm("right kidney")[0] > centre_mm("inferior vena cava")[0] > centre_mm("aorta")[0]
    assert centre_mm("aorta")[0] > centre_mm("left kidney")[0]
    assert centre_mm("gallbladder")[1] > centre_mm("right kidney")[1]
    for side in ("right", "left"):
        assert centre_mm(f"{side} adrenal gland")[2] > centre_mm(f"{side} kidney")[2]


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_neighbours_touch(first, second):
    assert sum(touch(volume(seed).label, LABELS[first], LABELS[second]) for seed in SEEDS) >= 2


def test_mean_intensities_are_those_of_a_portal_venous_ct():
    expected_hu = {
        "liver": (80, 130),
        "spleen": (95, 140),
        "right kidney": (125, 210),
        "gallbladder": (0, 45),
        "aorta": (110, 210),
        "pancreas": (65, 115),
        "left adrenal gland": (25, 95),
        "esophagus": (-20, 70),
    }
    for seed in SEEDS:
        for name, (low, high) in expected_hu.items():
            assert low < volume(seed).image[volume(seed).label == LABELS[name]].mean() < high, name


def test_individuals_differ_so_that_no_case_labels_another():
    """The label map of one case, laid on another about the middle of the volume, is far from it."""
    scores = []
    for a, b in zip(SEEDS[:-1], SEEDS[1:]):
        first, second = central(volume(a).label), central(volume(b).label)
        scores.append(
            [
                2 * ((first == k) & (second == k)).sum() / ((first == k).sum() + (second == k).sum())
                for k in range(1, 14)
            ]
        )
    assert np.mean(scores) < 0.6


def central(label: np.ndarray) -> np.ndarray:
    start = [(n - m) // 2 for n, m in zip(label.shape, (100, 80, 38))]
    return label[start[0] : start[0] + 100, start[1] : start[1] + 80, start[2] : start[2] + 38]


def test_intensity_alone_does_not_label_it():
    images = np.concatenate([volume(seed).image.ravel() for seed in SEEDS])
    labels = np.concatenate([volume(seed).label.ravel() for seed in SEEDS])
    assert np.mean([best_dice_by_intensity(images, labels, k) for k in range(1, 14)]) < 0.4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_on_a_boundary_lie_between_the_structures(axis):
    """Partial volume. Where a kidney ends in fat, both voxels at the boundary are mixtures: the last of the kidney is
    darker than the kidney, the first beyond brighter than fat, and many are far (3 sigma of noise) from either."""
    phantom = volume(1)
    image = np.moveaxis(phantom.image, axis, 0).astype(float)
    kidney = np.moveaxis(phantom.label, axis, 0) == LABELS["left kidney"]
    fat = np.moveaxis(phantom.label, axis, 0) == 0
    fat &= image < -50
    ends = kidney[:-3] & kidney[1:-2] & ~kidney[2:-1] & fat[3:]
    deep, last, first, beyond = (image[k : len(image) - 3 + k][ends] for k in range(4))
    assert len(deep) > 50
    assert np.median(last) < np.median(deep) - 10 and np.median(first) > np.median(beyond) + 10
    mixed = (first > np.median(beyond) + 60) & (first < np.median(deep) - 60)
    assert mixed.mean() > 0.2
