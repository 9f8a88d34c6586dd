"""UNesT: the official order of layers, a second implementation, and the places where it is easily built otherwise."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medquanbench.networks.unest import UNesT
from medquanbench.quant import quantize
from medquanbench.values import Recipe, State

LAYER_ORDER = Path(__file__).parent / "keys" / "unest_btcv.layer_order.json"
SIZE = (32, 64, 32)
WIDTHS = (4, 6, 8)
HEADS = (2, 3, 2)


def tiny() -> UNesT:
    """A narrow network in float64 whose every weight, norms and biases too, is a random number."""
    torch.manual_seed(0)
    network = UNesT(1, 3, SIZE, WIDTHS, HEADS, (1, 2, 1), (2, 3, 4, 5), 6).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    return network


def image(*size: int) -> Tensor:
    return torch.randn(2, 1, *(size or SIZE), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def residual(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    """Convolution, norm, activation, convolution, norm; plus the input, by `conv3` and a norm where widths differ."""
    first, second = state[f"{path}.conv1.conv.weight"], state[f"{path}.conv2.conv.weight"]
    y = F.leaky_relu(F.instance_norm(F.conv3d(x, first, padding=1)), 0.01)
    y = F.instance_norm(F.conv3d(y, second, padding=1))
    if x.shape[1] != y.shape[1]:
        x = F.instance_norm(F.conv3d(x, state[f"{path}.conv3.conv.weight"]))
    return F.leaky_relu(x + y, 0.01)


def tokens_of_level(state: dict[str, Tensor], level: int, x: Tensor) -> Tensor:
    """A level on (b, c, x, y, z), block by block in loops."""
    path, blocks, heads = f"nestViT.levels.{level}", 4 >> level, HEADS[level]
    if level:
        x = F.conv3d(x, state[f"{path}.pool.conv.weight"], state[f"{path}.pool.conv.bias"], padding=1)
        x = norm(state, f"{path}.pool.norm", x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        x = F.max_pool3d(x, 3, 2, 1)
    edge, out = [size // blocks for size in x.shape[2:]], torch.zeros_like(x)
    for number in range(blocks**3):
        place = (number // blocks**2, number // blocks % blocks, number % blocks)
        where = (slice(None), slice(None), *(slice(i * e, (i + 1) * e) for i, e in zip(place, edge)))
        tokens = x[where].flatten(2).transpose(1, 2) + state[f"{path}.pos_embed"][:, number]
        for layer in range((1, 2, 1)[level]):
            tokens = transformer(state, f"{path}.transformer_encoder.{layer}", tokens, heads)
        out[where] = tokens.transpose(1, 2).reshape(out[where].shape)
    return out


def norm(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{path}.weight"], state[f"{path}.bias"], 1e-6)


def linear(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return x @ state[f"{path}.weight"].T + state[f"{path}.bias"]


def transformer(state: dict[str, Tensor], path: str, x: Tensor, heads: int) -> Tensor:
    depth = x.shape[-1] // heads
    q, k, v = linear(state, f"{path}.attn.qkv", norm(state, f"{path}.norm1", x)).chunk(3, dim=-1)
    merged = torch.zeros_like(x)
    for head in range(heads):
        own = slice(head * depth, (head + 1) * depth)
        weights = (torch.einsum("bnd,bmd->bnm", q[..., own], k[..., own]) / depth**0.5).softmax(-1)
        merged[..., head::heads] = weights @ v[..., own]
    x = x + linear(state, f"{path}.attn.proj", merged)
    hidden = F.gelu(linear(state, f"{path}.mlp.fc1", norm(state, f"{path}.norm2", x)))
    return x + linear(state, f"{path}.mlp.fc2", hidden)


def second_implementation(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network as a chain of functions on its state dict."""
    path = "nestViT.patch_embed.proj"
    hidden = [F.conv3d(x, state[f"{path}.weight"], state[f"{path}.bias"], stride=4)]
    for level in range(3):
        hidden.append(tokens_of_level(state, level, hidden[-1]))
    doubled = F.conv_transpose3d(hidden[0], state["encoder2.transp_conv_init.conv.weight"], stride=2)
    skips = [
        residual(state, "encoder1.layer", x),
        torch.einsum("io,bixyz->boxyz", state["encoder2.blocks.0.conv.weight"][..., 0, 0, 0], doubled),
        residual(state, "encoder3.layer", hidden[1]),
        residual(state, "encoder4.layer", hidden[2]),
        hidden[3],
    ]
    y = norm(state, "nestViT.norm", hidden[3].permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
    y = F.conv3d(y, state["encoder10.conv.weight"], state["encoder10.conv.bias"], stride=2, padding=1)
    y = F.instance_norm(F.prelu(y, state["encoder10.adn.A.weight"]))
    for number in (5, 4, 3, 2, 1):
        y = F.conv_transpose3d(y, state[f"decoder{number}.transp_conv.conv.weight"], stride=2)
        y = residual(state, f"decoder{number}.conv_block", torch.cat([y, skips[number - 1]], dim=1))
    return F.conv3d(y, state["out.conv.conv.weight"], state["out.conv.conv.bias"])


def test_equals_a_second_implementation():
    network = tiny()
    with torch.no_grad():
        answer, expected = network(image()), second_implementation(network.state_dict(), image())
    assert answer.shape == (2, 3, *SIZE) and float(answer.std()) > 0.1
    torch.testing.assert_close(answer, expected, rtol=1e-9, atol=1e-10)


def test_layers_run_in_the_official_order_with_the_official_shapes():
    with torch.device("meta"):
        network = UNesT(1, 14)
    table, ran = json.loads(LAYER_ORDER.read_text()), []

    def note(name: str):
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            sizes = [list(value) if isinstance(value, tuple) else None for value in _geometry(layer)]
            shapes = [list(tensor.shape[1:]) for tensor in (inputs[0], output)]
            ran.append([name, type(layer).__name__, *sizes, layer.bias is not None, *shapes])

        return hook

    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(note(name))
    network(torch.empty(1, 1, 96, 96, 96, device="meta"))
    assert ran == table["layers"]


def _geometry(layer: nn.Module) -> tuple:
    return getattr(layer, "kernel_size", None), getattr(layer, "stride", None)


@pytest.mark.parametrize(
    "options, classes, millions",
    [
        ({}, 14, 87.201),
        ({}, 133, 87.205),
        ({"embed_dims": (64, 128, 256), "num_heads": (2, 4, 8), "decoder_widths": (16, 32, 64, 128),
          "bottleneck_width": 512}, 14, 22.400),
        ({"embed_dims": (192, 384, 768), "num_heads": (6, 12, 24), "depths": (2, 2, 20),
          "decoder_widths": (48, 96, 192, 384), "bottleneck_width": 1536}, 14, 279.457),
    ],
    ids=["btcv", "wholebrain", "small", "large"],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(options, classes, millions):
    with torch.device("meta"):
        network = UNesT(1, classes, **options)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3) == millions


def test_shortcuts_have_weights_only_where_widths_differ():
    with_weights = {name for name, _ in tiny().named_modules() if name.endswith("conv3")}
    assert with_weights == {"encoder1.layer.conv3", "encoder4.layer.conv3"} | {
        f"decoder{number}.conv_block.conv3" for number in (1, 2, 3, 4, 5)
    }  # encoder3 keeps its 4 channels


def test_the_bottleneck_reads_the_normed_features_and_its_norm_comes_last():
    network, seen = tiny(), {}
    for name in ("nestViT", "encoder10", "decoder5"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: (inputs, output)})
        )
    with torch.no_grad():
        network(image())
    normed, hidden = seen["nestViT"][1]
    bottleneck = seen["encoder10"][1]
    assert torch.equal(seen["encoder10"][0][0], normed)
    assert torch.equal(seen["decoder5"][0][1], hidden[3]) and not torch.equal(hidden[3], normed)
    # A norm before the activation would leave a mean: the activation shrinks one sign of two.
    assert bottleneck.shape == (2, 6, 1, 2, 1) and float(bottleneck.mean((2, 3, 4)).abs().max()) < 1e-12


