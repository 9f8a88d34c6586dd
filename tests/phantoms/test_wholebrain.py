"""The laws of `wholebrain-phantom/1`: a seed fixes it, names are the table's, regions lie where they belong in T1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from tests.phantoms.heads import CARD, CORTEX, LABELS, PAIRS, SEEDS, TABLE, WHITE, volume

# In ml, from a small head to a large one. The smallest structures are larger than in a person.
VOLUME_ML = {
    "3rd-Ventricle": (0.8, 3),
    "4th-Ventricle": (1, 4),
    "Brain-Stem": (15, 35),
    "Left-Accumbens-Area": (0.6, 2),
    "Left-Amygdala": (0.8, 3),
    "Left-Caudate": (2, 6),
    "Left-Cerebellum-Exterior": (20, 60),
    "Left-Cerebral-White-Matter": (100, 260),
    "Left-Hippocampus": (2, 6),
    "Left-Inf-Lat-Vent": (0.6, 3),
    "Left-Lateral-Ventricle": (3, 25),
    "Left-Pallidum": (0.9, 3),
    "Left-Putamen": (2.5, 7),
    "Left-Thalamus-Proper": (2.5, 9),
}
NEIGHBOURS = [
    ("Putamen", "Pallidum"),
    ("Caudate", "Lateral-Ventricle"),
    ("Hippocampus", "Inf-Lat-Vent"),
    ("Hippocampus", "FuG---fusiform-gyrus"),
    ("Thalamus-Proper", "Ventral-DC"),
    ("PrG---precentral-gyrus", "PoG---postcentral-gyrus"),
    ("SFG---superior-frontal-gyrus", "ACgG--anterior-cingulate-gyrus"),
    ("STG---superior-temporal-gyrus", "MTG---middle-temporal-gyrus"),
    ("Cerebellum-Exterior", "Cerebellum-White-Matter"),
]
# In world coordinates: the first lies further to the front (axis 1) or higher (axis 2) than the second.
ORDER = [
    (1, "MFG---middle-frontal-gyrus", "PrG---precentral-gyrus"),
    (1, "PrG---precentral-gyrus", "PoG---postcentral-gyrus"),
    (1, "PoG---postcentral-gyrus", "SPL---superior-parietal-lobule"),
    (1, "AnG---angular-gyrus", "MOG---middle-occipital-gyrus"),
    (1, "ACgG--anterior-cingulate-gyrus", "PCgG--posterior-cingulate-gyrus"),
    (1, "Amygdala", "Hippocampus"),
    (1, "Caudate", "Thalamus-Proper"),
    (1, "Accumbens-Area", "Ventral-DC"),
    (2, "SPL---superior-parietal-lobule", "AnG---angular-gyrus"),
    (2, "STG---superior-temporal-gyrus", "MTG---middle-temporal-gyrus"),
    (2, "MTG---middle-temporal-gyrus", "FuG---fusiform-gyrus"),
    (2, "SFG---superior-frontal-gyrus", "MOrG--medial-orbital-gyrus"),
    (2, "Calc--calcarine-cortex", "Cerebellum-Exterior"),
    (2, "Thalamus-Proper", "Ventral-DC"),
    (2, "Lateral-Ventricle", "Inf-Lat-Vent"),
    (2, "Caudate", "Accumbens-Area"),
]


def centre_mm(seed: int, name: str) -> np.ndarray:
    phantom = volume(seed)
    at = np.argwhere(phantom.label == LABELS[name]).mean(axis=0)
    return phantom.affine[:3, :3] @ at + phantom.affine[:3, 3]


def touching(label: np.ndarray, name: str) -> np.ndarray:
    """The labels of the voxels that share a face with a structure, one entry a voxel."""
    inside = label == LABELS[name]
    return label[binary_dilation(inside) & ~inside]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Mean DSC over all regions of two label maps."""
    size = max(LABELS.values()) + 1
    both = np.bincount(first[first == second], minlength=size)
    total = np.bincount(first.ravel(), minlength=size) + np.bincount(second.ravel(), minlength=size)
    index = list(LABELS.values())
    return float(np.mean(2 * both[index] / total[index]))


def test_names_indices_and_tolerances_are_those_of_the_table():
    table = {(row["index"], row["name"], row["tolerance_mm"]) for row in TABLE["label"]}
    ours = [(row["index"], row["name"], row["tolerance_mm"]) for row in CARD["label"]]
    assert len(ours) == 62 and ours == sorted(ours) and set(ours) <= table
    assert f"{len(ours)} of the 132 regions" in CARD["title"] and "phantom, not patients" in CARD["description"]


def test_a_region_of_one_side_is_there_on_the_other():
    assert len(PAIRS) == 28
    assert all(f"Left-{name}" in LABELS for name in PAIRS) and len(LABELS) == 2 * len(PAIRS) + 6


