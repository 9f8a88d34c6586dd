"""Workspace: memory is used again only when nobody can see it."""

import gc
import weakref

import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.workspace import Workspace
from medquanbench.values import Recipe


def lend(workspace: Workspace, *shape: int) -> torch.Tensor:
    return workspace.like(torch.empty(shape))


def test_the_same_memory_is_lent_again_to_whatever_fits():
    workspace = Workspace()
    first = lend(workspace, 4, 6).data_ptr()
    assert [lend(workspace, *shape).data_ptr() for shape in ((4, 6), (2, 3), (24,), (1, 1, 5))] == [first] * 4
    assert first % 64 == 0  # aligned as torch's own memory


def test_more_is_found_where_it_is_too_small():
    workspace = Workspace()
    lend(workspace, 3)
    larger = lend(workspace, 1000).fill_(2.0)
    assert larger.shape == (1000,) and larger.sum() == 2000


@pytest.mark.parametrize(
    "hold",
    [lambda x: x, lambda x: x[0], lambda x: x.detach(), lambda x: x.numpy(), lambda x: x.untyped_storage()],
    ids=["itself", "view", "detached", "array", "storage"],
)
def test_what_somebody_holds_is_not_lent_again(hold):
    workspace = Workspace()
    tensor = lend(workspace, 4, 6).fill_(1.0)
    address, held = tensor.data_ptr(), hold(tensor)
    del tensor
    other = lend(workspace, 4, 6)
    assert other.data_ptr() != address
    del held
    del other
    assert lend(workspace, 4, 6).data_ptr() != address  # it went with who held it


def test_what_autograd_holds_is_not_lent_again():
    workspace, weight = Workspace(), torch.ones(6, requires_grad=True)
    y = (lend(workspace, 6).fill_(3.0) * weight).sum()
    lend(workspace, 6).fill_(-1.0)
    y.backward()
    assert weight.grad.tolist() == [3.0] * 6


def test_only_what_lies_in_memory_in_order():
    workspace = Workspace()
    assert workspace.like(torch.empty(4, 6).t()) is None
    assert workspace.like(torch.empty(1, 2, 3, 3, 3).to(memory_format=torch.channels_last_3d)) is None
    assert workspace.like(torch.empty(4, 6, device="meta")) is None
    assert workspace.like(torch.empty(4, 6, dtype=torch.float64)).dtype == torch.float32


def test_clear_frees_the_memory():
    workspace = Workspace()
    lend(workspace, 10)
    memory = weakref.ref(workspace._rooms[0][0])
    assert memory() is not None
    workspace.clear()
    gc.collect()
    assert memory() is None


def network() -> nn.Module:
    return nn.Sequential(*(nn.Conv3d(2, 2, 3, padding=1) for _ in range(4))).eval()


def watch(quantized: nn.Module, look) -> None:
    for module in quantized.modules():
        if isinstance(module, QuantizedLayer):
            module.layer.register_forward_pre_hook(lambda m, x: look(x[0]) and None)


def test_layers_of_a_forward_share_memory_and_nothing_stays_behind():
    quantized, _ = quantize(network(), Recipe.parse("w4a4 per-tensor"))
    addresses = []
    watch(quantized, lambda x: addresses.append(x.data_ptr()))
    with torch.inference_mode():
        quantized(torch.randn(1, 2, 4, 4, 4))
    assert len(addresses) == 4 and len(set(addresses)) == 1
    assert not quantized[0].batch._workspace._rooms
    with pytest.raises(RuntimeError):
        quantized(torch.randn(1, 3, 4, 4, 4))  # wrong number of channels
    assert not quantized[0].batch._workspace._rooms


@pytest.mark.parametrize("grad", [True, False])
def test_whoever_watches_a_layer_may_keep_what_is_seen(grad):
    quantized, _ = quantize(network(), Recipe.parse("w4a4 per-tensor"))
    kept, copies = [], []
    watch(quantized, lambda x: (kept.append(x), copies.append(x.clone())))
    with torch.set_grad_enabled(grad):
        quantized(torch.randn(1, 2, 4, 4, 4))
    assert all(torch.equal(a, b) for a, b in zip(kept, copies)) and len(kept) == 4
