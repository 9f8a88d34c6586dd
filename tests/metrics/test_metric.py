"""The table of metrics, and what a Comparison refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medquanbench.metrics import (
    METRICS,
    Comparison,
    dice,
    hd95,
    surface_dice,
    volume_similarity,
    voxel_surface_dice,
)

REFERENCE = np.array([[0, 1, 1], [0, 2, 0]])
PREDICTION = np.array([[0, 1, 0], [0, 0, 0]])


def test_the_table_measures_what_the_functions_do():
    labels, spacing_mm, tolerances_mm = (1, 2, 3), (1.0, 2.0), (0.0, 1.0, 1.0)
    comparison = Comparison(REFERENCE, PREDICTION, labels, spacing_mm, tolerances_mm)
    maps = REFERENCE, PREDICTION, labels
    expected = {
        "dsc": dice(*maps),
        "nsd": surface_dice(*maps, spacing_mm, tolerances_mm),
        "hd95": hd95(*maps, spacing_mm),
        "volume_similarity": volume_similarity(*maps),
        "nsd_voxel": voxel_surface_dice(*maps, spacing_mm, tolerances_mm),
    }
    assert METRICS.keys() == expected.keys()
    for name, metric in METRICS.items():
        assert metric.name == name
        np.testing.assert_array_equal(metric.measure(comparison), expected[name])


def test_the_better_score_is_the_better_one():
    """A perfect answer against one that finds half of it; units other than none are lengths."""
    label_map = np.zeros((6, 6), np.uint8)
    label_map[1:5, 1:5] = 1
    half = label_map.copy()
    half[3:] = 0
    for metric in METRICS.values():
        perfect, worse = (
            metric.measure(Comparison(label_map, p, (1,), (1.0, 1.0), (0.0,)))[0] for p in (label_map, half)
        )
        assert perfect > worse if metric.higher_is_better else perfect < worse
        assert metric.unit == ("" if metric.higher_is_better else "mm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": PREDICTION[:1]}, "one grid"),
        ({"reference": REFERENCE.astype(float)}, "round and cast first"),
        ({"labels": (1, 2.0)}, "integers"),
        ({"spacing_mm": (1.0,)}, "spacing_mm"),
        ({"tolerance_mm": (1.0,)}, "2 labels"),
        ({"tolerance_mm": (1.0, -1.0)}, "at least 0"),
    ],
)
def test_a_comparison_whose_parts_do_not_fit_cannot_be_made(change, message):
    parts = {
        "reference": REFERENCE,
        "prediction": PREDICTION,
        "labels": (1, 2),
        "spacing_mm": (1.0, 1.0),
        "tolerance_mm": (1.0, 1.0),
    }
    Comparison(**parts)
    with pytest.raises(ValueError, match=message):
        Comparison(**(parts | change))


def test_importing_the_metrics_loads_neither_scipy_nor_surface_distance_nor_torch():
    code = (
        "import sys, medquanbench.metrics; print(*{'scipy', 'surface_distance', 'torch', 'monai'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []
