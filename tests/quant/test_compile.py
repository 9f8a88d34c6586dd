"""torch.compile of a quantized network: one graph, the same grids bit for bit, and NaN still names the layer."""

import os
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from medquanbench.quant import audit, quantize
from medquanbench.quant.fake import fake_quantize, scale_of
from medquanbench.quant.granularity import granularity
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.spec import TensorSpec
from medquanbench.values import Recipe, RunError, State
from tests.quant.dynamic import DYNAMIC

needs_compiler = pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler here")


@pytest.fixture(autouse=True)
def forgotten():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.LeakyReLU(), nn.Conv3d(4, 4, 1),
        nn.ConvTranspose3d(4, 2, 2, stride=2), nn.Linear(8, 3),
    ).eval()  # fmt: skip


def compiled(quantized: nn.Module) -> nn.Module:
    # All of it is traced, as with any backend; nothing is generated, so that this takes no compiler and no time.
    return torch.compile(quantized, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("recipe", [*(f"w4a4 {policy}" for policy in DYNAMIC), "w8a4 per-channel input(8)"])
def test_a_compiled_network_is_one_graph_and_computes_the_same(recipe):
    quantized, receipt = quantize(network(), Recipe.parse(recipe))
    x = torch.randn(2, 1, 4, 4, 4)
    with torch.inference_mode():
        expected = quantized(x)
        before = audit(quantized, receipt)
        fast = compiled(quantized)  # fullgraph: a break would raise
        assert torch.allclose(fast(x), expected, atol=1e-6)
        other = torch.randn(2, 1, 4, 4, 4)
        assert torch.allclose(fast(other), quantized(other), atol=1e-6)
    assert audit(quantized, receipt) == before and before.count(State.QUANTIZED) == 4
    assert not quantized[0].batch.is_open


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_names_the_layer(value):
    float_network = network()
    float_network[3].bias.data[1] = value
    quantized, _ = quantize(float_network, Recipe.parse("w4a4 per-channel"))
    with torch.inference_mode(), pytest.raises(RunError, match="layer '4': NaN or infinity"):
        compiled(quantized)(torch.randn(1, 1, 4, 4, 4))


def test_samples_of_a_compiled_batch_have_their_own_scales():
    quantized, _ = quantize(network().double(), Recipe.parse("w4a4 per-tensor"))
    x = torch.randn(3, 1, 4, 4, 4, dtype=torch.float64) * torch.tensor([1.0, 30.0, 0.2]).reshape(3, 1, 1, 1, 1)
    with torch.inference_mode():
        fast = compiled(quantized)
        whole = fast(x)
        for i in range(3):
            assert torch.allclose(fast(x[i : i + 1]), whole[i : i + 1], rtol=0, atol=1e-9)


def test_what_reads_the_image_must_be_known_before():
    quantized, _ = quantize(network(), Recipe.parse("w4a4 per-tensor input(8)"))
    with torch.inference_mode(), pytest.raises(Exception, match="layer '0' cannot be compiled: run the network once"):
        compiled(quantized)(torch.randn(1, 1, 4, 4, 4))


@needs_compiler
@pytest.mark.parametrize("axes", ["", "a", "c"])
def test_generated_code_divides_and_rounds_as_eager_does(axes):
    """The compiler's own code, on values where multiplying by 1/S would give another integer."""
    spec = TensorSpec(IntegerGrid(4), granularity("any", axes), OBSERVERS["absmax"])
    step = torch.tensor(1.0) / 7
    halves = (torch.randint(-7, 7, (8, 16, 4096)) + 0.5) / 7
    x = torch.where(torch.rand(halves.shape) < 0.5, halves, torch.rand(halves.shape) * 2 - 1)
    x[:, 0] = 1.0  # so S is 1/7 in every group
    x[1, 1, :10] = torch.linspace(-1e-40, 1e-40, 10)
    scale = scale_of(x, ("a", "b", "c"), spec)
    assert (scale == step).all()
    assert ((x * (1 / scale)).round() != (x / scale).round()).any()  # so that the test could fail

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return scale_of(x, ("a", "b", "c"), spec), fake_quantize(x, ("a", "b", "c"), spec)

    with torch.inference_mode():
        for found, expected in zip(torch.compile(both, fullgraph=True)(x), both(x)):
            assert np.array_equal(found.numpy().view(np.int32), expected.numpy().view(np.int32))
