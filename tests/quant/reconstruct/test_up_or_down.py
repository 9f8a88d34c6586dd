"""A weight that goes up or down: which neighbours, where it begins, and the gradient that it passes on."""

from __future__ import annotations

from math import exp

import pytest
import torch

from medquanbench.quant.formats import FORMATS
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.reconstruct.up_or_down import MARGIN, UpOrDown, inverse, levels_of, rectified_sigmoid
from medquanbench.quant.rounding import nearest

GRIDS = {f"int{bits}": IntegerGrid(bits) for bits in range(2, 9)} | {name: one.grid for name, one in FORMATS.items()}
INT3 = IntegerGrid(3)


def by_hand(v: float) -> float:
    """AdaRound's equation 23."""
    return min(1.0, max(0.0, 1 / (1 + exp(-v)) * 1.2 - 0.1))


def made(wanted: list[float], start: list[float], scale: float = 0.5) -> UpOrDown:
    rows, begin = (torch.tensor([[values]]) * scale for values in (wanted, start))
    return UpOrDown(rows, begin, torch.full((1, 1, 1), scale), INT3)


@pytest.mark.parametrize("name", GRIDS)
def test_levels_are_all_values_of_the_grid(name):
    grid = GRIDS[name]
    levels = levels_of(grid)
    assert torch.equal(grid.round_(levels.clone()), levels) and float(levels.abs().max()) == pytest.approx(grid.largest)
    random = torch.randn(20000) * grid.largest / 3
    assert set(grid.round_(random).tolist()) <= set(levels.tolist())
    if name.startswith("int"):
        assert levels.tolist() == list(range(-int(grid.largest), int(grid.largest) + 1))
    elif name in ("mxfp4", "nvfp4"):
        assert levels.tolist() == sorted({s * v for s in (-1, 1) for v in (0, 0.5, 1, 1.5, 2, 3, 4, 6)})


def test_the_rectified_sigmoid_is_the_papers():
    for v in (-9.0, -2.0, -0.3, 0.0, 0.7, 2.5, 9.0):
        assert float(rectified_sigmoid(torch.tensor(v))) == pytest.approx(by_hand(v), abs=1e-6)
    shares = torch.linspace(0, 1, 11)
    torch.testing.assert_close(rectified_sigmoid(inverse(shares)), shares)


@pytest.mark.parametrize("name", GRIDS)
def test_it_begins_with_what_it_was_given(name):
    grid, rows = GRIDS[name], torch.randn(2, 3, 40)
    scale = rows.abs().amax(-1, keepdim=True) / grid.largest * torch.tensor([0.6, 1.0, 1.3])[:, None]
    start = nearest(rows, scale, grid)
    assert torch.equal(UpOrDown(rows, start, scale, grid)(), start)
    levels = levels_of(grid)
    other = levels[torch.randint(len(levels), rows.shape)] * scale  # anywhere on the grid, as GPTQ may leave values
    assert torch.equal(UpOrDown(rows, other, scale, grid)(), other)


def test_neighbours_are_those_around_the_float_value_or_beside_the_start():
    one = made([1.2, 1.2, 1.2, 1.2, -0.4, 9.0, -9.0], [1, 2, 3, 0, 0, 3, -3])
    assert one.lower.flatten().tolist() == [1, 1, 2, 0, -1, 2, -3]
    assert one.upper.flatten().tolist() == [2, 2, 3, 1, 0, 3, -2]
    shares = rectified_sigmoid(one.v).flatten().tolist()
    half = (0.5 + MARGIN, 0.5 - MARGIN)  # where the start is not the nearest value
    assert shares == pytest.approx([0.2, half[0], half[0], half[1], 0.6, 1.0, 0.0], abs=1e-6)


def test_the_gradient_is_that_of_h_and_a_step_along_it_turns_a_value():
    one = made([1.4, -1.6], [1, -2])
    torch.autograd.backward(one().sum())
    v = one.v.detach().flatten().tolist()
    slopes = [0.5 * (by_hand(x + 1e-3) - by_hand(x - 1e-3)) / 2e-3 for x in v]
    assert one.v.grad.flatten().tolist() == pytest.approx(slopes, rel=1e-3)
    with torch.no_grad():
        one.v += 10 * one.v.grad
    assert one().detach().flatten().tolist() == [1.0, -0.5]
