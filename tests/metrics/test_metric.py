"""The table of metrics, and what a Comparison refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medquanbench.metrics import METRICS, Comparison, dice, surface_dice

REFERENCE = np.array([[0, 1, 1], [0, 2, 0]])
PREDICTION = np.array([[0, 1, 0], [0, 0, 0]])


# See test_surface_dice.py.
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_the_table_measures_what_the_functions_do():
    comparison = Comparison(REFERENCE, PREDICTION, (1, 2, 3), (1.0, 2.0), (0.0, 1.0, 1.0))
    expected = {
        "dsc": dice(REFERENCE, PREDICTION, (1, 2, 3)),
        "nsd": surface_dice(REFERENCE, PREDICTION, (1, 2, 3), (1.0, 2.0), (0.0, 1.0, 1.0)),
    }
    assert METRICS.keys() == expected.keys()
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.higher_is_better
        np.testing.assert_array_equal(metric.measure(comparison), expected[name])


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
