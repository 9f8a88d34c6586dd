"""What each policy decides, layer by layer of DESIGN section 4; written out by hand."""

import pytest

from medquanbench.quant.kind import Convolution, Linear
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.ranges import RANGES

LAYERS = {
    "conv": Convolution(8, 6, (3, 3, 3)),
    "flat conv": Convolution(8, 6, (1, 3, 3)),
    "pointwise": Convolution(8, 6, (1, 1, 1)),
    "transposed": Convolution(8, 6, (2, 2, 2), transposed=True),
    "pointwise transposed": Convolution(8, 6, (1, 1, 1), transposed=True),
    "grouped": Convolution(8, 8, (3, 3, 3), groups=2),
    "depthwise": Convolution(8, 8, (3, 3, 3), groups=8),
    "pointwise grouped": Convolution(8, 8, (1, 1, 1), groups=2),
    "pointwise depthwise": Convolution(8, 8, (1, 1, 1), groups=8),
    "grouped transposed": Convolution(8, 8, (2, 2, 2), groups=2, transposed=True),
    "linear": Linear(8, 6),
}
TENSOR, CHANNEL, TOKEN, VOXEL = "per-sample", "per-channel", "per-token", "per-voxel"
LAYER, FIXED_CHANNEL = "static per-layer", "static per-channel"
EVERY_CHANNEL = {name: CHANNEL for name in LAYERS} | {"linear": TOKEN}
ACTIVATIONS = {
    "per-tensor": {name: TENSOR for name in LAYERS},
    "per-channel": EVERY_CHANNEL,
    "adaptive": EVERY_CHANNEL | {"pointwise": VOXEL, "pointwise transposed": VOXEL},
    "per-voxel": EVERY_CHANNEL
    | {name: VOXEL for name in ("conv", "flat conv", "pointwise", "transposed", "pointwise transposed")},
    "block": EVERY_CHANNEL,
    "engine": {name: LAYER for name in LAYERS},
    "static-per-tensor": {name: LAYER for name in LAYERS},
    "static-per-channel": {name: FIXED_CHANNEL for name in LAYERS},
}
RANGE = {"engine": "mse", "static-per-tensor": "absmax", "static-per-channel": "absmax"}
AXES = {
    TENSOR: {"n"},
    CHANNEL: {"n", "c"},
    TOKEN: {"n", "k", "l"},
    VOXEL: {"n", "k", "d", "h", "w", "l"},
    LAYER: set(),
    FIXED_CHANNEL: {"c"},
}


def test_every_policy_is_tested():
    assert set(POLICIES) == set(ACTIVATIONS)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("layer", LAYERS)
def test_activation(policy, layer):
    spec = POLICIES[policy]("any.path", LAYERS[layer])
    assert spec.activation.name == ACTIVATIONS[policy][layer]
    assert spec.activation.axes == AXES[spec.activation.name]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("layer", LAYERS)
def test_weight(policy, layer):
    weight = POLICIES[policy]("any.path", LAYERS[layer]).weight
    whole = policy in ("per-tensor", "static-per-tensor")
    assert weight.axes == (set() if whole else {"g", "o"})
    assert weight.name == ("per-tensor" if whole else "per-output-channel")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("layer", LAYERS)
def test_static_scales_belong_to_no_sample(policy, layer):
    """A policy is static for all kinds or for none, and its range is what DESIGN section 4 says."""
    spec = POLICIES[policy]("any.path", LAYERS[layer])
    assert spec.static is (RANGES[RANGE[policy]] if policy in RANGE else None)
    assert (spec.static is None) == ("n" in spec.activation.axes)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_path_decides_nothing(policy):
    assert POLICIES[policy]("a", LAYERS["conv"]) == POLICIES[policy]("b.c", LAYERS["conv"])


def test_blocks_are_made_where_channels_are_summed():
    found = {name for name, kind in LAYERS.items() if POLICIES["block"]("any.path", kind).blocks}
    assert found == {name for name in LAYERS if "grouped" not in name and "depthwise" not in name}
    assert not POLICIES["block"]("any.path", Convolution(1, 6, (3, 3, 3))).blocks
