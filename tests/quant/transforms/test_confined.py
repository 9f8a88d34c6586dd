"""A transform that ``on=GLOB`` confines acts on the layers that the glob names, and on no other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench.quant import TRANSFORMS, quantize
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import Recipe, RequestError


class Two(nn.Module):
    """Two convolutions; the second has a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(8, 8, 3, padding=1), nn.Conv3d(8, 8, 3, padding=1)
        self.again = self.second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.cat(torch.tanh(self.first(x)).split(4, 1), 1))


def quantized(text: str, network: nn.Module, x: torch.Tensor):
    recipe = Recipe.parse(f"w4a4 per-tensor {text}")
    reads = any(TRANSFORMS[term.name].needs_statistics for term in recipe.transforms)
    made, receipt = quantize(network.eval(), recipe, [x] if reads else None)
    layers = {module.path: module for module in made.modules() if isinstance(module, QuantizedLayer)}
    return made, layers, {line.path: line.transforms for line in receipt.lines}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("glob", ["second", "again", "sec*"])
def test_other_layers_are_as_without_it(name, glob):
    network, x = Two(), torch.randn(1, 8, 5, 5, 5)
    size = "size=4" * (name == "groups")
    _, plain, _ = quantized("", network, x)
    _, confined, told = quantized(f"{name}({','.join(filter(None, (size, f'on={glob}')))})", network, x)
    _, everywhere, _ = quantized(f"{name}({size})" if size else name, network, x)
    assert torch.equal(confined["first"].layer.weight, plain["first"].layer.weight)
    assert torch.equal(confined["second"].layer.weight, everywhere["second"].layer.weight)
    for attribute in ("sections", "asymmetric"):
        assert getattr(confined["first"], attribute) == getattr(plain["first"], attribute)
        assert getattr(confined["second"], attribute) == getattr(everywhere["second"], attribute)
    assert not confined["first"].steps and len(confined["second"].steps) == len(everywhere["second"].steps)
    assert "not done: it is not among" in told["first"][0] and "not done" not in told["second"][0]


def test_a_transform_may_stand_twice_with_other_layers():
    network, x = Two(), torch.randn(1, 8, 5, 5, 5)
    _, layers, _ = quantized("svd(rank=1,on=first)+svd(rank=2,on=second)", network, x)
    assert [layers[path].steps[0].first.out_channels for path in ("first", "second")] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("svd(on=third)", r"'?svd\(on=third\)'? matches none of 2 layers; they are first, second"),
        ("clip(on=first)", "clip rounds all weights; transforms alone take on=GLOB"),
        ("svd(rank=8,on=first)", "rank 8 is not below"),
        ("svd(onn=first)", "no parameter 'onn'"),
    ],
)
def test_what_cannot_be_confined_is_refused(text, words):
    with pytest.raises(RequestError, match=words):
        quantize(Two(), Recipe.parse(f"w4a4 per-tensor {text}"))
