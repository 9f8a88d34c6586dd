"""Kinds: names of axes, shapes of weights, and what a receipt calls a layer."""

import pytest

from medquanbench.quant.kind import Convolution, Linear

CONV = Convolution(8, 6, (3, 3, 3))
PLANE = Convolution(8, 6, (1, 3))
GROUPED = Convolution(8, 6, (3, 1, 1), groups=2)
DEPTHWISE = Convolution(8, 16, (3,), groups=8)
TRANSPOSED = Convolution(8, 6, (2, 2, 2), groups=2, transposed=True)
LINEAR = Linear(8, 6)
KINDS = [CONV, PLANE, GROUPED, DEPTHWISE, TRANSPOSED, LINEAR]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_layout_is_as_long_as_its_tensor(kind):
    assert len(kind.weight_layout) == len(kind.weight_shape)
    batched = 2 + kind.spatial_rank
    assert len(kind.activation_layout(batched)) == batched + 1  # the leading axis is two: samples and windows


def test_axes_of_activations():
    assert CONV.activation_layout(5) == ("n", "k", "c", "d", "h", "w")
    assert PLANE.activation_layout(4) == ("n", "k", "c", "h", "w")
    assert DEPTHWISE.activation_layout(3) == ("n", "k", "c", "l")
    assert [LINEAR.activation_layout(rank) for rank in (2, 3, 5)] == [
        ("n", "k", "c"),
        ("n", "k", "l", "c"),
        ("n", "k", "l", "l", "l", "c"),
    ]


def test_axes_and_shapes_of_weights():
    assert (CONV.weight_layout, CONV.weight_shape) == (("o", "i", "p", "q", "r"), (6, 8, 3, 3, 3))
    assert (GROUPED.weight_layout, GROUPED.weight_shape) == (("o", "i", "p", "q", "r"), (6, 4, 3, 1, 1))
    assert (DEPTHWISE.weight_layout, DEPTHWISE.weight_shape) == (("o", "i", "p"), (16, 1, 3))
    assert (TRANSPOSED.weight_layout, TRANSPOSED.weight_shape) == (("g", "i", "o", "p", "q", "r"), (2, 4, 3, 2, 2, 2))
    assert (LINEAR.weight_layout, LINEAR.weight_shape) == (("o", "i"), (6, 8))


def test_pointwise_means_a_kernel_of_one_on_every_axis():
    assert Convolution(8, 6, (1, 1, 1)).pointwise
    assert Convolution(8, 6, (1, 1, 1), transposed=True).pointwise
    assert not GROUPED.pointwise and not LINEAR.pointwise


def test_names():
    assert [str(kind) for kind in KINDS] == [
        "conv 3x3x3",
        "conv 1x3",
        "conv 3x1x1 groups=2",
        "conv 3 depthwise",
        "conv_transpose 2x2x2 groups=2",
        "linear",
    ]
    assert str(Convolution(1, 8, (3,))) == "conv 3"  # one input channel alone is not depthwise
