"""Distances to the nearest point: against all pairs."""

import numpy as np
import pytest

from medquanbench.metrics import distance
from medquanbench.metrics.distance import Nearest, transform_distances, within
from medquanbench.metrics.near import Points


def groups(seed, n_axes):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 30, (n, n_axes)) for n in generator.integers(1, 80, 2)]


def all_pairs(own, others, spacing_mm):
    return np.sqrt((((own[:, None] - others[None]) * np.array(spacing_mm)) ** 2).sum(axis=2)).min(axis=1)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 2.5, 0.98), (1.5, 0.7)])
@pytest.mark.parametrize("seed", range(5))
def test_both_ways_equal_all_pairs(spacing_mm, seed):
    pair = groups(seed, len(spacing_mm))
    points = [Points.of(tuple(group.T)) for group in pair]
    expected = all_pairs(*pair, spacing_mm)
    np.testing.assert_allclose(transform_distances(*points, spacing_mm), expected, rtol=1e-14)
    np.testing.assert_allclose(Nearest(*points, spacing_mm).all(), expected, rtol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_lie_above_until_settled(seed):
    pair = groups(seed, 3)
    nearest, expected = (
        Nearest(*(Points.of(tuple(group.T)) for group in pair), (1.0, 1.0, 1.0)),
        all_pairs(*pair, (1,) * 3),
    )
    assert (nearest.bounds >= expected).all()
    limit = float(np.median(expected))
    nearest.settle(limit)
    assert (nearest.bounds >= expected).all()
    np.testing.assert_array_equal(nearest.bounds > limit, expected > limit)
    assert not nearest.settle(limit)


@pytest.mark.parametrize("large", [False, True])
def test_within_does_not_hang_on_the_way(monkeypatch, large):
    """With a ball or without; at 5 mm ties are met, and (3, 4, 0) is as long as (5, 0, 0)."""
    if large:
        monkeypatch.setattr(distance, "balls", lambda tolerance_mm, spacing_mm: ())
    for seed in range(5):
        pair = groups(seed, 3)
        found = within(*(Points.of(tuple(group.T)) for group in pair), (1.0, 1.0, 1.0), 5.0)
        for answer, (own, others) in zip(found, (pair, pair[::-1])):
            np.testing.assert_array_equal(answer, all_pairs(own, others, (1.0,) * 3) <= 5.0)
