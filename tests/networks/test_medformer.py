"""MedFormer: the official network's outputs and order, second implementations of its parts, every trap."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medquanbench.networks.medformer import MedFormer
from medquanbench.networks.medformer_attention import AttentionBlock, BidirectionalAttention, SemanticMapGeneration
from medquanbench.networks.medformer_fusion import SelfAttention
from medquanbench.networks.medformer_layers import BasicBlock, ConvNormAct, MBConv, PatchMerging, space_to_depth
from medquanbench.quant import audit, quantize
from medquanbench.quant.audit import executed_layers
from medquanbench.values import Recipe, State

KEYS = Path(__file__).parent / "keys"
OFFICIAL = json.loads((KEYS / "medformer_outputs.json").read_text())
THREE = (3, 3, 3)


def filled(network: nn.Module) -> nn.Module:
    """Weights by a formula, in float64: waves whose height suits the layer, a frequency for each name in order."""
    state = network.double().eval().state_dict()
    for number, name in enumerate(sorted(state)):
        tensor = state[name]
        wave = (torch.arange(1, tensor.numel() + 1, dtype=torch.float64) * (0.7 + 0.11 * number)).sin()
        inputs = tensor[0].numel() if tensor.dim() > 1 else 4
        tensor.copy_(wave.reshape(tensor.shape) * (3 / inputs) ** 0.5)
    return network


def image_of_waves() -> torch.Tensor:
    shape = OFFICIAL["image_shape"]
    wave = (torch.arange(1, torch.Size(shape).numel() + 1, dtype=torch.float64) * 0.37).sin()
    return wave.reshape(shape) + torch.linspace(-1, 1, shape[-1], dtype=torch.float64)


def small(**options: object) -> MedFormer:
    return MedFormer(OFFICIAL["in_channels"], OFFICIAL["out_channels"], **OFFICIAL["network"], **options)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_outputs_are_the_official_networks():
    network = filled(small(aux_head=True, aux_loss=True))
    with torch.inference_mode():
        outputs = network(image_of_waves())
    for name, logits in zip(("main", "auxiliary"), outputs, strict=True):
        found = logits.flatten()[:: OFFICIAL["every"]]
        torch.testing.assert_close(found, torch.tensor(OFFICIAL[name], dtype=torch.float64), atol=1e-8, rtol=0)


def test_layers_run_in_the_official_order_with_the_official_shapes():
    table, ran = json.loads((KEYS / "medformer_bcv.layer_order.json").read_text()), []
    with torch.device("meta"):
        network = MedFormer(1, 14, aux_head=True, aux_loss=True)

    def note(name: str):
        def hook(layer, given, made):
            own = [getattr(layer, "kernel_size", None), getattr(layer, "groups", None), layer.bias is not None]
            ran.append([name, *own, *(list(tensor.shape[1:]) for tensor in (given[0], made))])

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            module.register_forward_hook(note(name))
    network(torch.empty(1, 1, 32, 128, 128, device="meta"))
    assert json.loads(json.dumps(ran)) == table["layers"]


def test_one_tensor_unless_asked_for_the_auxiliary_one_too():
    image = image_of_waves()
    network = filled(small(aux_head=True))
    both = filled(small(aux_head=True, aux_loss=True))
    with torch.inference_mode():
        alone = network(image)
        main, auxiliary = both(image)
    assert torch.equal(alone, main) and auxiliary.shape == main.shape == (1, 3, 8, 32, 32)
    assert isinstance(network.train()(image), torch.Tensor) and isinstance(both.train()(image), list)
    assert set(small().state_dict()) == set(both.state_dict()) - {"aux_out.weight", "aux_out.bias"}


@pytest.mark.parametrize(
    "options, said",
    [
        ({"aux_loss": True}, "aux_loss=True needs aux_head=True"),
        ({"attention_blocks": (1, 2, 4, 6, 4, 2, 0, 0)}, "down1, up3 and up4 have no semantic map"),
        ({"heads": (1, 3, 8, 10, 8, 4, 1, 1)}, "3 heads cannot share 128 channels"),
        ({"fusion_width": 64}, "fusion_heads, 10, must divide fusion_width, 64"),
        ({"widths": (64, 128)}, "widths has 2 entries; it needs 8"),
        ({"kernels": (THREE,) * 4}, "kernels has 4 entries; it needs 5"),
    ],
)
def test_arguments_that_contradict_each_other(options, said):
    with torch.device("meta"), pytest.raises(ValueError, match=said):
        MedFormer(1, 14, **options)


def test_a_window_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"\(8, 33, 32\) voxels \(z, y, x\) cannot be merged by \(1, 2, 2\)"):
        small()(torch.zeros(1, 2, 8, 33, 32))


def test_space_to_depth_by_hand():
    # Each voxel holds its own place as a number, 100 z + 10 y + x; the second channel a half more.
    z, y, x = torch.meshgrid(*(torch.arange(2.0),) * 3, indexing="ij")
    cell = torch.stack([100 * z + 10 * y + x, 100 * z + 10 * y + x + 0.5])[None]
    blocks = space_to_depth(cell, (2, 2, 2)).flatten().tolist()
    assert blocks == [v for first in (0, 1, 10, 11, 100, 101, 110, 111) for v in (first, first + 0.5)]
    flat = space_to_depth(cell[:, :1], (1, 2, 2))
    assert flat.shape == (1, 4, 2, 1, 1) and flat[0, :, 1].flatten().tolist() == [100, 101, 110, 111]


def test_patch_merging_norms_before_it_reduces():
    layer, x = filled(PatchMerging(3, 5, (1, 2, 2), (1, 3, 3))), noise(2, 3, 4, 6, 8)
    merged = F.instance_norm(space_to_depth(x, (1, 2, 2)), eps=1e-5)
    depthwise = F.conv3d(merged, layer.reduction.depthwise.weight, padding=(0, 1, 1), groups=12)
    torch.testing.assert_close(layer(x), F.conv3d(depthwise, layer.reduction.pointwise.weight))


def test_a_shortcut_that_changes_the_width_has_norm_activation_and_the_full_kernel():
    block, x = filled(BasicBlock(2, 3, (1, 3, 3), 1e-4)), noise(1, 2, 2, 5, 5)
    nn.init.zeros_(block.conv2.conv.weight)
    assert block.shortcut.conv.weight.shape == (3, 2, 1, 3, 3)
    wanted = F.conv3d(F.instance_norm(x, eps=1e-4).relu(), block.shortcut.conv.weight, padding=(0, 1, 1))
    torch.testing.assert_close(block(x), wanted)
    same = filled(BasicBlock(2, 2, (1, 3, 3), 1e-4))
    nn.init.zeros_(same.conv2.conv.weight)
    assert torch.equal(same(x), x)  # no norm and no activation, before or after the sum


def test_both_ways_through_a_basic_block_are_those_of_two_separate_norms():
    block, x = filled(BasicBlock(2, 3, (1, 3, 3), 1e-4)), noise(1, 2, 2, 5, 5)
    torch.testing.assert_close(block(x), block.conv2(block.conv1(x)) + block.shortcut(x))


def test_mbconv_by_its_definition():
    block, x = filled(MBConv(4, (1, 3, 3), 2, 1e-4)), noise(2, 4, 3, 4, 5)

    def normed(tensor: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(tensor, eps=1e-4)

    wide = F.conv3d(normed(x).relu(), block.expand_proj.conv.weight)
    wide = F.conv3d(normed(wide).relu(), block.depthwise.conv.weight, padding=(0, 1, 1), groups=8)
    first, second = block.se.excitation[0], block.se.excitation[2]
    assert first.weight.shape == (2, 8, 1, 1, 1)  # a quarter of the wide channels
    gate = F.linear(wide.mean((2, 3, 4)), first.weight.flatten(1), first.bias).relu()
    gate = F.linear(gate, second.weight.flatten(1), second.bias).sigmoid()
    narrow = F.conv3d(normed(wide * gate[:, :, None, None, None]), block.pointwise.conv.weight)  # no activation
    torch.testing.assert_close(block(x), narrow + x)


def test_a_map_is_a_mean_over_voxels_whose_weights_sum_to_one_for_each_code():
    layer, x = filled(SemanticMapGeneration(3, 4, (1, 2, 3))), noise(2, 3, 4, 5, 6)
    base, logits = layer.base_proj(x), layer.semantic_proj(x)
    weights = logits.exp() / logits.exp().sum((2, 3, 4), keepdim=True)
    wanted = torch.einsum("bczyx,bkzyx->bck", base, weights).reshape(2, 4, 1, 2, 3)
    torch.testing.assert_close(layer(x), wanted)


def test_the_map_is_made_between_the_convolutions_and_the_attention():
    network, seen = filled(small()), {}
    for part in ("patch_merging", "conv_blocks", "map_gen", "trans_blocks"):
        module = getattr(network.down2, part)
        module.register_forward_hook(lambda _, given, made, part=part: seen.update({part: (given, made)}))
    with torch.inference_mode():
        network(image_of_waves())
    convolved = seen["conv_blocks"][1]
    assert list(seen) == ["patch_merging", "conv_blocks", "map_gen", "trans_blocks"]
    assert seen["map_gen"][0][0] is convolved and seen["trans_blocks"][0][0] is convolved
    assert not torch.equal(seen["trans_blocks"][1][0], convolved)


def attention_by_loops(layer: BidirectionalAttention, x: torch.Tensor, codes: torch.Tensor) -> list[torch.Tensor]:
    """Both outputs before their last projection, head by head; channel d * heads + h is number d of head h."""
    qv, map_qv = layer.feat_qv(x)[0].flatten(1), layer.map_qv(codes)[0].flatten(1)
    inner, heads = len(qv) // 2, layer.heads
    to_voxels, to_codes = torch.zeros_like(qv[:inner]), torch.zeros_like(map_qv[:inner])
    for head in range(heads):
        own = [d * heads + head for d in range(inner // heads)]
        q, v, map_q, map_v = qv[own], qv[inner:][own], map_qv[own], map_qv[inner:][own]
        table = q.T @ map_q / len(own) ** 0.5  # (voxel, code): one table for both directions
        to_voxels[own] = map_v @ table.softmax(1).T
        to_codes[own] = v @ table.softmax(0)
    return [to_voxels.reshape(1, inner, *x.shape[2:]), to_codes.reshape(1, inner, *codes.shape[2:])]


@pytest.mark.parametrize("last", [False, True])
def test_bidirectional_attention_by_loops(last):
    layer = filled(BidirectionalAttention(5, 6, 6, 2, (1, 3, 3), last=last))
    x, codes = noise(1, 5, 2, 3, 4), noise(1, 6, 1, 2, 2, seed=2)
    features, read = layer(x, codes)
    to_voxels, to_codes = attention_by_loops(layer, x, codes)
    torch.testing.assert_close(features, layer.feat_out(to_voxels))
    torch.testing.assert_close(read, to_codes if last else F.conv3d(to_codes, layer.map_out.weight))


def test_an_attention_block_adds_its_inputs_as_they_came():
    block = filled(AttentionBlock(5, 6, 6, 3, (1, 3, 3), 2, 1e-4))
    x, codes = 5 + 3 * noise(1, 5, 2, 3, 4), 5 + 3 * noise(1, 6, 1, 2, 2, seed=2)
    features, read = block.attn(F.instance_norm(x, eps=1e-5), F.instance_norm(codes, eps=1e-5))
    shortcut = F.conv3d(F.instance_norm(x, eps=1e-4).relu(), block.shortcut.conv.weight)
    found = block(x, codes)
    torch.testing.assert_close(found[0], block.feedforward(features + shortcut))
    torch.testing.assert_close(found[1], read + codes)  # no feed-forward on the map


def test_only_the_last_map_projection_of_up2_is_missing():
    names = dict(small().named_modules())
    maps = {name: module for name, module in names.items() if name.endswith("attn.map_out")}
    assert [name for name, module in maps.items() if isinstance(module, nn.Identity)] == [
        "up2.trans_blocks.blocks.1.attn.map_out"
    ]
    assert len(maps) == sum(OFFICIAL["network"]["attention_blocks"])


def test_heads_of_the_fusion_lie_together():
    layer, tokens = filled(SelfAttention(6, 3)), noise(2, 5, 6)
    q, k, v = layer.to_qkv(tokens).chunk(3, dim=-1)
    heads = [
        F.scaled_dot_product_attention(*(each[..., head * 2 : head * 2 + 2] for each in (q, k, v))) for head in range(3)
    ]
    torch.testing.assert_close(layer(tokens), layer.to_out(torch.cat(heads, dim=-1)))


def test_upsampling_keeps_corners_on_corners():
    # With corners aligned a ramp stays a ramp, end to end; otherwise its ends are flattened.
    network, seen = filled(small()), []
    up = network.up4
    up.conv_blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    ramp = torch.linspace(0, 1, 6, dtype=torch.float64).expand(1, 6, 8, 6, 6)
    up(ramp, torch.zeros(1, 4, 8, 12, 12, dtype=torch.float64))
    upsampled, skip = seen[0][:, :6], seen[0][:, 6:]  # in this order on channels
    wanted = torch.linspace(0, 1, 12, dtype=torch.float64).expand_as(upsampled)
    torch.testing.assert_close(upsampled, wanted)
    assert not skip.any()


@pytest.mark.parametrize("eps", [1e-4, 1e-5])
def test_norms_have_the_eps_of_their_place(eps):
    network = small(conv_norm_eps=eps)
    inside = {id(module.norm): module.norm.eps for module in network.modules() if isinstance(module, ConvNormAct)}
    others = [m.eps for m in network.modules() if isinstance(m, nn.InstanceNorm3d) and id(m) not in inside]
    assert set(inside.values()) == {eps} and set(others) == {1e-5}
    assert {m.eps for m in network.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    assert not any(m.affine for m in network.modules() if isinstance(m, nn.InstanceNorm3d))


def test_the_eps_of_old_checkpoints_gives_other_answers():
    image = image_of_waves()
    with torch.inference_mode():
        now, then = filled(small())(image), filled(small(conv_norm_eps=1e-5))(image)
    assert float((now - then).abs().max()) > 1e-5


def quantized(policy: str) -> dict:
    """Lines of the receipt after a forward, by path."""
    torch.manual_seed(0)
    network, image = small(aux_head=True).eval(), noise(1, 2, 8, 32, 32).float()
    copy, receipt = quantize(network, Recipe.parse(f"w4a4 {policy}"))
    with torch.inference_mode():
        copy(image)
    return {line.path: line for line in audit(copy, receipt, executed_layers(network, image)).lines}


def test_under_adaptive_every_1x1x1_convolution_has_a_scale_a_voxel():
    lines = quantized("adaptive")
    assert [path for path, line in lines.items() if line.state is not State.QUANTIZED] == ["aux_out"]
    assert lines.pop("aux_out").state is State.NEVER_RUN
    for path, line in lines.items():
        wanted = {"conv 1x1x1": "per-voxel", "linear": "per-token"}.get(line.kind, "per-channel")
        assert (line.activation.granularity, line.activation.note) == (wanted, ""), path
    kinds = {line.kind for line in lines.values()}
    assert kinds == {"conv 1x1x1", "conv 3x3x3", "conv 1x3x3", "conv 3x3x3 depthwise", "conv 1x3x3 depthwise", "linear"}


def test_excitations_on_one_voxel_fall_back_where_a_scale_would_hold_one_value():
    lines = quantized("per-channel")
    for path, line in lines.items():
        held = (line.activation.granularity, bool(line.activation.note))
        if line.state is State.QUANTIZED and ".se.excitation." in path:
            assert held == ("per-sample", True), path
            assert line.activation.elements_per_scale > 1
        elif line.state is State.QUANTIZED:
            assert held == ("per-token" if line.kind == "linear" else "per-channel", False), path
