"""absmax: max|X| over the shared axes, by two reductions; NaN and infinity come through."""

import numpy as np
import pytest
import torch

from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.observers.absmax import absmax

AXES = [(1, 2, 3, 4, 5), (1, 3, 4, 5), (2,), (0, 1, 2, 3, 4, 5), (5,), (0, 3)]
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "strided": lambda x: torch.stack([x, x], -1)[..., 1],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shared", AXES, ids=str)
def test_equals_numpy(shared, layout):
    x = layout(torch.randn(2, 3, 4, 5, 6, 7, generator=torch.Generator().manual_seed(0)))
    found = absmax(x, shared)
    assert np.array_equal(found.numpy(), np.abs(x.numpy()).max(axis=shared, keepdims=True))


def test_a_hand_worked_tensor():
    x = torch.tensor([[1.0, -3.0], [2.0, 0.0], [-0.0, 0.0]])
    assert absmax(x, (1,)).tolist() == [[3.0], [2.0], [0.0]]
    assert absmax(x, (0, 1)).tolist() == [[3.0]]
    assert absmax(x, ()).tolist() == x.abs().tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("shared", AXES, ids=str)
def test_what_is_not_finite_comes_through_from_any_position(value, shared):
    for position in range(0, 4 * 64 * 9, 37):
        x = torch.randn(2, 1, 2, 4, 16, 9)
        x.view(-1)[position] = value
        assert not absmax(x, shared).isfinite().all()


def test_the_tensor_is_left_as_it_was():
    x = torch.randn(4, 5)
    before = x.clone()
    OBSERVERS["absmax"](x, (1,))
    assert torch.equal(x, before)
