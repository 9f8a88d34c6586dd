"""TransUNet: the official keys, a second implementation, and the places where it is easily built otherwise."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medquanbench.networks.transunet import DecoderBlock, Mlp, StandardizedConv2d, TransUNet
from medquanbench.quant import audit, quantize
from medquanbench.values import Recipe, State

KEYS = Path(__file__).parent / "keys" / "transunet-synapse.json"
SIZE, GROUPS, HEADS, UNITS = 64, 2, 3, (2, 1, 2)
RESIDUAL = "transformer.embeddings.hybrid_model"


def tiny(in_channels: int = 1) -> TransUNet:
    """A narrow network in float64 whose every weight, norms, biases and statistics too, is a random number."""
    torch.manual_seed(0)
    network = TransUNet(in_channels, 5, SIZE, 4, UNITS, GROUPS, 12, 20, HEADS, 2, 7, (6, 5, 4, 3)).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return network


def published() -> TransUNet:
    """The published network without memory."""
    with torch.device("meta"):
        return TransUNet()


def image(channels: int = 1) -> Tensor:
    return torch.randn(2, channels, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def watched(network: TransUNet, *paths: str) -> dict[str, tuple[tuple, Tensor]]:
    """Inputs and output of the modules at these paths in one forward of the network."""
    seen = {}
    for path in paths:
        network.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, path=path: seen.update({path: (inputs, output)})
        )
    with torch.no_grad():
        network(image())
    return seen


def convolve(state: dict[str, Tensor], path: str, x: Tensor, stride: int = 1) -> Tensor:
    """A standardised convolution, filter by filter."""
    filters = []
    for values in state[f"{path}.weight"]:
        centred = values - values.mean()
        filters.append(centred / (centred.square().sum() / values.numel() + 1e-5) ** 0.5)
    return F.conv2d(x, torch.stack(filters), stride=stride, padding=filters[0].shape[-1] // 2)


def scaled(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return x * state[f"{path}.weight"].view(-1, 1, 1) + state[f"{path}.bias"].view(-1, 1, 1)


def group_norm(state: dict[str, Tensor], path: str, x: Tensor, size: int | None = None, eps: float = 1e-6) -> Tensor:
    """Groups of ``size`` channels; without it, GROUPS of them."""
    parts = []
    for part in x.split(size or x.shape[1] // GROUPS, dim=1):
        centred = part - part.mean((1, 2, 3), keepdim=True)
        parts.append(centred / (centred.square().mean((1, 2, 3), keepdim=True) + eps).sqrt())
    return scaled(state, path, torch.cat(parts, dim=1))


def unit(state: dict[str, Tensor], path: str, x: Tensor, stride: int) -> Tensor:
    y = group_norm(state, f"{path}.gn1", convolve(state, f"{path}.conv1", x)).clamp(min=0)
    y = group_norm(state, f"{path}.gn2", convolve(state, f"{path}.conv2", y, stride)).clamp(min=0)
    y = group_norm(state, f"{path}.gn3", convolve(state, f"{path}.conv3", y))
    if path.endswith("unit1"):
        x = group_norm(state, f"{path}.gn_proj", convolve(state, f"{path}.downsample", x, stride), 1, 1e-5)
    return (x + y).clamp(min=0)


def linear(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    return x @ state[f"{path}.weight"].T + state[f"{path}.bias"]


def layer_norm(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return normed * state[f"{path}.weight"] + state[f"{path}.bias"]


def transformer(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    y, depth, merged = layer_norm(state, f"{path}.attention_norm", x), x.shape[-1] // HEADS, []
    for head in range(HEADS):
        own = slice(head * depth, (head + 1) * depth)
        q, k, v = (linear(state, f"{path}.attn.{name}", y)[..., own] for name in ("query", "key", "value"))
        weights = torch.einsum("bnd,bmd->bnm", q, k).div(depth**0.5).exp()
        merged.append(weights / weights.sum(-1, keepdim=True) @ v)
    x = x + linear(state, f"{path}.attn.out", torch.cat(merged, dim=-1))
    y = linear(state, f"{path}.ffn.fc1", layer_norm(state, f"{path}.ffn_norm", x))
    return x + linear(state, f"{path}.ffn.fc2", y * (1 + torch.erf(y / 2**0.5)) / 2)


def doubled(x: Tensor) -> Tensor:
    """Bilinear up-sampling by 2 as a matrix an axis: the first and the last pixel stay where they are."""
    edge = x.shape[-1]
    place = torch.arange(2 * edge, dtype=x.dtype) * (edge - 1) / (2 * edge - 1)
    matrix = (1 - (place[:, None] - torch.arange(edge)).abs()).clamp(min=0)
    return torch.einsum("iy,jx,bcyx->bcij", matrix, matrix, x)


def plain(state: dict[str, Tensor], path: str, x: Tensor) -> Tensor:
    """A convolution of the decoder with its batch norm and ReLU."""
    y = F.conv2d(x, state[f"{path}.0.weight"], padding=1)
    mean, variance = (state[f"{path}.1.running_{name}"].view(-1, 1, 1) for name in ("mean", "var"))
    return scaled(state, f"{path}.1", (y - mean) / (variance + 1e-5).sqrt()).clamp(min=0)


def second_implementation(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network as a chain of functions on its state dict."""
    x = convolve(state, f"{RESIDUAL}.root.conv", torch.cat([x, x, x], dim=1), 2)
    x = group_norm(state, f"{RESIDUAL}.root.gn", x).clamp(min=0)
    skips = [x]
    x = x.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    for block, (units, stride) in enumerate(zip(UNITS, (1, 2, 2)), 1):
        for number in range(1, units + 1):
            x = unit(state, f"{RESIDUAL}.body.block{block}.unit{number}", x, stride if number == 1 else 1)
        edge = SIZE // 2 ** (block + 1)
        skip = torch.zeros(*x.shape[:2], edge, edge, dtype=x.dtype)
        skip[:, :, : x.shape[2], : x.shape[3]] = x
        skips.append(skip)
    weight, bias = (state[f"transformer.embeddings.patch_embeddings.{name}"] for name in ("weight", "bias"))
    tokens = torch.einsum("oi,biyx->byxo", weight[..., 0, 0], x).flatten(1, 2) + bias
    tokens = tokens + state["transformer.embeddings.position_embeddings"]
    for number in range(2):
        tokens = transformer(state, f"transformer.encoder.layer.{number}", tokens)
    tokens = layer_norm(state, "transformer.encoder.encoder_norm", tokens)
    edge = SIZE // 16
    x = plain(state, "decoder.conv_more", tokens.reshape(-1, edge, edge, tokens.shape[-1]).permute(0, 3, 1, 2))
    for number, skip in enumerate((skips[2], skips[1], skips[0], None)):
        x = doubled(x) if skip is None else torch.cat([doubled(x), skip], dim=1)
        for name in ("conv1", "conv2"):
            x = plain(state, f"decoder.blocks.{number}.{name}", x)
    return F.conv2d(x, state["segmentation_head.0.weight"], state["segmentation_head.0.bias"], padding=1)


