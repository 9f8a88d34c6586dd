"""Rows are the layers by kind and kernel; the total is their sum; a share is a part of the products."""

from __future__ import annotations

from medquanbench.composition import CONVOLUTIONS, KINDS, Composition, Layer, Row

LAYERS = (
    Layer("head", "conv", (1, 1, 1), 4, 40, 8),
    Layer("stem", "conv", (3, 3, 3), 54, 600, 20),
    Layer("attention", "attention product", (), 0, 100, 7),
    Layer("attention", "attention product", (), 0, 60, 5),
    Layer("block", "conv", (3, 3, 3), 27, 100, 10),
    Layer("block", "linear", (), 6, 100, 3),
    Layer("norm", "norm", (), 2, 0, 20),
    Layer("", "other", (), 9, 0, 100),
    Layer("unused", "never run", (), 11, 0, 0),
)
MADE = Composition((4, 4, 4), 1, LAYERS)


def test_rows_stand_in_the_order_of_the_kinds_and_larger_kernels_come_first():
    assert MADE.rows == (
        Row("conv", (3, 3, 3), 2, 81, 700, 30),
        Row("conv", (1, 1, 1), 1, 4, 40, 8),
        Row("linear", (), 1, 6, 100, 3),
        Row("attention product", (), 2, 0, 160, 12),
        Row("norm", (), 1, 2, 0, 20),
        Row("other", (), 0, 9, 0, 100),
        Row("never run", (), 0, 11, 0, 0),
    )
    assert [row.kernel_text for row in MADE.rows[:3]] == ["3x3x3", "1x1x1", ""]


def test_the_total_is_the_sum_of_the_rows():
    total = MADE.total
    for name in ("layers", "parameters", "multiply_adds", "activations"):
        assert getattr(total, name) == sum(getattr(row, name) for row in MADE.rows)
    assert (total.layers, total.parameters, total.multiply_adds, total.activations) == (7, 113, 1000, 173)


def test_shares_are_parts_of_the_products():
    assert MADE.share(*CONVOLUTIONS) == 0.74 and MADE.share("linear") == 0.1
    assert MADE.share(*KINDS) == 1.0
    assert Composition((4, 4, 4), 1, LAYERS[-3:]).share("conv") == 0.0  # nothing is multiplied
