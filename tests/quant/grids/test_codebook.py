"""A codebook moves values to the nearest of its levels, and a midpoint to the smaller magnitude."""

import numpy as np
import pytest
import torch

from medquanbench.quant.formats.benford import log_uniform
from medquanbench.quant.formats.nf4 import NF4
from medquanbench.quant.grids.codebook import Codebook

SMALL = Codebook("small", 2, (-1.0, 0.0, 0.5, 1.0))


def test_by_hand():
    x = torch.tensor([-9.0, -0.51, -0.5, -0.49, 0.24, 0.25, 0.26, 0.75, 0.76, 9.0])
    assert SMALL.round_(x).tolist() == [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("grid", [NF4.grid, log_uniform(3), log_uniform(8), SMALL], ids=lambda grid: grid.name)
def test_no_level_is_nearer(grid):
    """Against all distances in float64, on random values and on all float32 around each midpoint."""
    levels = np.array(grid.levels)
    middle = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)
    around = [middle, np.nextafter(middle, np.float32(2)), np.nextafter(middle, np.float32(-2))]
    x = np.concatenate([*around, np.random.default_rng(0).uniform(-1.1, 1.1, 5000).astype(np.float32)])
    distance = np.abs(x.astype(np.float64)[:, None] - levels)
    # The smaller magnitude first among the nearest.
    order = np.lexsort((np.broadcast_to(np.abs(levels), distance.shape), distance))
    assert np.array_equal(grid.round_(torch.tensor(x)).double().numpy(), levels[order[:, 0]])


@pytest.mark.parametrize("grid", [NF4.grid, log_uniform(4)], ids=lambda grid: grid.name)
def test_levels_stay(grid):
    levels = torch.tensor(grid.levels)
    assert torch.equal(grid.round_(levels.clone()), levels)


def test_it_is_done_in_place_and_nan_stays():
    x = torch.tensor([0.3, torch.nan])
    assert SMALL.round_(x) is x and x[0] == 0.5 and x[1].isnan()


def test_equal_levels_are_equal_grids():
    assert SMALL == Codebook("small", 2, (-1, 0, 0.5, 1)) and hash(SMALL) == hash(Codebook("small", 2, SMALL.levels))
