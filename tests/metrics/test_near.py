"""Which points are near others: against all pairs."""

import numpy as np
import pytest

from medquanbench.metrics.ball import balls
from medquanbench.metrics.near import Points, near


def all_pairs(own, others, spacing_mm, tolerance_mm):
    steps = (own[:, None] - others[None]) * np.array(spacing_mm)
    return (np.sqrt((steps**2).sum(axis=2)) <= tolerance_mm).any(axis=1)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 2.0, 1.25), (1.0, 0.5)])
@pytest.mark.parametrize("tolerance_mm", [0.0, 1.0, 2.5, 7.0])
def test_equals_all_pairs(spacing_mm, tolerance_mm):
    """Boxes that lie within, across and far from each other, some beyond one word of bits."""
    generator, found, n_axes = np.random.default_rng(0), [], len(spacing_mm)
    (ball,) = balls(tolerance_mm, spacing_mm)
    for _ in range(60):
        groups = [
            generator.integers(0, generator.choice([1, 40]), n_axes)
            + generator.integers(0, generator.choice([3, 20, 150]), (generator.integers(1, 40), n_axes))
            for _ in range(2)
        ]
        answers = near(*(Points.of(tuple(group.T.astype(np.int32))) for group in groups), ball)
        for answer, pair in zip(answers, (groups, groups[::-1])):
            expected = all_pairs(*pair, spacing_mm, tolerance_mm)
            np.testing.assert_array_equal(answer, expected)
            found.append(expected.mean())
    assert min(found) == 0 and max(found) > 0
