"""quantize, audit and what belongs to them: which layers, under which names, with what said about each."""

import copy
import io
import pickle

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.networks.nets import SwinUNETR
from torch import nn
from torch.nn import functional as F

from medquanbench.quant import audit, check, executed_layers, quantize, take_image_step
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import FLOAT, Receipt, Recipe, RequestError, RunError, State, TensorNote
from tests.quant.dynamic import DYNAMIC


class Toy(nn.Module):
    """An encoder, two heads of which one is never called, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.ReLU(), nn.Conv3d(4, 4, 1))
        self.head, self.unused = nn.Conv3d(4, 3, 1), nn.Conv3d(4, 3, 1)
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        x = self.head(self.encoder(x))
        return self.linear(x[..., :4])


def toy() -> tuple[nn.Module, torch.Tensor]:
    return Toy().eval(), torch.randn(2, 2, 5, 4, 4)


def run(network: nn.Module, x: torch.Tensor, recipe: str) -> tuple[nn.Module, Receipt, torch.Tensor]:
    """Quantize, one forward, audit with what the float network executes."""
    quantized, receipt = quantize(network, Recipe.parse(recipe))
    with torch.inference_mode():
        y = quantized(x)
    return quantized, audit(quantized, receipt, executed_layers(network, x)), y


def states(receipt: Receipt) -> dict[str, str]:
    return {line.path: line.state.value for line in receipt.lines}


def fingerprint(network: nn.Module) -> list:
    """All that could change in a network: bytes, classes, hooks, flags."""
    tensors = [(key, value.dtype, value.numpy().tobytes()) for key, value in network.state_dict().items()]
    modules = [
        (name, type(m), m.training, len(m._forward_pre_hooks), len(m._forward_hooks), sorted(vars(m)))
        for name, m in network.named_modules(remove_duplicate=False)
    ]
    return [tensors, modules, [(p.requires_grad, id(p)) for p in network.parameters()]]


# ---- the network that was given


@pytest.mark.parametrize("policy", DYNAMIC)
def test_the_network_is_left_as_it_was(policy):
    network, x = toy()
    before, y = fingerprint(network), network(x)
    check(network, Recipe.parse(f"w4a4 {policy}"))
    _, receipt, z = run(network, x, f"w4a4 {policy}")
    assert fingerprint(network) == before
    assert torch.equal(network(x), y) and not torch.equal(y, z)
    assert all(p.requires_grad for p in network.parameters())
    assert receipt.recipe == f"w4a4 {policy}"


def test_computed_tensors_do_not_hinder_the_copy():
    network, x = toy()
    network.cached = network.linear.weight * 2  # not a leaf: copy.deepcopy refuses it
    quantized, _, _ = run(network, x, "w4a4 per-tensor")
    assert torch.equal(quantized.cached, network.cached)


def test_the_reference_computes_the_same():
    network, x = toy()
    quantized, receipt = quantize(network, Recipe())
    assert torch.equal(quantized(x), network(x))
    assert {(line.state, line.reason) for line in receipt.lines} == {(State.KEPT, "reference")}
    assert audit(quantized, receipt) == receipt and take_image_step(quantized) is None
    assert not any(isinstance(m, QuantizedLayer) for m in quantized.modules())


def test_a_network_that_is_a_single_layer():
    quantized, receipt, y = run(nn.Conv3d(1, 2, 3), torch.randn(1, 1, 4, 4, 4), "w4a4 per-channel")
    assert isinstance(quantized, QuantizedLayer) and y.shape == (1, 2, 2, 2, 2)
    assert states(receipt) == {"": "quantized"} and receipt.lines[0].reads_image


def test_training_mode_is_kept():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout(), nn.Conv3d(2, 2, 1))
    network[2].eval()
    quantized, _ = quantize(network, Recipe.parse("w4a4 per-tensor"))
    assert [m.training for m in quantized] == [True, True, False]
    assert not quantized[0].weight.requires_grad and quantized[0].bias.requires_grad


# ---- names


class Shared(nn.Module):
    """One layer under two names, another twice in a list, as nnU-Net's decoder holds the encoder."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 4, 1)
        self.again = self.first
        self.middle = nn.Sequential(nn.Conv3d(4, 4, 1), nn.ReLU())
        self.decoder = nn.ModuleDict({"encoder": self.middle, "up": nn.Conv3d(4, 2, 1)})

    def forward(self, x):
        x = self.again(x)
        return self.decoder["up"](self.decoder["encoder"](x) + self.middle(x))


