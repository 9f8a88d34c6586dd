"""Balls of steps: every step that is short enough, no other."""

import itertools

import pytest

from medquanbench.metrics.ball import balls


def steps_of(ball):
    return {(i, j, k) for height, sides in ball.columns for i, j in sides for k in range(-height, height + 1)}


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 2.0, 0.75)])
@pytest.mark.parametrize("tolerance_mm", [0.0, 0.49, 1.0, 2.5, 3.0])
def test_holds_the_steps_that_are_short_enough(spacing_mm, tolerance_mm):
    (ball,) = balls(tolerance_mm, spacing_mm)
    expected = {
        step
        for step in itertools.product(range(-7, 8), repeat=3)
        if sum((n * s) ** 2 for n, s in zip(step, spacing_mm)) ** 0.5 <= tolerance_mm
    }
    assert steps_of(ball) == expected
    assert ball.reach == tuple(max(step[axis] for step in expected) for axis in range(3))


def test_two_dimensions_are_one_plane():
    (ball,) = balls(1.0, (1.0, 0.5))
    assert {i for i, _, _ in steps_of(ball)} == {0}
    assert len(steps_of(ball)) == 7


def test_no_ball_that_is_too_large():
    assert balls(1e9, (1.0, 1.0, 1.0)) == ()


def test_one_length_rounded_to_both_sides_gives_two_balls():
    """3 * 3.3 is 9.899999999999999, and sqrt(3.3^2 + 6.6^2 + 6.6^2) is 9.9."""
    without, with_them = balls(3 * 3.3, (3.3, 3.3, 3.3))
    assert steps_of(with_them) - steps_of(without) >= {(3, 0, 0), (1, 2, 2), (-2, 1, 2)}
    assert max(i for i, _, _ in steps_of(without)) == 2
