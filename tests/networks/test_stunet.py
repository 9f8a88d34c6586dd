"""STU-Net: structure and counts of the published networks, a second implementation, and what pools do unseen."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from medquanbench.networks.stunet import STUNet
from medquanbench.quant import audit, quantize
from medquanbench.values import Recipe, State

LAYER_ORDER = Path(__file__).parent / "keys" / "stunet_b.layer_order.json"
POOLS = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 2))
SIZES = {
    "S": ((16, 32, 64, 128, 256, 256), 1),
    "B": ((32, 64, 128, 256, 512, 512), 1),
    "L": ((64, 128, 256, 512, 1024, 1024), 2),
    "H": ((96, 192, 384, 768, 1536, 1536), 3),
}
TINY, BLOCKS = (4, 6, 8, 10, 12, 12), (2, 1, 3, 1, 2, 1)


def published(size: str, classes: int, **options: bool) -> STUNet:
    """A published network without memory."""
    dims, blocks = SIZES[size]
    with torch.device("meta"):
        return STUNet(1, classes, dims, (blocks,) * 6, POOLS, **options)


def tiny(pools=POOLS, **options: bool) -> STUNet:
    """A narrow network in float64 whose every weight, norms and biases too, is a random number."""
    torch.manual_seed(0)
    network = STUNet(1, 3, TINY, BLOCKS, pools, **options).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return network


def image(*shape: int) -> torch.Tensor:
    return torch.randn(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "size, classes, millions",
    [
        ("S", 105, 14.597), ("B", 105, 58.263), ("L", 105, 440.303), ("H", 105, 1457.326),
        ("S", 14, 14.551), ("B", 14, 58.172), ("L", 14, 440.122), ("H", 14, 1457.055),
    ],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(size, classes, millions):
    network = published(size, classes)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 3) == millions


def test_convolutions_run_in_the_official_order_with_the_official_shapes():
    network, table, ran = published("B", 105, deep_supervision=True), json.loads(LAYER_ORDER.read_text()), []

    def note(name: str):
        def hook(layer, given, made):
            shapes = [list(tensor.shape[1:]) for tensor in (given[0], made)]
            ran.append([name, list(layer.kernel_size), list(layer.stride), layer.bias is not None, *shapes])

        return hook

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(note(name))
    network(torch.empty(1, 1, 64, 64, 64, device="meta"))
    assert ran == table["convolutions"]


@pytest.mark.parametrize("size", SIZES)
def test_the_first_block_of_every_stage_projects_its_shortcut_and_no_other(size):
    network = published(size, 2)
    stages = [*network.conv_blocks_context, *network.conv_blocks_localization]
    assert len(stages) == 11 and {len(stage) for stage in stages} == {SIZES[size][1]}
    for stage in stages:
        first, *rest = stage
        assert first.conv3 is not None and all(block.conv3 is None for block in rest)


def test_nothing_but_convolutions_and_norms_has_parameters():
    kinds = {type(module) for module in published("L", 2).modules() if list(module.parameters(recurse=False))}
    assert kinds == {torch.nn.Conv3d, torch.nn.InstanceNorm3d}


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor, pools) -> list[torch.Tensor]:
    """A second implementation: plain arithmetic on the state dict. The logits of all stages, the coarsest first."""

    def convolve(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv3d(x, weight, state[f"{name}.bias"], stride, padding=weight.shape[-1] // 2)

    def norm(x, name):
        centred = x - x.mean((2, 3, 4), keepdim=True)
        scaled = centred / (centred.square().mean((2, 3, 4), keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"].view(1, -1, 1, 1, 1) + state[f"{name}.bias"].view(1, -1, 1, 1, 1)

    def leaky(x):
        return torch.where(x > 0, x, 0.01 * x)

    def block(x, name, stride):
        y = norm(convolve(leaky(norm(convolve(x, f"{name}.conv1", stride), f"{name}.norm1")), f"{name}.conv2"),
                 f"{name}.norm2")  # fmt: skip
        return leaky(y + (convolve(x, f"{name}.conv3", stride) if f"{name}.conv3.weight" in state else x))

    def stage(x, name, stride=1):
        count = sum(key.startswith(f"{name}.") and key.endswith("conv1.weight") for key in state)
        for j in range(count):
            x = block(x, f"{name}.{j}", stride if j == 0 else 1)
        return x

    skips = [stage(x, "conv_blocks_context.0")]
    for s, pool in enumerate(pools, 1):
        skips.append(stage(skips[-1], f"conv_blocks_context.{s}", pool))
    x, logits = skips.pop(), []
    for u, pool in enumerate(reversed(pools)):
        for axis, factor in enumerate(pool):
            x = x.repeat_interleave(factor, dim=2 + axis)
        x = torch.cat([convolve(x, f"upsample_layers.{u}.conv"), skips.pop()], dim=1)
        x = stage(x, f"conv_blocks_localization.{u}")
        logits.append(convolve(x, f"seg_outputs.{u}"))
    return logits


@pytest.mark.parametrize(
    "pools, shape",
    [(POOLS, (32, 16, 32)), (((1, 2, 2), (2, 2, 2), (2, 1, 1), (1, 2, 2), (1, 1, 1)), (8, 16, 16))],
    ids=["published", "other"],
)
def test_equals_a_second_implementation_at_every_stage(pools, shape):
    network = tiny(pools, deep_supervision=True)
    x = image(*shape)
    with torch.no_grad():
        outputs, expected = network(x), by_hand(network.state_dict(), x, pools)
    assert isinstance(outputs, tuple) and len(outputs) == len(expected) == 5
    for found, wanted in zip(outputs, expected[::-1]):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_deep_supervision_off_gives_the_finest_logits_alone():
    network, x = tiny(deep_supervision=True), image(32, 16, 32)
    with torch.no_grad():
        outputs = network(x)
        network.deep_supervision = False
        alone = network(x)
    assert torch.equal(alone, outputs[0])
    sizes = [(32, 16, 32), (16, 8, 16), (8, 4, 8), (4, 2, 4), (2, 1, 2)]
    assert [tuple(output.shape) for output in outputs] == [(2, 3, *size) for size in sizes]


def test_wrong_pools_load_without_a_word_and_give_other_labels():
    # Why the config states the pools: nothing in a checkpoint can tell them.
    right, wrong = tiny(), tiny(((2, 2, 2),) * 5)
    wrong.load_state_dict(right.state_dict(), strict=True)
    x = image(32, 64, 32)
    with torch.no_grad():
        differ = right(x).argmax(1) != wrong(x).argmax(1)
    assert differ.shape == (2, 32, 64, 32) and differ.float().mean() > 0.01


@pytest.mark.parametrize(
    "dims, depth, pools",
    [(TINY, BLOCKS, POOLS[:4]), (TINY[:5], BLOCKS, POOLS), (TINY, BLOCKS[:5], POOLS), (TINY, BLOCKS, ((2, 2),) * 5)],
    ids=["pool missing", "width missing", "depth missing", "two axes"],
)
def test_arguments_that_do_not_go_together_are_refused(dims, depth, pools):
    with pytest.raises(ValueError, match="one pool of 3 axes fewer"):
        STUNet(1, 2, dims, depth, pools)


@pytest.mark.parametrize("shape", [(33, 32, 32), (32, 8, 32), (32, 32, 48)])
def test_a_size_that_the_pools_do_not_divide_is_refused(shape):
    with pytest.raises(ValueError, match=r"multiples of \(16, 16, 32\), not"):
        tiny()(image(*shape))


def test_every_layer_that_runs_is_quantized_and_adaptive_treats_pointwise_ones_by_voxel():
    network = tiny().float()
    quantized, receipt = quantize(network, Recipe.parse("w4a4 adaptive"))
    with torch.inference_mode():
        quantized(image(32, 32, 32).float())
    receipt = audit(quantized, receipt)
    coarse = {f"seg_outputs.{u}" for u in range(4)}
    convolutions = {name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv3d)}
    assert set(receipt.paths(State.NEVER_RUN)) == coarse
    assert set(receipt.paths(State.QUANTIZED)) == convolutions - coarse
    pointwise = {line.path: line.activation for line in receipt.lines if line.kind == "conv 1x1x1"}
    assert len(pointwise) == 11 + 5 + 5  # shortcuts, up-sampling, heads
    for u in range(5):
        assert pointwise[f"upsample_layers.{u}.conv"].elements_per_scale == TINY[-1 - u]
