"""A convolution in slabs answers as a whole one does."""

import pytest
import torch
from torch import nn

from medquanbench.quant import quantize, slabs
from medquanbench.quant.kind import channel_axis
from medquanbench.quant.layers import kind_of
from medquanbench.values import Recipe

CUT = {
    "same": nn.Conv3d(3, 5, 3, padding=1),
    "unpadded": nn.Conv3d(3, 5, 3, bias=False),
    "strided": nn.Conv3d(3, 5, 3, padding=1, stride=2),
    "patches": nn.Conv3d(3, 5, 2, stride=2),
    "dilated": nn.Conv3d(3, 5, 3, padding=2, dilation=2),
    "uneven": nn.Conv3d(3, 5, (3, 1, 5), padding=(1, 0, 2), stride=(2, 1, 1)),
    "grouped": nn.Conv3d(6, 4, 3, padding=1, groups=2),
    "flat": nn.Conv2d(3, 5, 3, padding="same"),
    "line": nn.Conv1d(3, 5, 5, padding=2),
    "pointwise": nn.Conv3d(3, 5, 1),
}
WHOLE = {
    "padded widely": nn.Conv3d(3, 5, 1, padding=2),
    "reflected": nn.Conv3d(3, 5, 3, padding=1, padding_mode="reflect"),
    "uneven on two sides": nn.Conv3d(3, 5, 2, padding="same"),
    "transposed": nn.ConvTranspose3d(3, 5, 2, stride=2),
    "linear": nn.Linear(9, 5),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", [*CUT, *WHOLE])
@pytest.mark.parametrize("rows", [1, 3])
def test_slabs_are_the_whole(name, rows, monkeypatch):
    layer = (CUT | WHOLE)[name]
    kind = kind_of(layer)
    x = torch.randn(2, kind.inputs, *(11, 9, 8)[: kind.spatial_rank]) if kind.spatial_rank else torch.randn(2, 4, 9)
    with torch.no_grad():
        expected = layer(x)
        monkeypatch.setattr(slabs, "SLAB_BYTES", rows * 4 * expected[:, :, 0].numel())
        assert slabs._rows(layer, kind, x) == (rows if name in CUT else None)
        torch.testing.assert_close(slabs.in_slabs(layer, kind, x), expected, rtol=0, atol=1e-5)
        factors = (torch.rand(x.shape[channel_axis(kind)]) + 0.5).reshape(-1, *[1] * kind.spatial_rank)
        expected = layer(x / factors)
        torch.testing.assert_close(slabs.in_slabs(layer, kind, x, factors), expected, rtol=0, atol=1e-5)


def test_a_small_answer_is_computed_whole():
    layer = CUT["same"]
    assert slabs._rows(layer, kind_of(layer), torch.randn(1, 3, 20, 20, 20)) is None


def test_calibration_computes_in_slabs_and_nothing_else_does(monkeypatch):
    called = []
    monkeypatch.setattr(
        "medquanbench.quant.quantized.in_slabs", lambda layer, kind, x, divisor: called.append(kind) or layer(x)
    )
    x = torch.randn(1, 3, 5, 5, 5)
    made, _ = quantize(CUT["same"], Recipe.parse("w4a4 engine"), [x])
    assert len(called) == 2  # the range, then how values are spread in it
    made(x)
    assert len(called) == 2