def test_keys_shapes_and_count_are_the_official_ones():
    network, table = published(), json.loads(KEYS.read_text())
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == table["state_dict"] and list(shapes) == list(table["state_dict"])
    assert sum(parameter.numel() for parameter in network.parameters()) == table["parameters"] == 105_277_081


def test_the_published_network_gives_a_pixel_its_nine_logits():
    assert published()(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 9, 224, 224)


def test_equals_a_second_implementation():
    network = tiny()
    with torch.no_grad():
        answer, expected = network(image()), second_implementation(network.state_dict(), image())
    assert answer.shape == (2, 5, SIZE, SIZE) and float(answer.std()) > 0.1
    assert float((answer - expected).abs().max() / expected.abs().max()) < 1e-12


def test_a_filter_is_divided_by_the_root_of_its_biased_variance_and_1e_5():
    layer = StandardizedConv2d(1, 2, (1, 2), bias=False).double()
    layer.weight.data[:] = torch.tensor([[1.0, 3.0], [0.001, 0.003]]).reshape(2, 1, 1, 2)
    first = layer(torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)).flatten()
    # Means 2 and 0.002, biased variances 1 and 1e-6 (unbiased 2 and 2e-6).
    assert first.tolist() == pytest.approx([-1 / 1.00001**0.5, -0.001 / 1.1e-5**0.5], rel=1e-6)


def test_norms_have_the_official_groups_and_eps():
    norms = {name: module for name, module in published().named_modules() if isinstance(module, nn.GroupNorm)}
    shortcuts = {name for name in norms if name.endswith(".gn_proj")}
    assert shortcuts == {f"{RESIDUAL}.body.block{block}.unit1.gn_proj" for block in (1, 2, 3)}
    assert len(norms) == 1 + 3 * 16 + 3
    for name, norm in norms.items():
        assert (norm.num_groups, norm.eps) == ((norm.num_channels, 1e-5) if name in shortcuts else (32, 1e-6)), name
    layer_norms = [module for module in published().modules() if isinstance(module, nn.LayerNorm)]
    assert len(layer_norms) == 2 * 12 + 1 and {norm.eps for norm in layer_norms} == {1e-6}


def test_the_pool_has_no_padding_and_only_the_skip_gets_zeros_for_it_at_the_bottom_and_right():
    body = f"{RESIDUAL}.body"
    seen = watched(tiny(), f"{RESIDUAL}.root", f"{body}.block1", f"{body}.block2", "decoder.blocks.1")
    half, (pooled,) = seen[f"{RESIDUAL}.root"][1], seen[f"{body}.block1"][0]
    assert half.shape[2:] == (32, 32) and pooled.shape[2:] == (15, 15)
    assert torch.equal(pooled[..., 0, 0], half[..., :3, :3].amax((2, 3)))
    assert torch.equal(pooled[..., 14, 14], half[..., 28:31, 28:31].amax((2, 3)))
    quarter, skip = seen[f"{body}.block1"][1], seen["decoder.blocks.1"][0][1]
    assert seen[f"{body}.block2"][0][0].shape[2:] == (15, 15) and skip.shape[2:] == (16, 16)
    assert torch.equal(skip[..., :15, :15], quarter) and float(quarter[..., -1, -1].abs().max()) > 0
    assert not skip[..., 15, :].any() and not skip[..., :, 15].any()


