"""SegFormer3D: names, order and counts of the published network, and a second forward from nothing but its weights.

The second forward can be sprung: each trap of the published weights, taken the wrong way, must show in the answer.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from medquanbench.networks.segformer3d import SegFormer3D
from medquanbench.quant import audit, executed_layers, quantize
from medquanbench.values import Recipe, State

KEYS = Path(__file__).parent / "keys"
SMALL = {
    "embed_dims": (4, 6, 8, 12),
    "heads": (1, 2, 2, 3),
    "depths": (2, 1, 1, 2),
    "mlp_ratios": (2, 3, 4, 2),
    "patch_strides": (2, 2, 2, 2),
    "decoder_dim": 5,
}
TRAPS = (
    "the other scale",
    "values before keys",
    "finest first in the concatenation",
    "batch norm in the decoder",
    "eps 1e-6",
    "aligned corners",
    "approximate GELU",
    "head fastest in a channel",
)


def network_of(in_channels: int, out_channels: int, **options) -> SegFormer3D:
    """A network in float64 whose every number, running statistics too, is random."""
    torch.manual_seed(0)
    network = SegFormer3D(in_channels, out_channels, **options).double().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            low, high = (0.3, 2.0) if name.endswith("running_var") else (-0.5, 0.5)
            value.uniform_(low, high)
    return network


def image_of(channels: int, *shape: int) -> torch.Tensor:
    return torch.randn(2, channels, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def answer(network: SegFormer3D, image: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return network(image).numpy()


class Plain:
    """The forward in numpy, from the state dict and what the paper's figure says; one sample at a time.

    Volumes are (c, x, y, z), tokens (voxel, c); ``heads``, ``strides`` and the scale are all that weights do not tell.
    """

    def __init__(self, network: SegFormer3D, heads, strides, scale: str, trap: str = "") -> None:
        self.state = {key: value.numpy() for key, value in network.state_dict().items()}
        self.heads, self.strides, self.trap = heads, strides, trap
        other = {"heads-2024": "head-dim-2025", "head-dim-2025": "heads-2024"}
        self.scale = other[scale] if trap == "the other scale" else scale
        self.eps = 1e-6 if trap == "eps 1e-6" else 1e-5

    def forward(self, image: np.ndarray) -> np.ndarray:
        volumes, volume = [], image
        for k, stride in enumerate(self.strides, 1):
            where = f"segformer_encoder.embed_{k}"
            kernel = self.state[f"{where}.patch_embeddings.weight"].shape[2]
            volume = self.convolve(volume, f"{where}.patch_embeddings", stride, kernel // 2)
            grid, tokens = volume.shape[1:], self.layer_norm(tokens_of(volume), f"{where}.norm")
            j = 0
            while f"segformer_encoder.tf_block{k}.{j}.norm1.weight" in self.state:
                tokens = self.block(tokens, grid, f"segformer_encoder.tf_block{k}.{j}", self.heads[k - 1])
                j += 1
            volume = volume_of(self.layer_norm(tokens, f"segformer_encoder.norm{k}"), grid)
            volumes.append(volume)
        return resize(self.decode(volumes), image.shape[1:], self.trap == "aligned corners")

    def block(self, x, grid, where: str, heads: int):
        x = x + self.attention(self.layer_norm(x, f"{where}.norm1"), grid, f"{where}.attention", heads)
        hidden = self.linear(self.layer_norm(x, f"{where}.norm2"), f"{where}.mlp.fc1")
        hidden = self.convolve(volume_of(hidden, grid), f"{where}.mlp.dwconv.dwconv", 1, 1)
        hidden = tokens_of(self.batch_norm(hidden, f"{where}.mlp.dwconv.bn"))
        if self.trap == "approximate GELU":
            hidden = hidden / (1 + np.exp(-1.702 * hidden))
        else:
            hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        return x + self.linear(hidden, f"{where}.mlp.fc2")

    def attention(self, x, grid, where: str, heads: int):
        dim = x.shape[1]
        query, source = self.linear(x, f"{where}.query"), x
        if f"{where}.sr.weight" in self.state:
            step = self.state[f"{where}.sr.weight"].shape[2]
            source = tokens_of(self.convolve(volume_of(x, grid), f"{where}.sr", step, 0))
            source = self.layer_norm(source, f"{where}.sr_norm")
        both = self.linear(source, f"{where}.key_value")
        key, value = both[:, :dim], both[:, dim:]
        if self.trap == "values before keys":
            key, value = value, key
        width, mixed = dim // heads, np.empty_like(x)
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            if self.trap == "head fastest in a channel":
                own = slice(head, None, heads)
            divisor = np.sqrt(heads if self.scale == "heads-2024" else width)
            mixed[:, own] = softmax(query[:, own] @ key[:, own].T / divisor, axis=1) @ value[:, own]
        return self.linear(mixed, f"{where}.proj")

    def decode(self, volumes):
        finest, parts = volumes[0].shape[1:], []
        order = range(len(volumes), 0, -1)
        for k in reversed(order) if self.trap == "finest first in the concatenation" else order:
            where, grid = f"segformer_decoder.linear_c{k}", volumes[k - 1].shape[1:]
            tokens = self.linear(tokens_of(volumes[k - 1]), f"{where}.proj")
            if self.trap == "batch norm in the decoder":
                tokens = (tokens - tokens.mean(0)) / np.sqrt(tokens.var(0) + self.eps)
                tokens = tokens * self.state[f"{where}.bn.weight"] + self.state[f"{where}.bn.bias"]
            else:
                tokens = self.layer_norm(tokens, f"{where}.bn")
            parts.append(resize(volume_of(tokens, grid), finest, self.trap == "aligned corners"))
        fused = self.convolve(np.concatenate(parts), "segformer_decoder.linear_fuse.0", 1, 0)
        fused = np.maximum(self.batch_norm(fused, "segformer_decoder.linear_fuse.1"), 0)
        return self.convolve(fused, "segformer_decoder.linear_pred", 1, 0)

    def linear(self, x, where: str):
        return x @ self.state[f"{where}.weight"].T + self.state[f"{where}.bias"]

    def layer_norm(self, x, where: str):
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + self.eps)
        return x * self.state[f"{where}.weight"] + self.state[f"{where}.bias"]

    def batch_norm(self, x, where: str):
        mean, variance = (self.state[f"{where}.running_{name}"][:, None, None, None] for name in ("mean", "var"))
        weight, bias = (self.state[f"{where}.{name}"][:, None, None, None] for name in ("weight", "bias"))
        return (x - mean) / np.sqrt(variance + self.eps) * weight + bias

    def convolve(self, x, where: str, stride: int, padding: int):
        weight, bias = self.state[f"{where}.weight"], self.state.get(f"{where}.bias")
        x = np.pad(x, [(0, 0), *[(padding, padding)] * 3])
        patches = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2, 3))
        patches = patches[:, ::stride, ::stride, ::stride]
        depthwise = weight.shape[1] == 1 and len(x) == len(weight) > 1
        if depthwise:
            out = np.einsum("cxyzijk,cijk->cxyz", patches, weight[:, 0])
        else:
            out = np.tensordot(weight, patches, axes=([1, 2, 3, 4], [0, 4, 5, 6]))
        return out if bias is None else out + bias[:, None, None, None]


def tokens_of(volume):
    return volume.reshape(len(volume), -1).T


def volume_of(tokens, grid):
    return tokens.T.reshape(-1, *grid)


def resize(volume, shape, aligned: bool = False):
    """Linear interpolation axis by axis; voxel centres lie at halves, so that edges of volumes meet."""
    for axis, (have, want) in enumerate(zip(volume.shape[1:], shape), 1):
        at = np.linspace(0, have - 1, want) if aligned else (np.arange(want) + 0.5) * have / want - 0.5
        volume = np.apply_along_axis(lambda line, at=at: np.interp(at, np.arange(len(line)), line), axis, volume)
    return volume


def difference(network: SegFormer3D, image: torch.Tensor, plain: Plain) -> float:
    ours = answer(network, image)
    theirs = np.stack([plain.forward(sample) for sample in image.numpy()])
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize(
    "channels, classes, file",
    [(4, 3, "../../bundles/keys/segformer3d-brats"), (1, 14, "../../bundles/keys/segformer3d-btcv")],
)
def test_names_shapes_and_their_order_are_the_published_ones(channels, classes, file):
    table = json.loads((KEYS / f"{file}.json").read_text())
    with torch.device("meta"):
        network = SegFormer3D(channels, classes)
    state = [(key, list(value.shape)) for key, value in network.state_dict().items()]
    assert state == list(table["state_dict"].items()) and len(state) == 232
    assert sum(parameter.numel() for parameter in network.parameters()) == table["parameters"]


@pytest.mark.parametrize("channels, classes, millions", [(4, 3, 4.525), (1, 14, 4.495)])
def test_parameter_counts(channels, classes, millions):
    with torch.device("meta"):
        network = SegFormer3D(channels, classes)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3) == millions


def test_layers_run_in_the_published_order_with_the_published_shapes():
    table, ran = json.loads((KEYS / "segformer3d_brats.layer_order.json").read_text()), []
    with torch.device("meta"):
        network, image = SegFormer3D(4, 3).eval(), torch.empty(1, 4, 64, 64, 64)

    def note(name: str):
        def hook(layer, inputs, output):
            conv = isinstance(layer, torch.nn.Conv3d)
            sizes = [list(layer.kernel_size), list(layer.stride), layer.groups] if conv else [None, None, None]
            shapes = [list(inputs[0].shape[1:]), list(output.shape[1:])]
            ran.append([name, type(layer).__name__, *sizes, layer.bias is not None, *shapes])

        return hook

    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.Linear):
            layer.register_forward_hook(note(name))
    network(image)
    assert ran == table["layers"]


@pytest.mark.parametrize("scale", ["heads-2024", "head-dim-2025"])
@pytest.mark.parametrize("shape", [(32, 32, 32), (32, 48, 16)], ids=["cube", "box"])
def test_equals_a_second_implementation(scale, shape):
    network = network_of(2, 3, attention_scale=scale, **SMALL)
    plain = Plain(network, SMALL["heads"], SMALL["patch_strides"], scale)
    assert difference(network, image_of(2, *shape), plain) < 1e-12


def test_the_published_network_equals_a_second_implementation():
    network = network_of(4, 3)
    plain = Plain(network, (1, 2, 5, 8), (4, 2, 2, 2), "heads-2024")
    assert difference(network, image_of(4, 32, 32, 32)[:1], plain) < 1e-12


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_shows(trap):
    network = network_of(2, 3, **SMALL)
    plain = Plain(network, SMALL["heads"], SMALL["patch_strides"], "heads-2024", trap)
    assert difference(network, image_of(2, 32, 32, 32)[:1], plain) > 1e-8


def test_the_scale_is_that_of_the_heads_by_default():
    image = image_of(2, 32, 32, 32)
    default, old, new = (
        answer(network_of(2, 3, **SMALL, **option), image)
        for option in ({}, {"attention_scale": "heads-2024"}, {"attention_scale": "head-dim-2025"})
    )
    assert np.array_equal(default, old) and not np.allclose(default, new, rtol=0, atol=1e-6)


def test_turning_image_and_kernels_turns_the_answer():
    """What folds tokens into a wrong grid of the right number of voxels fails here."""
    network, turned = network_of(2, 3, **SMALL), network_of(2, 3, **SMALL)
    for value in turned.state_dict().values():
        if value.dim() == 5:
            value.copy_(value.clone().permute(0, 1, 4, 2, 3))
    image = image_of(2, 32, 48, 16)
    expected = answer(network, image).transpose(0, 1, 4, 2, 3)
    np.testing.assert_allclose(answer(turned, image.permute(0, 1, 4, 2, 3)), expected, rtol=0, atol=1e-12)


def test_samples_of_a_batch_do_not_see_each_other():
    network, image = network_of(2, 3, **SMALL), image_of(2, 32, 16, 32)
    each = np.concatenate([answer(network, image[:1]), answer(network, image[1:])])
    np.testing.assert_allclose(answer(network, image), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("recipe", ["w8a8 adaptive", "w4a4 per-tensor"])
def test_every_layer_is_found_quantized_and_run(recipe):
    network, image = network_of(2, 3, **SMALL).float(), image_of(2, 32, 32, 32).float()
    layers = {name for name, layer in network.named_modules() if isinstance(layer, torch.nn.Conv3d | torch.nn.Linear)}
    executed = executed_layers(network, image)
    quantized, receipt = quantize(network, Recipe.parse(recipe))
    quantized(image)
    assert executed == layers == set(audit(quantized, receipt, executed).paths(State.QUANTIZED))


def test_options_that_are_none():
    with pytest.raises(ValueError, match="attention_scale is 'paper'; there is: heads-2024, head-dim-2025"):
        SegFormer3D(1, 2, attention_scale="paper")
    with pytest.raises(ValueError, match="need a number a stage each"):
        SegFormer3D(1, 2, heads=(1, 2, 5))
    with pytest.raises(ValueError, match=r"heads \(1, 3, 5, 8\) must divide embed_dims"):
        SegFormer3D(1, 2, heads=(1, 3, 5, 8))
    with pytest.raises(ValueError, match="33 x 32 x 32 voxels; every axis must be a multiple of 4"):
        SegFormer3D(1, 2)(torch.zeros(1, 1, 33, 32, 32))