@pytest.mark.parametrize("seed", SEEDS)
def test_types_grid_and_spacing(seed):
    phantom = volume(seed)
    assert phantom.image.dtype == np.int16 and phantom.label.dtype == np.uint8 and phantom.affine.dtype == np.float64
    assert phantom.image.shape == phantom.label.shape == (88, 108, 88)
    assert np.array_equal(phantom.affine[:3, :3], np.diag([-2.0, -2.0, 2.0]))
    assert phantom.affine[3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_region_is_in_every_patient_and_nothing_else(seed):
    counts = np.bincount(volume(seed).label.ravel(), minlength=133)
    assert set(np.flatnonzero(counts)) == {0, *LABELS.values()}
    assert counts[list(LABELS.values())].min() >= 100


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_are_those_of_a_brain(seed):
    counts = np.bincount(volume(seed).label.ravel(), minlength=133) * np.prod(volume(seed).spacing_mm) / 1000
    for name, (low, high) in VOLUME_ML.items():
        assert low < counts[LABELS[name]] < high, name
    assert 800 < counts[1:].sum() < 1500
    assert 0.8 < counts[list(CORTEX)].sum() / counts[list(WHITE)].sum() < 2.2


@pytest.mark.parametrize("seed", SEEDS)
def test_left_is_left_in_the_world(seed):
    stem = centre_mm(seed, "Brain-Stem")
    for name in PAIRS:
        right, left = centre_mm(seed, f"Right-{name}"), centre_mm(seed, f"Left-{name}")
        assert right[0] > left[0] + 6.0, name  # RAS+: right is positive
        assert np.all(np.abs(right - left)[1:] < 16.0), name
        assert abs((right[0] + left[0]) / 2 - stem[0]) < 14.0, name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", ["Right", "Left"])
def test_gyri_and_nuclei_follow_each_other_as_in_a_head(seed, side):
    for axis, first, second in ORDER:
        assert centre_mm(seed, f"{side}-{first}")[axis] > centre_mm(seed, f"{side}-{second}")[axis], (first, second)
    assert centre_mm(seed, "Brain-Stem")[1] > centre_mm(seed, "Cerebellar-Vermal-Lobules-VI-VII")[1]
    front, back, low = (centre_mm(seed, f"Cerebellar-Vermal-Lobules-{x}") for x in ("I-V", "VI-VII", "VIII-X"))
    assert front[1] > back[1] and front[2] > back[2] > low[2]
    midline, insula = centre_mm(seed, "Brain-Stem")[0], centre_mm(seed, f"{side}-AIns--anterior-insula")[0]
    assert abs(insula - midline) < abs(centre_mm(seed, f"{side}-STG---superior-temporal-gyrus")[0] - midline)


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_neighbours_touch(first, second):
    for seed in SEEDS[:3]:
        for side in ("Right", "Left"):
            assert LABELS[f"{side}-{second}"] in touching(volume(seed).label, f"{side}-{first}")


@pytest.mark.parametrize("seed", SEEDS)
def test_ventricles_lie_inside_the_brain(seed):
    """Lateral ventricles border on white matter and nuclei, hardly on cortex, and never on the CSF outside."""
    label = volume(seed).label
    for side in ("Right", "Left"):
        around = touching(label, f"{side}-Lateral-Ventricle")
        assert not np.any(around == 0) and np.isin(around, CORTEX).mean() < 0.15
        assert np.isin(around, WHITE).mean() > 0.5
    right, third, left = (
        centre_mm(seed, x) for x in ("Right-Thalamus-Proper", "3rd-Ventricle", "Left-Thalamus-Proper")
    )
    assert right[0] - 6.0 > third[0] > left[0] + 6.0 and np.all(np.abs(third - (right + left) / 2)[1:] < 12.0)
    assert {LABELS["Brain-Stem"], LABELS["Cerebellar-Vermal-Lobules-I-V"]} <= set(touching(label, "4th-Ventricle"))


@pytest.mark.parametrize("seed", SEEDS)
def test_cortex_covers_the_white_matter(seed):
    """What lies between white matter and CSF is cortex; white matter itself hardly meets the CSF."""
    label = volume(seed).label
    for side in ("Right", "Left"):
        around = touching(label, f"{side}-Cerebral-White-Matter")
        assert np.isin(around, CORTEX).mean() > 0.75 and (around == 0).mean() < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_the_brain_is_one_piece_inside_the_head(seed):
    phantom = volume(seed)
    brain = phantom.label > 0
    _, count = components(brain)
    sizes = np.bincount(components(brain)[0].ravel())[1:]
    assert count >= 1 and sizes.max() > 0.97 * brain.sum()
    assert not np.any(brain & binary_dilation(phantom.image == 0, iterations=2))


def test_individuals_differ_so_that_no_case_labels_another():
    scores = [dice(volume(a).label, volume(b).label) for a, b in zip(SEEDS[:-1], SEEDS[1:])]
    assert 0.15 < np.mean(scores) < 0.6


def test_the_left_half_is_no_mirror_image_of_the_right():
    """Folds and borders are drawn for each side: mirrored about the midplane of the head, gyri overlap in part."""
    label = volume(1).label
    middle = np.argwhere(label == LABELS["Brain-Stem"])[:, 0].mean()
    mirrored = np.roll(label[::-1], int(round(2 * middle)) - 87, axis=0)
    scores = []
    for name in PAIRS:
        right, left = label == LABELS[f"Right-{name}"], mirrored == LABELS[f"Left-{name}"]
        scores.append(2 * (right & left).sum() / (right.sum() + left.sum()))
    assert 0.2 < np.mean(scores) < 0.8