def test_a_layer_under_several_names_is_counted_once_and_replaced_everywhere():
    network = Shared()
    quantized, receipt, _ = run(network, torch.randn(1, 1, 3, 3, 3), "w4a4 per-tensor")
    assert [(line.path, line.aliases) for line in receipt.lines] == [
        ("first", ("again",)), ("middle.0", ("decoder.encoder.0",)), ("decoder.up", ()),
    ]  # fmt: skip
    assert [line.parameters for line in receipt.lines] == [8, 20, 10]
    assert isinstance(quantized.first, QuantizedLayer) and quantized.first is quantized.again
    assert quantized.middle[0] is quantized.decoder["encoder"][0]
    assert quantized.middle[0].calls == 2


def test_nnunet_counts_each_layer_once():
    network = PlainConvUNet(
        1, 3, (4, 8, 8), nn.Conv3d, 3, (1, 2, 2), 1, 3, 1, conv_bias=True, norm_op=nn.InstanceNorm3d, nonlin=nn.ReLU,
        deep_supervision=False,
    ).eval()  # fmt: skip
    quantized, receipt, _ = run(network, torch.randn(1, 1, 8, 8, 8), "w4a4 per-channel")
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv3d, nn.ConvTranspose3d))]
    assert len(receipt.lines) == len(layers) == 3 + 2 + 2 + 2  # encoder, up, decoder, heads
    # conv and all_modules.0, and all of it again below the decoder: each name now leads to the same quantized layer.
    assert receipt.lines[0].path == "encoder.stages.0.0.convs.0.conv" and len(receipt.lines[0].aliases) == 3
    for line in receipt.lines:
        found = {id(quantized.get_submodule(name)) for name in (line.path, *line.aliases)}
        assert len(found) == 1 and isinstance(quantized.get_submodule(line.path), QuantizedLayer)
    assert states(receipt)["decoder.seg_layers.0"] == "never-run"  # the head of deep supervision
    assert sum(line.parameters for line in receipt.lines) == sum(p.numel() for m in layers for p in m.parameters())


def test_tied_weights_are_quantized_once_each():
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    network[2].weight = network[0].weight
    alone, _ = quantize(nn.Sequential(network[0]), Recipe.parse("w3a3 per-channel"))
    quantized, receipt = quantize(network, Recipe.parse("w3a3 per-channel"))
    assert torch.equal(quantized[0].weight, alone[0].weight) and torch.equal(quantized[2].weight, alone[0].weight)
    assert receipt.count(State.QUANTIZED) == 2


# ---- keep


@pytest.mark.parametrize(
    ("glob", "kept"),
    [
        ("first", ["first"]),
        ("again", ["first"]),  # an alias
        ("decoder.*", ["middle.0", "decoder.up"]),  # by the alias decoder.encoder.0 too: * crosses dots
        ("*.0", ["middle.0"]),
        ("m[hi]ddle.?", ["middle.0"]),
        ("nothing,first", None),
        ("decoder", None),  # a container is no layer
        ("FIRST", None),
    ],
)
def test_keep_globs(glob, kept):
    recipe = Recipe.parse(f"w4a4 per-tensor keep({glob})")
    if kept is None:
        with pytest.raises(RequestError, match=r"matches none of 3 layers; they are first, middle.0, decoder.up"):
            quantize(Shared(), recipe)
        return
    network = Shared()
    quantized, receipt = quantize(network, recipe)
    assert list(receipt.paths(State.KEPT)) == kept
    for path in kept:
        line = next(line for line in receipt.lines if line.path == path)
        assert (line.reason, line.weight, line.activation) == (f"keep({glob})", FLOAT, FLOAT)
        assert torch.equal(quantized.get_submodule(path).weight, network.get_submodule(path).weight)


