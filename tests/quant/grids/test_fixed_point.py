"""The INT8 element of MX: multiples of 1/64 up to 127/64, symmetric."""

import torch

from medquanbench.quant.grids.fixed_point import MX_INT8, FixedPoint


def test_values_of_the_specification():
    values = MX_INT8.round_(torch.linspace(-3, 3, 200_001)).unique()
    assert torch.equal(values, torch.arange(-127, 128) / 64)
    assert (MX_INT8.largest, MX_INT8.bits, MX_INT8.name) == (1.984375, 8, "int8")


def test_minus_two_is_left_unused():
    assert MX_INT8.round_(torch.tensor([-2.0, -5.0, 1.99, 7.0])).tolist() == [-1.984375, -1.984375, 1.984375, 1.984375]


def test_halves_go_to_the_even_multiple():
    assert FixedPoint(4, 1).round_(torch.tensor([0.25, 0.75, -0.25, 1.25])).tolist() == [0.0, 1.0, 0.0, 1.0]


def test_it_is_done_in_place():
    x = torch.tensor([0.3, torch.nan])
    assert MX_INT8.round_(x) is x and x[0] == 19 / 64 and x[1].isnan()
