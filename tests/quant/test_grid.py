"""The integer grid: what is on it, where halves go, and that it is symmetric."""

import pytest
import torch

from medquanbench.quant.grid import IntegerGrid


@pytest.mark.parametrize(("bits", "largest"), [(2, 1), (3, 3), (4, 7), (5, 15), (6, 31), (7, 63), (8, 127)])
def test_largest_integer(bits, largest):
    assert IntegerGrid(bits).largest == largest


def test_halves_go_to_the_even_neighbour():
    scaled = torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, -3.5])
    assert IntegerGrid(4).round_(scaled).tolist() == [0, 2, 2, 4, 0, -2, -2, -4]


def test_the_clamp_is_symmetric():
    # Two's complement would keep -8: the grid has 15 values, not 16.
    assert IntegerGrid(4).round_(torch.tensor([-100.0, -8.0, -7.6, 7.6, 8.0, 100.0])).tolist() == [-7, -7, -7, 7, 7, 7]


@pytest.mark.parametrize("bits", range(2, 9))
def test_number_of_values(bits):
    grid = IntegerGrid(bits)
    assert len(grid.round_(torch.linspace(-300, 300, 100_001)).unique()) == 2**bits - 1