def test_layers_at_8_bits_are_held_as_in_w8a8_and_the_others_as_without():
    network, x = toy()
    mixed, receipt, _ = run(network, x, "w4a4 per-channel at8(encoder.3,linear)")
    low, high = (run(network, x, f"{bits} per-channel")[0] for bits in ("w4a4", "w8a8"))
    raised = {"encoder.3", "linear"}
    for path in ("encoder.0", "encoder.3", "head", "linear"):
        like = (high if path in raised else low).get_submodule(path)
        assert torch.equal(mixed.get_submodule(path).weight, like.weight)
        assert mixed.get_submodule(path).activation == like.activation
    bits = {line.path: (line.weight.bits, line.activation.bits) for line in receipt.lines if line.state == "quantized"}
    assert bits == {path: (8, 8) if path in raised else (4, 4) for path in bits}


def test_keep_goes_before_at8():
    network, x = toy()
    receipt = run(network, x, "w4a4 per-tensor keep(head) at8(*)")[1]
    assert states(receipt)["head"] == "kept"


def test_keep_gives_the_glob_that_matched():
    _, receipt = quantize(Shared(), Recipe.parse("w4a4 per-tensor keep(again,decoder.up)"))
    assert [line.reason for line in receipt.lines] == ["keep(again)", "", "keep(decoder.up)"]


# ---- requests that cannot be carried out, said early and late


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("w4a4 per-volume", "no policy 'per-volume' in medquanbench.quant; there is: adaptive, block, engine"),
        (
            "w4a4 adaptive smoth",
            "no transform 'smoth' in medquanbench.quant; there is: adaround, asymmetric, bias",
        ),
        ("w4a4 adaptive smooth(beta=1)", "no parameter 'beta' in the transform smooth; there is: alpha"),
        ("w4a4 adaptive smooth(alpha=half)", "alpha must be a number"),
        ("w4a4 adaptive smooth(alpha=1.5)", "alpha is a number from 0"),
        ("w4a4 adaptive smooth(alpha=nan)", "alpha is a number from 0"),
        ("w4a4 adaptive svd(rank=0)", "rank is a whole number above 0"),
        ("w4a4 adaptive svd(rank=2.5)", "rank is a whole number above 0"),
        ("w4a4 adaptive hadamard(block=3)", "block is a power of two"),
        ("w4a4 adaptive hadamard(block=inf)", "block is a power of two"),
        ("w4a4 adaptive calib(8)", "uses calibration"),
        ("w4a4 adaptive keep(no.such)", "keep\\(no.such\\) matches none of 3 layers"),
        ("w4a4 adaptive at8(no.such)", "at8\\(no.such\\) matches none of 3 layers"),
        ("w16a4 adaptive clip", "rounds by clip, and w16 leaves weights in float"),
        ("w4a4 adaptive clip+clip", "rounds by clip twice"),
        ("w4a4 adaptive gptq(damp=2)", "damp is a number from 0 to 1"),
        ("w4a4 adaptive descend(sweeps=0)", "sweeps is a whole number"),
        ("w4a4 adaptive clip(alpha=1)", "no parameter 'alpha' in the transform clip"),
        ("w4a4 adaptive svd+smooth keep(*)", "changes no layer: 3 of 3 layers"),
        ("w16a16 adaptive", "changes no layer: 16 is float"),
        ("w16a16 adaptive input(16)", "changes no layer"),
        ("w4a4 adaptive keep(*)", "changes no layer: 3 of 3 layers are kept or unsupported"),
    ],
)
@pytest.mark.parametrize("ask", [check, quantize])
def test_requests_that_are_wrong(ask, recipe, message):
    network = Shared()
    before = fingerprint(network)
    with pytest.raises(RequestError, match=message):
        ask(network, Recipe.parse(recipe))
    assert fingerprint(network) == before


