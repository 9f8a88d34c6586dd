"""Minifloats against enumerated value sets, against torch's own casts, and values worked out by hand."""

from itertools import product

import pytest
import torch

from medquanbench.quant.grids.minifloat import E2M1, E2M3, E3M2, E4M3, E5M2, Minifloat

ALL = [E2M1, E2M3, E3M2, E4M3, E5M2]
named = pytest.mark.parametrize("grid", ALL, ids=lambda grid: grid.name)


def magnitudes(grid: Minifloat) -> torch.Tensor:
    """Every finite magnitude from its code, as the specifications write it: 2^(E-bias) 1.M, and 2^(1-bias) 0.M."""
    bias, ulp = 2 ** (grid.exponent_bits - 1) - 1, 2.0**-grid.mantissa_bits
    codes = product(range(2**grid.exponent_bits), range(2**grid.mantissa_bits))
    values = [2.0 ** (max(e, 1) - bias) * ((e > 0) + m * ulp) for e, m in codes]
    return torch.tensor([value for value in values if value <= grid.largest])


@pytest.mark.parametrize(
    ("grid", "bits", "largest", "smallest_normal", "smallest", "count"),
    [
        # The columns of the table of OCP MX v1.0, section 5.3; counts are finite codes of one sign, zero included.
        (E2M1, 4, 6.0, 1.0, 0.5, 8),
        (E2M3, 6, 7.5, 1.0, 0.125, 32),
        (E3M2, 6, 28.0, 0.25, 0.0625, 32),
        (E4M3, 8, 448.0, 2.0**-6, 2.0**-9, 127),
        (E5M2, 8, 57344.0, 2.0**-14, 2.0**-16, 124),
    ],
    ids=lambda value: value.name if isinstance(value, Minifloat) else "",
)
def test_table_of_the_specification(grid, bits, largest, smallest_normal, smallest, count):
    found = (grid.bits, grid.largest, grid.smallest_normal, grid.smallest, len(magnitudes(grid)))
    assert found == (bits, largest, smallest_normal, smallest, count)
    assert magnitudes(grid).max() == largest and magnitudes(grid)[1] == smallest


def test_e2m1_is_the_eight_values_that_are_always_quoted():
    assert magnitudes(E2M1).tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@named
def test_values_of_the_grid_stay(grid):
    values = torch.cat([magnitudes(grid), -magnitudes(grid)])
    assert torch.equal(grid.round_(values.clone()), values)


@named
def test_nearest_of_all_values_and_the_even_one_at_a_tie(grid):
    """Between each two neighbours: just below the midpoint, on it, just above it."""
    low, high = magnitudes(grid)[:-1], magnitudes(grid)[1:]
    middle = (low + high) / 2  # exact: neighbours differ in the last of at most four bits
    even = torch.where(
        torch.arange(len(low)) % 2 == 0, low, high
    )  # codes count up, and an even code is an even mantissa
    below, above = (torch.nextafter(middle, torch.tensor(end)) for end in (0.0, torch.inf))
    for sign in (1, -1):
        assert torch.equal(grid.round_(sign * below), sign * low)
        assert torch.equal(grid.round_(sign * middle), sign * even)
        assert torch.equal(grid.round_(sign * above), sign * high)


@pytest.mark.parametrize(
    ("grid", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)], ids=["e4m3", "e5m2"]
)
def test_torch_casts_every_half_precision_value_alike(grid, dtype):
    """A second implementation, on all 2^16 bfloat16 and all float16 values that the grid does not saturate."""
    codes = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    for half in (torch.bfloat16, torch.float16):
        values = codes.view(half).float()
        values = values[values.abs() <= grid.largest]
        assert len(values) > 20_000
        assert torch.equal(grid.round_(values.clone()), values.to(dtype).float())


@pytest.mark.parametrize(
    ("grid", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)], ids=["e4m3", "e5m2"]
)
def test_torch_holds_the_same_values(grid, dtype):
    every = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype).float()
    assert torch.equal(every[every.isfinite() & (every >= 0) & ~every.signbit()].sort()[0], magnitudes(grid))


@named
def test_beyond_the_largest_is_the_largest(grid):
    far = torch.tensor([grid.largest * 1.01, 1e30, torch.inf])
    assert grid.round_(far.clone()).tolist() == [grid.largest] * 3
    assert grid.round_(-far).tolist() == [-grid.largest] * 3


@named
def test_nan_stays_and_what_is_tiny_becomes_zero(grid):
    x = torch.tensor([torch.nan, 1e-40, -1e-45, 0.0, grid.smallest / 2])  # the last is a tie, and zero is even
    rounded = grid.round_(x)
    assert rounded[0].isnan() and not rounded[1:].any()


def test_it_is_done_in_place_also_in_a_view_that_is_not_contiguous():
    whole = torch.rand(6, 5) * 8
    wanted = E2M1.round_(whole.t().clone(memory_format=torch.contiguous_format)).t()
    view = whole.t()
    assert E2M1.round_(view).data_ptr() == whole.data_ptr() and torch.equal(whole, wanted)
