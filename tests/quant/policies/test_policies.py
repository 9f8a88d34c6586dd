"""What each policy decides, layer by layer of DESIGN section 4; written out by hand."""

import pytest

from medquanbench.quant.kind import Convolution, Linear
from medquanbench.quant.policies import POLICIES

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
EVERY_CHANNEL = {name: CHANNEL for name in LAYERS} | {"linear": TOKEN}
ACTIVATIONS = {
    "per-tensor": {name: TENSOR for name in LAYERS},
    "per-channel": EVERY_CHANNEL,
    "adaptive": EVERY_CHANNEL | {"pointwise": VOXEL, "pointwise transposed": VOXEL},
    "per-voxel": EVERY_CHANNEL
    | {name: VOXEL for name in ("conv", "flat conv", "pointwise", "transposed", "pointwise transposed")},
}
AXES = {
    TENSOR: {"n"},
    CHANNEL: {"n", "c"},
    TOKEN: {"n", "k", "l"},
    VOXEL: {"n", "k", "d", "h", "w", "l"},
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
    assert weight.axes == (set() if policy == "per-tensor" else {"g", "o"})
    assert weight.name == ("per-tensor" if policy == "per-tensor" else "per-output-channel")


@pytest.mark.parametrize("policy", POLICIES)
def test_the_path_decides_nothing(policy):
    assert POLICIES[policy]("a", LAYERS["conv"]) == POLICIES[policy]("b.c", LAYERS["conv"])
