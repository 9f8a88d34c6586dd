"""The resamples: a mean has the same law by another way, and the cautious sample holds one patient more."""

import numpy as np
import pytest

from medquanbench.stats import FEW_PATIENTS, SE_FLOOR
from medquanbench.stats.resampling import bootstrap_means, with_unseen_loss


def one_by_one(values: np.ndarray, drawings: np.ndarray) -> np.ndarray:
    """The definition, resample by resample."""
    n, mean = len(values), values.mean()
    se = values.std(ddof=1) / n**0.5
    samples = values[drawings]
    drawn_se = np.maximum(samples.std(axis=1, ddof=1) / n**0.5, SE_FLOOR * se)
    return np.sort(mean - (samples.mean(axis=1) - mean) / drawn_se * se)


@pytest.mark.parametrize("n", [6, 21])
def test_counting_how_often_each_is_drawn_is_the_same_as_drawing(n):
    generator = np.random.default_rng(n)
    for values in (generator.normal(size=n), np.r_[-0.4, np.zeros(n - 1)], 5 + 1e-7 * generator.normal(size=n)):
        drawings = np.random.default_rng(3).integers(0, n, size=(499, n))
        np.testing.assert_allclose(bootstrap_means(values, 3, 499), one_by_one(values, drawings), rtol=0, atol=1e-12)


def test_resamplings_too_large_to_keep_are_the_same(monkeypatch):
    values = np.random.default_rng(0).normal(size=10)
    kept = bootstrap_means(values, 0, 3000)
    monkeypatch.setattr("medquanbench.stats.resampling._KEPT", 0)
    np.testing.assert_array_equal(bootstrap_means(values, 0, 3000), kept)


def test_the_added_patient_is_the_worst_again_or_beyond_where_patients_are_few():
    many = np.sort(np.random.default_rng(1).normal(size=FEW_PATIENTS))
    assert with_unseen_loss(many).tolist() == [many[0], *many]
    assert with_unseen_loss(np.array([-5.0, 1, 2, 2, 2, 3, 3, 4]))[0] == 2 - 2 * 7  # half of 16: twice as far


def test_the_added_patient_is_beyond_the_worst_where_most_differences_are_equal():
    half = np.r_[-np.arange(20.0, 0, -1), np.zeros(20)]
    assert with_unseen_loss(half)[0] == -20
    most = np.r_[-np.arange(19.0, 0, -1), np.zeros(21)]
    assert with_unseen_loss(most)[0] == 2 * -19
