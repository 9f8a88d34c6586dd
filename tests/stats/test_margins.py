"""Relative losses, and the margins that hold where none is given."""

import math

import pytest

from medquanbench.stats import default_margin, drop_pct


def test_drop_is_relative_and_positive_for_a_loss():
    assert drop_pct(0.8, 0.6) == pytest.approx(25.0)
    assert drop_pct(0.5, 0.6) == pytest.approx(-20.0)
    assert drop_pct(0.5, 0.0) == 100.0
    assert drop_pct(0.0, 0.6) is None
    assert drop_pct(math.nan, 0.6) is None
    assert drop_pct(0.6, math.nan) is None


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "margin"),
    [(8, 8, 0.002), (16, 8, 0.002), (4, 8, 0.01), (8, 4, 0.01), (7, 16, 0.01)],
)
def test_default_margin(weight_bits, activation_bits, margin):
    assert default_margin(weight_bits, activation_bits) == margin
