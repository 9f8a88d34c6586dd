"""The law of transforms: with nothing quantized the answer is that of the float network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medquanbench import shelf
from medquanbench.bundle import open_bundle
from medquanbench.quant import TRANSFORMS, audit, needs_calibration, quantize
from medquanbench.values import Recipe, RequestError

LAYERS = {
    "conv": (nn.Conv3d(8, 6, 3, padding=1, stride=2), (2, 8, 6, 5, 7)),
    "dilated, reflected": (nn.Conv3d(8, 6, 3, padding=2, dilation=2, padding_mode="reflect"), (1, 8, 6, 7, 6)),
    "padded to the same": (nn.Conv3d(8, 6, (1, 3, 3), padding="same", bias=False), (1, 8, 4, 5, 6)),
    "flat": (nn.Conv2d(16, 8, (1, 3)), (2, 16, 4, 9)),
    "line": (nn.Conv1d(16, 8, 3), (2, 16, 9)),
    "pointwise": (nn.Conv3d(64, 40, 1), (1, 64, 3, 3, 3)),
    "odd": (nn.Conv3d(48, 9, 3), (1, 48, 4, 4, 4)),
    "grouped": (nn.Conv3d(16, 24, 3, padding=1, groups=2), (1, 16, 4, 4, 4)),
    "depthwise": (nn.Conv3d(8, 8, 3, padding=1, groups=8), (1, 8, 4, 4, 4)),
    "transposed": (nn.ConvTranspose3d(16, 10, 2, stride=2), (1, 16, 3, 4, 3)),
    "transposed, uneven": (nn.ConvTranspose3d(16, 8, 3, stride=2, padding=1, output_padding=1), (1, 16, 3, 4, 3)),
    "transposed grouped": (nn.ConvTranspose3d(16, 12, 3, stride=2, groups=2), (1, 16, 3, 3, 3)),
    "linear": (nn.Linear(24, 18), (2, 5, 24)),
    "linear, one vector": (nn.Linear(24, 18), (24,)),
}
TEXTS = (
    "smooth", "smooth(alpha=0)", "smooth(alpha=1)", "svd", "svd(rank=1)", "hadamard", "hadamard(block=8)",
    "smooth+svd", "svd+smooth", "hadamard+svd+smooth(alpha=0.8)", "smooth+smooth+hadamard", "svd(rank=2)+svd(rank=1)",
)  # fmt: skip
# A depthwise layer has one input channel and rank 1 in each group: there, only smooth has something to do.
CASES = [(name, text) for name in LAYERS for text in TEXTS if name != "depthwise" or set(text) <= set("smooth(alp=01)")]


def spread(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Noise with channels of very different magnitude, as in real activations."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    axis = 0 if len(shape) == 1 else 1
    scale = torch.logspace(-2, 2, shape[axis], dtype=torch.float64)
    return (x * scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])).float()


def transformed(network: nn.Module, text: str, x: torch.Tensor) -> tuple[nn.Module, list[str]]:
    recipe = Recipe.parse(f"w16a16 per-channel {text}")
    calibration = [x, x * 0.5] if needs_calibration(recipe) else None
    made, receipt = quantize(network, recipe, calibration)
    return made, [line for found in receipt.lines for line in found.transforms]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_a_layer_answers_as_before(name, text):
    layer, shape = LAYERS[name]
    layer, x = layer.eval(), spread(shape)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    made, told = transformed(layer, text, x)
    assert len(told) == len(text.split("+")) and not any("not done" in line for line in told)
    with torch.no_grad():
        expected, found = layer(x), made(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("text", ["smooth", "svd", "hadamard"])
def test_an_output_size_reaches_the_branches(text):
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose3d(16, 10, 3, stride=2, padding=1)

        def forward(self, x):
            return self.up(x, output_size=[6, 7, 6])

    x, network = spread((1, 16, 3, 4, 3)), Sized().eval()
    made, _ = transformed(network, text, x)
    with torch.no_grad():
        expected, found = network(x), made(x)
    assert found.shape == expected.shape == (1, 10, 6, 7, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("text", ["smooth+svd", "hadamard+svd"])
@pytest.mark.parametrize("name", shelf.names(shelf.BUNDLES))
def test_every_bundle_answers_as_before(name, text):
    bundle = open_bundle(name)
    network = bundle.network()
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((1, bundle.channels, *bundle.window.size), generator=generator)
    made, told = transformed(network, text, x)
    assert any("not done" not in line for line in told)
    with torch.inference_mode():
        expected, found = network(x), made(x)
    # MedFormer's map codes are near-equal averages that an instance norm stretches: it amplifies rounding.
    near = 2e-2 if name == "medformer" else 1e-3
    assert float((found - expected).abs().max()) < near * float(expected.abs().max())
    assert float((found.argmax(1) == expected.argmax(1)).float().mean()) > 0.999


def test_every_transform_is_under_the_law():
    only_grids = {
        "branches",
        "groups",
        "asymmetric",
    }  # they touch neither weight nor input, and nothing is on a grid here
    assert {term.partition("(")[0] for text in TEXTS for term in text.split("+")} | only_grids == set(TRANSFORMS)


def test_the_receipt_says_what_was_done_and_why_not():
    network = nn.Sequential(nn.Conv3d(1, 8, 3), nn.Conv3d(8, 8, 3, groups=8), nn.Conv3d(8, 3, 1)).eval()
    x = torch.rand(1, 1, 7, 7, 7)
    made, receipt = quantize(network, Recipe.parse("w16a16 per-channel smooth+svd(rank=2)+hadamard"), [x])
    first, second, third = (line.transforms for line in audit_of(made, receipt, x))
    assert first[0] == "smooth: not done: one input channel has nothing to be evened out with"
    assert first[1].startswith("svd(rank=2): a float branch of rank 2 with")
    assert first[2] == "hadamard: not done: no power of two divides its 1 input channels"
    assert second[1] == "svd(rank=2): not done: rank 2 is not below the 1 that its weight can have"
    assert second[2] == "hadamard: not done: no power of two divides its 1 input channels of a group"
    assert third[1] == f"svd(rank=2): a float branch of rank 2 with {8 * 2 + 2 * 3} parameters"
    assert third[2] == "hadamard: blocks of 8 input channels mixed"


def audit_of(network, receipt, x):
    with torch.inference_mode():
        network(x)
    return audit(network, receipt).lines


def test_a_transform_that_changes_no_layer_is_an_error():
    network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.Conv3d(4, 4, 3, groups=4))
    with pytest.raises(RequestError, match="'hadamard' changes none of 2 layers: no power of two divides its 1 input"):
        quantize(network, Recipe.parse("w4a4 per-channel hadamard"))
    with pytest.raises(RequestError, match=r"'svd\(rank=40\)' changes none of 2 layers: rank 40 is not below the 1 "):
        quantize(network, Recipe.parse("w4a4 per-channel svd(rank=40)"))
    with pytest.raises(RequestError, match="'w4a4 per-channel smooth' needs calibration inputs: smooth looks at what"):
        quantize(network, Recipe.parse("w4a4 per-channel smooth"))
    with pytest.raises(RequestError, match="has no inputs"):
        quantize(network, Recipe.parse("w4a4 per-channel smooth"), [])