@pytest.mark.parametrize("ask", [check, quantize])
@pytest.mark.parametrize("network", [nn.Sequential(nn.ReLU()), nn.Sequential(nn.LSTM(3, 3))], ids=["none", "opaque"])
def test_a_network_without_layers(ask, network):
    with pytest.raises(RequestError, match="changes no layer"):
        ask(network, Recipe.parse("w4a4 per-tensor"))
    with pytest.raises(RequestError, match="matches none of 0 layers"):
        ask(network, Recipe.parse("w4a4 per-tensor keep(*)"))


def test_calibration_cases_that_nothing_uses():
    with pytest.raises(RequestError, match="uses calibration"):
        quantize(Toy(), Recipe.parse("w4a4 per-tensor"), calibration=[torch.zeros(1)])


@pytest.mark.parametrize("ask", [check, quantize])
def test_a_quantized_network_is_not_quantized_again(ask):
    quantized, _ = quantize(Toy(), Recipe.parse("w4a4 per-tensor"))
    with pytest.raises(RequestError, match="quantized already"):
        ask(quantized, Recipe.parse("w8a8 per-tensor"))
    with pytest.raises(RequestError, match="quantized already"):
        ask(nn.Sequential(nn.Conv3d(2, 2, 1), quantized), Recipe.parse("w8a8 per-tensor"))


# ---- 16 bits are float


def test_16_bits_leave_a_tensor_as_it_is(quantized_inputs):
    network, x = toy()
    quantized, receipt, _ = run(network, x, "w16a4 per-channel")
    assert torch.equal(quantized.head.weight, network.head.weight)
    assert {line.weight for line in receipt.lines} == {FLOAT}
    assert {line.activation.bits for line in receipt.lines if line.state is State.QUANTIZED} == {4}
    quantized, receipt, _ = run(network, x, "w4a16 per-channel")
    assert not torch.equal(quantized.head.weight, network.head.weight)
    assert {line.weight.bits for line in receipt.lines} == {4}
    assert {line.activation for line in receipt.lines} == {FLOAT}
    assert torch.equal(quantized_inputs(network, x, "w4a16 per-channel")["encoder.0"], x)
    assert receipt.image == FLOAT


# ---- the receipt before and after a forward


def test_the_receipt_before_a_forward():
    network, _ = toy()
    quantized, receipt = quantize(network, Recipe.parse("w4a8 adaptive"))
    line = receipt.lines[1]
    assert (line.path, line.kind, line.parameters) == ("encoder.3", "conv 1x1x1", 20)
    assert line.activation == TensorNote(8, "per-voxel", elements_per_scale=0, effective_bits=8.0)
    idle = audit(quantized, receipt)
    assert {(line.state, line.reason) for line in idle.lines} == {(State.NEVER_RUN, "no forward has called it")}
    quantized, receipt = quantize(network, Recipe.parse("w4a8 adaptive input(8)"))
    assert audit(quantized, receipt).image is None  # no forward, so no reason to miss the image


def test_the_receipt_after_a_forward():
    network, x = toy()
    quantized, receipt, _ = run(network, x, "w4a8 adaptive")
    assert states(receipt) == {
        "encoder.0": "quantized", "encoder.3": "quantized", "head": "quantized", "unused": "never-run",
        "linear": "quantized",
    }  # fmt: skip
    assert receipt.summary() == "4 quantized, 1 never-run"
    assert [line.activation.elements_per_scale for line in receipt.lines] == [5 * 4 * 4, 4, 4, 0, 4]
    assert audit(quantized, receipt, frozenset({"head"})) == receipt  # an audited receipt can be audited again
    assert audit(quantized, quantize(network, Recipe.parse("w4a8 adaptive"))[1]) == receipt