def test_the_skip_at_half_resolution_mixes_channels_as_a_transposed_convolution_does():
    skip = tiny().encoder2
    assert isinstance(skip.blocks[0].conv, nn.ConvTranspose3d)
    one = torch.zeros(1, 3, 2, 2, 2, dtype=torch.float64)
    one[:, 1] = 1  # of the 3 channels, the second: it comes out with the second row of (in, out)
    weight = skip.blocks[0].conv.weight
    torch.testing.assert_close(skip.blocks[0](one)[0, :, 0, 0, 0], weight[1, :, 0, 0, 0])
    assert not torch.allclose(weight[1, :, 0, 0, 0], weight[:, 1, 0, 0, 0])


def test_all_layers_are_quantized_and_run():
    network, receipt = quantize(tiny().float(), Recipe.parse("w4a4 adaptive"))
    with torch.no_grad():
        answer = network(image().float())
    layers = [line for line in receipt.lines if line.state is State.QUANTIZED]
    assert answer.shape == (2, 3, *SIZE) and torch.isfinite(answer).all()
    assert len(layers) == sum(isinstance(m, (nn.Linear, nn.Conv3d, nn.ConvTranspose3d)) for m in tiny().modules())


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"img_size": (64, 48, 64)}, r"img_size must be three multiples of 32, it is \(64, 48, 64\)"),
        ({"img_size": (64, 64)}, "img_size must be three multiples of 32"),
        ({"depths": (2, 2, 2, 2)}, "depths must have 3 values, one a level, it has 4"),
        ({"embed_dims": (32, 48)}, "embed_dims must have 3 values"),
        ({"decoder_widths": (8, 16, 32)}, "decoder_widths must have 4 values, it has 3"),
        ({"num_heads": (3, 8, 16)}, "a width of 128 cannot be split into 3 heads"),
    ],
    ids=["window", "axes", "depths", "widths", "decoder", "heads"],
)
def test_what_does_not_fit_is_refused(options, complaint):
    with torch.device("meta"), pytest.raises(ValueError, match=complaint):
        UNesT(1, 14, **options)


def test_another_window_is_refused():
    with pytest.raises(ValueError, match=r"windows of \(32, 64, 32\) voxels, it was given \(64, 64, 32\)"):
        tiny()(image(64, 64, 32))
