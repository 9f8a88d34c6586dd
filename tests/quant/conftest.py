"""What the tests of the quantizer share: a seed, and a look at what quantized layers multiply."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from medquanbench.quant import quantize
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import Recipe


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def quantized_inputs() -> Callable[[nn.Module, torch.Tensor, str], dict[str, torch.Tensor]]:
    """(float network, input, recipe) -> path of each layer -> what it multiplied with its weight in one forward."""

    def inputs(network: nn.Module, x: torch.Tensor, recipe: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        quantized, _ = quantize(network, Recipe.parse(recipe))
        for module in quantized.modules():
            if isinstance(module, QuantizedLayer):
                module.layer.register_forward_pre_hook(lambda m, x, path=module.path: found.update({path: x[0]}))
        with torch.inference_mode():
            quantized(x)
        return found

    return inputs