def test_a_receipt_of_another_network():
    network, _ = toy()
    _, receipt = quantize(network, Recipe.parse("w4a4 adaptive"))
    for other in (network, quantize(Stem(), Recipe.parse("w4a4 adaptive"))[0]):
        with pytest.raises(RunError, match="of another network: encoder.0, encoder.3, .* are not quantized"):
            audit(other, receipt)


def test_executed_layers_are_those_that_a_forward_calls():
    network, x = toy()
    assert executed_layers(network, x) == {"encoder.0", "encoder.3", "head", "linear"}
    assert executed_layers(Shared(), torch.randn(1, 1, 2, 2, 2)) == {"first", "middle.0", "decoder.up"}


def test_executed_layers_leaves_no_hook_where_the_forward_fails():
    network, _ = toy()
    before = fingerprint(network)
    with pytest.raises(RuntimeError):
        executed_layers(network, torch.randn(1, 5, 4, 4, 4))  # wrong number of channels
    assert fingerprint(network) == before


# ---- every quantized line was executed


class AsksForItsClass(Toy):
    """Calls its head where that is a convolution; else computes by hand, past what stands in the head's place."""

    def forward(self, x):
        x = self.encoder(x)
        return self.head(x) if type(self.head) is nn.Conv3d else F.conv3d(x, self.head.weight, self.head.bias)


class KeepsAList(Toy):
    """Holds its head in a list of Python's too, where no replacement reaches it."""

    def __init__(self):
        super().__init__()
        self.heads = [self.head]

    def forward(self, x):
        return self.heads[0](self.encoder(x))


class Borrows(Toy):
    """Computes with the weight of a layer that it never calls, quantized or not."""

    def forward(self, x):
        return F.conv3d(self.encoder(x), self.head.weight)


class Looks(Toy):
    """Looks at a weight's type, as many networks do, and calls the layer."""

    def forward(self, x):
        return self.head(self.encoder(x).to(self.head.weight.dtype))


@pytest.mark.parametrize("network", [AsksForItsClass, KeepsAList])
def test_a_bypassed_layer_fails_the_run(network):
    with pytest.raises(RunError, match="1 layers run in the float network but not when quantized: head"):
        run(network().eval(), torch.randn(1, 2, 4, 4, 4), "w4a4 per-tensor")
    _, receipt, _ = run(network().eval(), torch.randn(1, 2, 4, 4, 4), "w4a4 per-tensor keep(head)")
    assert states(receipt)["head"] == "kept"


def test_a_layer_whose_weight_is_used_without_calling_it_fails_the_run():
    with pytest.raises(RunError, match="1 layers have their weight used without being called: head"):
        run(Borrows().eval(), torch.randn(1, 2, 4, 4, 4), "w4a4 per-tensor")
    quantized, receipt, _ = run(Looks().eval(), torch.randn(1, 2, 4, 4, 4), "w4a4 per-tensor")
    assert quantized.unused.weight.shape == (3, 4, 1, 1, 1)  # looked at from outside, which is no use of it
    assert audit(quantized, receipt) == receipt
    assert states(receipt) == {
        "encoder.0": "quantized", "encoder.3": "quantized", "head": "quantized", "unused": "never-run",
        "linear": "never-run",
    }  # fmt: skip


# ---- the image


class Stem(nn.Module):
    """Two modalities with a stem each, a skip that reads both, and a head."""

    def __init__(self):
        super().__init__()
        self.t1, self.t2, self.skip = nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 1), nn.Conv3d(2, 2, 1)
        self.head = nn.Conv3d(2, 2, 1)

    def forward(self, x):
        return self.head(self.t1(x[:, :1]) + self.t2(x[:, 1:]) + self.skip(x))


class Cloned(Stem):
    def forward(self, x):
        return super().forward(x.clone())


