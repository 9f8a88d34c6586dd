"""Patch merging of MONAI before 1.5: the order of the eight sub-lattices, padding, and MONAI's own keys."""

import pytest
import torch
from monai.networks.nets.swin_unetr import PatchMergingV2

from medquanbench.networks import PatchMergingBefore15


class Concatenated(torch.nn.Module):
    """Stands for the normalisation and keeps what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x


def merged(x: torch.Tensor) -> torch.Tensor:
    """The concatenation (b, d/2, h/2, w/2, 8c) before normalisation and reduction."""
    layer = PatchMergingBefore15(dim=x.shape[-1], spatial_dims=3)
    layer.norm = Concatenated()
    layer(x)
    return layer.norm.seen


def old_slicing(x: torch.Tensor) -> torch.Tensor:
    """A second implementation: one stack of all eight offsets, then the old choice among them."""
    b, d, h, w, c = x.shape
    even = torch.zeros(b, d + d % 2, h + h % 2, w + w % 2, c)
    even[:, :d, :h, :w] = x
    cells = even.unfold(1, 2, 2).unfold(2, 2, 2).unfold(3, 2, 2)  # (b, d/2, h/2, w/2, c, 2, 2, 2)
    return torch.cat([cells[..., int(o[0]), int(o[1]), int(o[2])] for o in OLD_ORDER], dim=-1)


OLD_ORDER = ("000", "100", "010", "001", "101", "010", "001", "111")


def test_the_order_by_hand():
    # Each voxel of a 2x2x2 cell holds its own offset as a number: 100 d + 10 h + w.
    x = torch.tensor([[[0, 1], [10, 11]], [[100, 101], [110, 111]]], dtype=torch.float32)[None, ..., None]
    assert merged(x).flatten().tolist() == [0, 100, 10, 1, 101, 10, 1, 111]


def test_channels_stay_together_within_a_block():
    x = torch.tensor([[[0, 1], [10, 11]], [[100, 101], [110, 111]]], dtype=torch.float32)[None, ..., None]
    pair = torch.cat([x, x + 0.5], dim=-1)
    assert merged(pair).flatten().tolist()[:6] == [0, 0.5, 100, 100.5, 10, 10.5]


def test_odd_sizes_are_padded_at_the_end():
    # One voxel: it is offset 000 of its cell, the seven others are padding.
    assert merged(torch.full((1, 1, 1, 1, 1), 7.0)).flatten().tolist() == [7, 0, 0, 0, 0, 0, 0, 0]
    assert merged(torch.zeros(1, 5, 7, 3, 2)).shape == (1, 3, 4, 2, 16)


@pytest.mark.parametrize("shape", [(4, 6, 2), (5, 7, 3), (1, 2, 9)])
def test_equals_a_second_implementation(shape):
    x = torch.randn(2, *shape, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(merged(x), old_slicing(x))


def test_monais_own_order_has_changed():
    # If MONAI ever goes back, this class has become superfluous and this test says so.
    layer = PatchMergingV2(dim=1, spatial_dims=3)
    layer.norm = Concatenated()
    x = torch.tensor([[[0, 1], [10, 11]], [[100, 101], [110, 111]]], dtype=torch.float32)[None, ..., None]
    layer(x)
    assert sorted(layer.norm.seen.flatten().tolist()) == [0, 1, 10, 11, 100, 101, 110, 111]


def test_keys_and_two_dimensional_input_are_monais():
    ours, monais = PatchMergingBefore15(dim=4, spatial_dims=2), PatchMergingV2(dim=4, spatial_dims=2)
    ours.load_state_dict(monais.state_dict())
    x = torch.randn(1, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), monais(x))