def test_a_token_is_a_pixel_of_the_coarsest_features_rows_first_and_there_is_no_other():
    seen = watched(tiny(), "transformer.embeddings.patch_embeddings", "transformer.encoder", "decoder.conv_more")
    features, (tokens,) = seen["transformer.embeddings.patch_embeddings"][1], seen["transformer.encoder"][0]
    tokens = tokens - tiny().transformer.embeddings.position_embeddings
    assert tokens.shape == (2, 16, 12)
    torch.testing.assert_close(tokens[:, 7], features[:, :, 1, 3])
    encoded, (grid,) = seen["transformer.encoder"][1], seen["decoder.conv_more"][0]
    assert torch.equal(grid[:, :, 1, 3], encoded[:, 7])


def test_the_gelu_is_the_exact_one():
    mlp = Mlp(1, 1, 0.1).double().eval()
    for parameter in mlp.parameters():
        nn.init.constant_(parameter, float(parameter.dim() == 2))
    # x times the normal distribution function: 0.841345 at 1, 0.022750 at -2; by tanh 0.841192 and 0.022701.
    values = mlp(torch.tensor([[1.0], [-2.0]], dtype=torch.float64)).flatten().tolist()
    assert values == pytest.approx([0.8413447460685429, -2 * 0.0227501319481792], rel=1e-12)


def test_a_decoder_block_keeps_the_corners_and_puts_the_skip_behind():
    block, seen = DecoderBlock(1, 1, 2).double().eval(), []
    block.conv1.register_forward_hook(lambda module, inputs, output: seen.extend(inputs))
    ramp = torch.tensor([[[[0.0, 1.0], [3.0, 4.0]]]], dtype=torch.float64)
    skip = torch.full((1, 1, 4, 4), 9.0, dtype=torch.float64)
    block(ramp, skip)
    thirds = torch.arange(4, dtype=torch.float64) / 3
    torch.testing.assert_close(seen[0][0, 0], thirds + 3 * thirds[:, None])
    assert torch.equal(seen[0][:, 1:], skip)


def test_one_channel_is_three_equal_ones():
    grey, colour = tiny(1), tiny(3)
    colour.load_state_dict(grey.state_dict(), strict=True)
    with torch.no_grad():
        answer, repeated = grey(image()), colour(image().repeat(1, 3, 1, 1))
        other = colour(image(3))
    torch.testing.assert_close(answer, repeated, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(answer, other)


def test_all_layers_are_quantized_but_the_standardised_ones_of_which_the_receipt_tells():
    network = tiny().float()
    quantized, receipt = quantize(network, Recipe.parse("w4a4 adaptive"))
    with torch.inference_mode():
        answer = quantized(image().float())
    receipt = audit(quantized, receipt)
    standardised = {name for name, module in network.named_modules() if isinstance(module, StandardizedConv2d)}
    layers = {name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    assert answer.shape == (2, 5, SIZE, SIZE) and torch.isfinite(answer).all()
    assert set(receipt.paths(State.QUANTIZED)) == layers - standardised and len(standardised) == 1 + 3 * 5 + 3
    reasons = {line.path: line.reason for line in receipt.lines if line.path in standardised}
    assert set(reasons.values()) == {"StandardizedConv2d computes something else than Conv2d"}
    assert standardised <= set(receipt.paths(State.UNSUPPORTED))


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"in_channels": 2}, "in_channels must be 1 or 3, it is 2"),
        ({"image_size": 200}, "image_size must be a multiple of 16 and at least 32, it is 200"),
        ({"image_size": 16}, "at least 32, it is 16"),
        ({"width": 48}, "a width of 48 cannot be split into 32 groups"),
        ({"heads": 7}, "a hidden width of 768 cannot be split into 7 heads"),
        ({"units": (3, 4)}, r"units must be 3 numbers from 1 on, it is \(3, 4\)"),
        ({"units": (3, 0, 9)}, "units must be 3 numbers from 1 on"),
        ({"decoder_widths": (8, 8, 8)}, "decoder_widths must be 4 numbers"),
    ],
    ids=["channels", "size", "small", "groups", "heads", "units", "no unit", "decoder"],
)
def test_what_does_not_fit_is_refused(options, complaint):
    with torch.device("meta"), pytest.raises(ValueError, match=complaint):
        TransUNet(**options)


@pytest.mark.parametrize("shape", [(3, SIZE, SIZE), (1, SIZE, 2 * SIZE), (1, 32, 32)])
def test_another_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"takes images of \(1, 64, 64\), it was given"):
        tiny()(torch.zeros(1, *shape, dtype=torch.float64))