def test_input_bits_touch_only_layers_that_read_the_image(quantized_inputs):
    network, x = Stem(), torch.randn(2, 2, 4, 4, 4)
    _, receipt, _ = run(network, x, "w4a4 per-channel input(8)")
    assert [line.path for line in receipt.lines if line.reads_image] == ["t1", "t2", "skip"]
    assert [line.activation.bits for line in receipt.lines] == [8, 8, 8, 4]
    assert receipt.image == receipt.lines[0].activation
    found, coarse = (quantized_inputs(network, x, f"w4a4 per-channel{more}") for more in (" input(8)", ""))
    for path in ("t1", "t2", "skip"):
        finer = quantized_inputs(network, x, "w4a8 per-channel")[path]
        assert torch.equal(found[path], finer) and not torch.equal(found[path], coarse[path])


@pytest.mark.parametrize("policy", DYNAMIC)
def test_the_image_is_read_by_three_layers_of_swinunetr(policy):
    network = SwinUNETR(1, 2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), spatial_dims=2).eval()
    quantized, receipt, _ = run(network, torch.randn(1, 1, 64, 32), f"w4a4 {policy} input(8)")
    readers = {line.path: line.activation.bits for line in receipt.lines if line.reads_image}
    assert readers == {"swinViT.patch_embed.proj": 8, "encoder1.layer.conv1.conv": 8, "encoder1.layer.conv3.conv": 8}
    rest = {line.activation.bits for line in receipt.lines if line.state is State.QUANTIZED and not line.reads_image}
    assert rest == {4} and receipt.image.bits == 8
    assert receipt.image.granularity == "per-sample" if policy in ("per-tensor", "per-voxel") else "per-channel"
    attention = [line for line in receipt.lines if line.state is State.UNSUPPORTED]
    assert len(attention) == 4 and all("relative_position_bias_table" in line.reason for line in attention)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x))


def test_a_layer_that_reads_the_image_first_and_its_own_output_next():
    quantized, receipt, _ = run(Twice(), torch.randn(1, 1, 4, 4, 4), "w4a4 per-tensor input(8)")
    assert receipt.lines[0].reads_image and receipt.image.bits == 8
    assert quantized.conv.calls == 2


def test_an_image_of_16_bits_stays_float(quantized_inputs):
    network, x = Stem(), torch.randn(2, 2, 4, 4, 4)
    quantized, receipt, _ = run(network, x, "w4a4 per-channel input(16)")
    assert receipt.image == FLOAT and take_image_step(quantized) is None
    assert torch.equal(quantized_inputs(network, x, "w4a4 per-channel input(16)")["skip"], x)


def test_the_image_alone():
    # w16a16 with input(4) touches nothing but the image: the layers that do not read it are float, and kept.
    quantized, receipt, _ = run(Stem(), torch.randn(2, 2, 4, 4, 4), "w16a16 per-channel input(4)")
    assert states(receipt) == {"t1": "quantized", "t2": "quantized", "skip": "quantized", "head": "kept"}
    assert receipt.lines[3].reason == "its weight and its input have 16 bits: float"
    assert receipt.image.bits == 4


def test_a_network_that_copies_the_image_first_has_no_image_layer():
    x = torch.randn(2, 2, 4, 4, 4)
    quantized, receipt, _ = run(Cloned(), x, "w4a4 per-channel")
    assert receipt.image is None and not any(line.reads_image for line in receipt.lines)
    assert take_image_step(quantized) is None
    with pytest.raises(RequestError, match="input\\(8\\)' sets the bits of the image, but no quantized layer"):
        run(Cloned(), x, "w4a4 per-channel input(8)")
    with pytest.raises(RequestError, match="or that layer is kept"):
        run(Stem(), x, "w4a4 per-channel keep(t?,skip) input(8)")


def test_the_step_of_the_image_is_the_coarsest_since_the_last_look():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Conv3d(2, 2, 1))
    quantized, _ = quantize(network, Recipe.parse("w4a4 per-tensor"))
    assert take_image_step(quantized) is None
    image = torch.zeros(2, 1, 2, 2, 2)
    for largest in ((3.5, 14.0), (7.0, 0.7)):
        image[:, 0, 0, 0, 0] = torch.tensor(largest)
        quantized(image)
    assert take_image_step(quantized) == 2.0  # 14 / 7
    assert take_image_step(quantized) is None
    quantized(image)
    assert take_image_step(quantized) == 1.0


