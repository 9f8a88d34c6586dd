"""The image of `wholebrain-phantom/1`: T1 contrast, noise and drift as stated, partial volume, 0 outside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import RandomState
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.ndimage import label as components

from medquanbench.phantoms.head import draw_head, draw_t1
from medquanbench.phantoms.wholebrain import MAX_BIAS
from tests.phantoms.heads import CARD, CORTEX, LABELS, SEEDS, WHITE, volume


def level(seed: int, *names: str) -> float:
    """Median intensity of the voxels of these structures that have no other structure beside them."""
    phantom = volume(seed)
    core = [binary_erosion(phantom.label == LABELS[name]) for name in names]
    return float(np.median(phantom.image[np.any(core, axis=0)]))


@pytest.mark.parametrize("seed", SEEDS)
def test_zero_is_outside_the_head_and_nowhere_else(seed):
    """The recipe for T1 is the z-score of the voxels that are not 0; so no hole may be 0, and no background else."""
    image = volume(seed).image
    assert image.min() == 0
    pieces, _ = components(image == 0)
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() > 0.999 * sizes.sum() and 0.3 < (image > 0).mean() < 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_contrast_is_that_of_t1(seed):
    def both(name):
        return level(seed, f"Right-{name}", f"Left-{name}")

    csf, white = both("Lateral-Ventricle"), both("Cerebral-White-Matter")
    cortex = np.median(volume(seed).image[np.isin(volume(seed).label, CORTEX)])
    assert csf < 0.6 * cortex and cortex < 0.85 * white
    assert csf < both("Hippocampus") < white and csf < both("Caudate") < both("Thalamus-Proper") < white
    assert both("Putamen") < both("Pallidum") < 1.03 * white
    assert both("Cerebellum-Exterior") < both("Cerebellum-White-Matter")


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_and_drift_are_in_the_range_that_the_card_states(seed):
    phantom = volume(seed)
    assert "noise (2 to 3.5 % of white matter)" in CARD["description"] and "25 % at most" in CARD["description"]
    deep = binary_erosion(np.isin(phantom.label, WHITE), iterations=2)
    image = phantom.image.astype(float)
    second = image[:-2] - 2 * image[1:-1] + image[2:]  # noise of one voxel times sqrt(6); what is smooth cancels
    values = second[deep[1:-1]] / np.sqrt(6.0) / np.median(image[deep])
    noise = 1.4826 * np.median(np.abs(values - np.median(values)))
    assert 0.018 < noise < 0.040
    blocks = [image[x : x + 8, y : y + 8, z : z + 8][deep[x : x + 8, y : y + 8, z : z + 8]]
              for x in range(0, 88, 8) for y in range(0, 108, 8) for z in range(0, 88, 8)]  # fmt: skip
    local = np.array([block.mean() for block in blocks if block.size >= 20])
    assert len(local) > 20 and local.max() / local.min() < (1 + MAX_BIAS) / (1 - MAX_BIAS)
    assert local.std() / local.mean() > 0.005


def test_what_is_drawn_for_a_patient_stays_in_the_stated_range():
    scans = [draw_t1(RandomState(seed)) for seed in range(300)]
    assert all(0.020 <= scan.noise <= 0.035 and 0.03 <= scan.bias <= 0.08 for scan in scans) and MAX_BIAS == 0.25
    assert all(scan.csf < scan.cortex < scan.nucleus < scan.thalamus < scan.stem < 1.0 for scan in scans)
    heads = [draw_head(RandomState(seed)) for seed in range(300)]
    assert np.corrcoef([head.atrophy for head in heads], [head.ventricles for head in heads])[0, 1] > 0.5
    assert min(head.ventricles for head in heads) > 0.5 and max(head.ventricles for head in heads) < 1.6


def test_intensity_alone_does_not_label_it():
    """The best set of intensities for a region (see test_btcv) reaches little: gyri and sides share their tissue."""
    scores = []
    for seed in SEEDS[:2]:
        image, label = volume(seed).image.ravel(), volume(seed).label.ravel()
        all_values = np.bincount(image)
        for index in LABELS.values():
            hits = np.bincount(image[label == index], minlength=len(all_values))
            seen = all_values > 0
            order = np.argsort(-hits[seen] / all_values[seen], kind="stable")
            h, n = np.cumsum(hits[seen][order]), np.cumsum(all_values[seen][order])
            scores.append((2 * h / (n + hits.sum())).max())
    assert np.mean(scores) < 0.15


def test_voxels_on_a_boundary_lie_between_the_tissues():
    """Partial volume: where a ventricle meets white matter, its outermost voxels are brighter than its core."""
    phantom = volume(1)
    ventricle = np.isin(phantom.label, [LABELS["Right-Lateral-Ventricle"], LABELS["Left-Lateral-Ventricle"]])
    white = np.isin(phantom.label, WHITE)
    core, rim = binary_erosion(ventricle), ventricle & binary_dilation(white)
    inner, outer = np.median(phantom.image[core]), np.median(phantom.image[white])
    mixed = (phantom.image[rim] > inner + 0.10 * (outer - inner)) & (phantom.image[rim] < outer)
    assert core.sum() > 50 and rim.sum() > 200 and mixed.mean() > 0.5
