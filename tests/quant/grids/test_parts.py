"""Parts are views that together are the tensor, in its order."""

import pytest
import torch

from medquanbench.quant.formats.nf4 import NF4
from medquanbench.quant.grids.minifloat import E2M1
from medquanbench.quant.grids.parts import parts_of


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 70_000), (2**16,), (2**16 + 1,)])
def test_every_value_is_in_one_part(shape):
    tensor = torch.zeros(shape)
    for part in parts_of(tensor):
        part += 1
    assert (tensor == 1).all()
    assert sum(part.numel() for part in parts_of(tensor)) == tensor.numel()


def test_a_tensor_that_does_not_lie_in_one_piece_is_one_part():
    tensor = torch.zeros(300, 400).t()
    assert [part.data_ptr() for part in parts_of(tensor)] == [tensor.data_ptr()]


@pytest.mark.parametrize("grid", [E2M1, NF4.grid], ids=lambda grid: grid.name)
def test_rounding_does_not_depend_on_parts(grid):
    values = torch.randn(400, 500)
    assert torch.equal(grid.round_(values.clone()), grid.round_(values.t().clone().t()))