@pytest.mark.parametrize("policy", DYNAMIC)
def test_windows_of_nothing_but_zeros_have_no_step(policy):
    quantized, _ = quantize(nn.Sequential(nn.Conv3d(2, 2, 1)), Recipe.parse(f"w4a4 {policy}"))
    quantized(torch.zeros(2, 2, 2, 2, 2))
    assert take_image_step(quantized) is None  # air; a scale of 1 is no step
    image = torch.zeros(2, 2, 2, 2, 2)
    image[0, 0, 0, 0] = 0.7
    quantized(image)
    assert take_image_step(quantized) == pytest.approx(0.1)


# ---- nothing stays behind


@pytest.mark.parametrize("policy", DYNAMIC)
def test_two_forwards_give_the_same(policy):
    network, x = toy()
    quantized, _ = quantize(network, Recipe.parse(f"w4a4 {policy}"))
    with torch.inference_mode():
        first = quantized(x)
        quantized(100 * x[:1])
        assert torch.equal(quantized(x), first)
    assert torch.equal(quantized(x).detach(), first)  # with gradients on, too


def test_no_gradient_is_recorded_through_the_grid():
    x = torch.randn(1, 2, 3, requires_grad=True)
    network = nn.Sequential(nn.Linear(3, 3))
    quantize(network, Recipe.parse("w4a4 per-tensor"))[0](x).sum().backward()
    assert x.grad is None  # the derivative of rounding is zero


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fail = nn.Conv3d(1, 2, 1), False

    def forward(self, x):
        y = self.conv(x)
        if self.fail:
            raise ValueError("inside")
        return y


def test_an_exception_leaves_no_note_behind():
    quantized, _ = quantize(Fails(), Recipe.parse("w4a4 per-tensor input(8)"))
    x = torch.randn(4, 1, 2, 2, 2)
    right = quantized(x)
    quantized.fail = True
    with pytest.raises(ValueError, match="inside"):
        quantized(x)
    assert not quantized.conv.batch.is_open and not quantized.conv.batch.is_image(x)
    quantized.fail = False
    assert torch.equal(quantized(x), right)


def test_a_part_called_by_itself_takes_every_entry_as_a_sample():
    network, x = toy()
    network, x = network.double(), x.double()
    quantized, receipt = quantize(network, Recipe.parse("w4a4 per-tensor"))
    alone = quantized.encoder(x)
    assert torch.equal(alone[:1], quantized.encoder(x[:1]))
    assert not any(line.reads_image for line in audit(quantized, receipt).lines)


# ---- the quantized network is a network


def pickled(network: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(network))


def saved(network: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_copies_work_by_themselves(copied):
    x = torch.randn(2, 2, 4, 4, 4)
    quantized, receipt = quantize(Stem(), Recipe.parse("w4a4 per-tensor input(8)"))
    other = copied(quantized)
    assert torch.equal(other(x), quantized(x))
    assert take_image_step(other) == take_image_step(quantized) is not None
    assert audit(other, receipt) == audit(quantized, receipt)
    # The copy listens to its own root: nothing of its forward reaches the network it came from.
    other(100 * x)
    assert take_image_step(quantized) is None
    assert all(m.batch is other.t1.batch for m in other.modules() if isinstance(m, QuantizedLayer))
    assert other.t1.batch is not quantized.t1.batch


def test_a_state_dict_goes_out_and_in():
    network, x = toy()
    quantized, _ = quantize(network, Recipe.parse("w4a4 adaptive"))
    other, _ = quantize(Toy().eval(), Recipe.parse("w4a4 adaptive"))
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(x), quantized(x))


def test_a_quantized_network_moves_between_types():
    network, x = toy()
    quantized, _ = quantize(network, Recipe.parse("w4a4 per-channel"))
    y = quantized(x)
    assert torch.allclose(quantized.double()(x.double()).float(), y, atol=1e-4)
    assert {p.dtype for p in quantized.parameters()} == {torch.float64}
