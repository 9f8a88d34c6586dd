"""Scale formats against the formulas of their specifications, on values that a person can check."""

import math

import pytest
import torch

from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.grids.fixed_point import MX_INT8
from medquanbench.quant.grids.minifloat import E2M1, E2M3, E3M2, E4M3, E5M2
from medquanbench.quant.scales import E8M0, FLOAT32, TWO_LEVEL

GRIDS = [MX_INT8, E2M1, E2M3, E3M2, E4M3, E5M2]
SCALES = [FLOAT32, E8M0, TWO_LEVEL]
named = pytest.mark.parametrize("scales", SCALES, ids=lambda scales: scales.name)


def scale(scales, largest: float, grid=E2M1, tensor_largest: float | None = None) -> float:
    of_tensor = largest if tensor_largest is None else tensor_largest
    return float(scales.scale(torch.tensor([largest]), grid, torch.tensor(of_tensor)))


def test_bits():
    assert [scales.bits for scales in SCALES] == [32, 8, 8]


def test_float32_reaches_the_end_of_the_grid():
    assert scale(FLOAT32, 14.0, IntegerGrid(4)) == 2.0
    assert scale(FLOAT32, 3.0) == 0.5


@pytest.mark.parametrize(("grid", "emax"), list(zip(GRIDS, [0, 2, 2, 4, 8, 15])), ids=lambda value: str(value)[:9])
def test_e8m0_has_the_largest_exponents_of_the_specification(grid, emax):
    """A block whose largest magnitude is 1 has the scale 2^-emax_elem (OCP MX v1.0, tables 2 to 6)."""
    assert scale(E8M0, 1.0, grid) == 2.0**-emax


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(4.0, 1.0), (5.9, 1.0), (7.99, 1.0), (8.0, 2.0), (1e-3, 2.0**-12), (8 - 2.0**-21, 1.0)],
)
def test_e8m0_by_hand(largest, expected):
    assert scale(E8M0, largest) == expected


def test_e8m0_against_log2_in_float64():
    largest = torch.exp2(torch.linspace(-120, 127, 9999)) * (1 + torch.rand(9999))
    wanted = torch.exp2(torch.floor(torch.log2(largest.double())) - 2)
    assert torch.equal(E8M0.scale(largest.clone(), E2M1, largest.max()).double(), wanted)


def test_e8m0_ends_at_the_smallest_code_and_never_reaches_the_largest():
    assert scale(E8M0, 1e-45) == scale(E8M0, 2.0**-126) == scale(E8M0, 2.0**-125) == 2.0**-127
    assert scale(E8M0, 2.0**-124) == 2.0**-126
    assert scale(E8M0, torch.finfo(torch.float32).max, MX_INT8) == 2.0**127


def test_two_levels_by_hand():
    """A tensor whose largest magnitude is 2688 = 448 * 6 has the scale 1 of its own; blocks get E4M3 scales."""
    largest = torch.tensor([2688.0, 6.0, 7.0, 6 * 2.0**-9, 6 * 1.4 * 2.0**-9, 6 * 0.1 * 2.0**-9, 0.0])
    expected = [448.0, 1.0, 1.125, 2.0**-9, 2.0**-9, 2.0**-9, 2.0**-9]  # 7/6 lies nearer 1.125 than 1.25
    assert TWO_LEVEL.scale(largest, E2M1, torch.tensor(2688.0)).tolist() == expected


@pytest.mark.parametrize("factor", [2.0**-30, 0.5, 2.0**40])
@named
def test_scales_grow_with_the_tensor(scales, factor):
    """Powers of two are exact in every format."""
    largest = torch.rand(100) + 0.01
    one = scales.scale(largest.clone(), E2M1, largest.max())
    other = scales.scale(largest * factor, E2M1, largest.max() * factor)
    assert torch.equal(one * factor, other)


@named
def test_zeros_have_a_positive_scale(scales):
    assert scale(scales, 0.0) > 0
    assert scale(scales, 0.0, tensor_largest=3.0) > 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@named
def test_nan_and_infinity_come_through(scales, bad):
    assert not math.isfinite(scale(scales, bad))


@named
def test_one_largest_for_each_sample(scales):
    """tensor_largest broadcasts: two samples in one call are the two calls."""
    largest = torch.rand(2, 5, 1) + 0.1
    whole = largest.amax((1, 2), keepdim=True)
    both = scales.scale(largest.clone(), E2M1, whole)
    assert torch.equal(both[1], scales.scale(largest[1].clone(), E2M1, whole[1]))
    assert both.shape == largest.shape
