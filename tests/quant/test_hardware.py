"""What could run a product: tags against true integers, for every set of axes that could keep scales.

A product has scales at its end if there is one factor an output element, whatever the integers are:
    sum over terms of (q_x S_x)(q_w S_w) = (sum of q_x q_w) F
The one candidate for F is the mean of S_x S_w over the terms of the sum. The integer layers give that too.
"""

from itertools import chain, combinations

import numpy as np
import pytest
import torch

from medquanbench.quant.formats import FORMATS, format_quantize
from medquanbench.quant.formats.nf4 import NF4
from medquanbench.quant.granularity import PER_SAMPLE, PER_WEIGHT, Granularity, granularity
from medquanbench.quant.grid import Grid, IntegerGrid
from medquanbench.quant.grids.minifloat import E4M3
from medquanbench.quant.hardware import Tag, hardware, summed_axes
from medquanbench.quant.kind import Convolution, Kind, Linear
from medquanbench.quant.observers import OBSERVERS
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.spec import LayerSpec, StaticSpec, TensorSpec
from tests.quant.integer_layers import integer_convolution, integer_transposed

INT4 = IntegerGrid(4)
KINDS = {
    "3x3x3": Convolution(3, 4, (3, 3, 3)),
    "1x3x3": Convolution(3, 4, (1, 3, 3)),
    "3x1x1": Convolution(3, 4, (3, 1, 1)),
    "1x1x1": Convolution(3, 4, (1, 1, 1)),
    "image": Convolution(1, 4, (3, 3, 3)),
    "depthwise": Convolution(3, 6, (3, 3, 3), groups=3),
    "depthwise 1x1x1": Convolution(3, 3, (1, 1, 1), groups=3),
    "grouped": Convolution(4, 4, (1, 1, 3), groups=2),
    "transposed": Convolution(3, 4, (2, 2, 2), transposed=True),
    "transposed 1x1x1": Convolution(3, 4, (1, 1, 1), transposed=True),
    "grouped transposed": Convolution(4, 6, (1, 2, 2), groups=2, transposed=True),
    "depthwise transposed": Convolution(3, 3, (2, 2, 2), groups=3, transposed=True),
    "2d": Convolution(3, 4, (3, 3)),
    "1d": Convolution(3, 4, (3,)),
    "linear": Linear(3, 4),
    "linear of one": Linear(1, 4),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
SHAPE = {0: (2, 2, 3), 1: (2, 2, 5), 2: (2, 2, 5, 4), 3: (2, 2, 5, 4, 3)}  # n k l, and n k with the spatial axes


def shape_of(kind: Kind) -> tuple[int, ...]:
    n, k, *rest = SHAPE[kind.spatial_rank]
    return (n, k, *rest, kind.inputs) if isinstance(kind, Linear) else (n, k, kind.inputs, *rest)


def layout_of(kind: Kind) -> tuple[str, ...]:
    return kind.activation_layout(len(shape_of(kind)) - 1)


def product(kind: Kind, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The layer's product for arrays in the layouts of the kind, stride 1 (so that transposed windows overlap)."""
    x = x.reshape(-1, *x.shape[2:])
    if isinstance(kind, Linear):
        return np.einsum("...c,oc->...o", x, w)
    ones, none = (1,) * kind.spatial_rank, (0,) * kind.spatial_rank
    if kind.transposed:
        return integer_transposed(x, w.reshape(kind.inputs, *w.shape[2:]), ones, none, ones, kind.groups)
    return integer_convolution(x, w, ones, none, ones, kind.groups)


def spread(shape: tuple[int, ...], layout: tuple[str, ...], axes: frozenset[str], random) -> np.ndarray:
    """Scales of any value along the axes, equal along all others."""
    kept = [size if axis in axes else 1 for size, axis in zip(shape, layout)]
    return np.broadcast_to(random.uniform(0.5, 2.0, kept), shape)


def scales_come_out(kind: Kind, weight: frozenset[str], activation: frozenset[str]) -> bool:
    random = np.random.default_rng(0)
    scale_x = spread(shape_of(kind), layout_of(kind), activation, random)
    scale_w = spread(kind.weight_shape, kind.weight_layout, weight, random)
    q_x, q_w = random.integers(-7, 8, scale_x.shape), random.integers(-7, 8, scale_w.shape)
    terms = product(kind, np.ones_like(scale_x), np.ones_like(scale_w))
    factor = product(kind, scale_x, scale_w) / terms
    exact = product(kind, q_x, q_w)
    assert exact.dtype == np.int64
    return np.allclose(product(kind, q_x * scale_x, q_w * scale_w), exact * factor, rtol=1e-9, atol=1e-9)


def spec(axes: frozenset[str], grid: Grid = INT4) -> TensorSpec:
    return TensorSpec(grid, Granularity(" ".join(sorted(axes)) or "none", axes), OBSERVERS["absmax"])


def subsets(axes: tuple[str, ...]) -> list[frozenset[str]]:
    names = sorted(set(axes))
    return [frozenset(some) for some in chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))]


@kinds
def test_gemm_is_where_activation_scales_come_out_of_the_integer_sums(kind):
    for axes in subsets(layout_of(kind)):
        tag = hardware(kind, spec(frozenset("go")), spec(axes), static=False).tag
        assert (tag == Tag.GEMM) == scales_come_out(kind, frozenset("go"), axes), axes
        assert tag in (Tag.GEMM, Tag.SIMULATION)


@kinds
def test_gemm_is_where_weight_scales_come_out_of_the_integer_sums(kind):
    for axes in subsets(kind.weight_layout):
        tag = hardware(kind, spec(axes), spec(frozenset("n")), static=True).tag
        assert (tag == Tag.GEMM) == scales_come_out(kind, axes, frozenset("n")), axes
        assert tag in (Tag.GEMM, Tag.SIMULATION)


@kinds
def test_foldable_is_where_folding_the_channels_leaves_scales_that_come_out(kind):
    for axes in subsets(layout_of(kind)):
        tag = hardware(kind, spec(frozenset("go")), spec(axes), static=True).tag
        as_is, folded = (scales_come_out(kind, frozenset("go"), some) for some in (axes, axes - {"c"}))
        assert tag == (Tag.GEMM if as_is else Tag.FOLDABLE if folded else Tag.SIMULATION), axes


@kinds
def test_foldable_scales_go_into_the_weight(kind):
    """With a weight that was rounded after folding, the product is one of integers, with scales at its end."""
    found = hardware(kind, spec(frozenset("go")), spec(frozenset("c")), static=True)
    assert found.tag == (Tag.FOLDABLE if "c" in summed_axes(kind) else Tag.GEMM)
    random = np.random.default_rng(0)
    channels = random.uniform(0.5, 2.0, kind.inputs)
    q_x = random.integers(-7, 8, shape_of(kind))
    place = layout_of(kind).index("c")
    scale_x = channels.reshape([-1 if i == place else 1 for i in range(q_x.ndim)])
    scale_w = weight_channels(kind, channels)
    folded = random.normal(size=kind.weight_shape) * scale_w
    shared = tuple(i for i, axis in enumerate(kind.weight_layout) if axis not in "go")
    step = np.abs(folded).max(shared, keepdims=True) / 7
    q_w = np.rint(folded / step).astype(np.int64)
    terms = product(kind, np.ones(q_x.shape), np.ones(q_w.shape))
    factor = product(kind, np.ones(q_x.shape), np.broadcast_to(step, q_w.shape)) / terms
    np.testing.assert_allclose(
        product(kind, q_x * scale_x, q_w * step / scale_w), product(kind, q_x, q_w) * factor, rtol=1e-9, atol=1e-9
    )


def weight_channels(kind: Kind, channels: np.ndarray) -> np.ndarray:
    """A value an input channel, where the weight has them."""
    if isinstance(kind, Linear):
        return channels[None]
    taps = (1,) * kind.spatial_rank
    if kind.transposed:
        return channels.reshape(kind.groups, -1, 1, *taps)
    by_group = channels.reshape(kind.groups, 1, -1).repeat(kind.outputs // kind.groups, 1)
    return by_group.reshape(kind.outputs, -1, *taps)


@pytest.mark.parametrize("name", ["mxint8", "mxfp8", "mxfp6-e3m2", "mxfp4", "nvfp4"])
def test_a_block_product_is_the_sum_of_its_blocks(name):
    """40 channels in blocks: what lies on the format's grid is multiplied and added, then scaled, block by block."""
    format = FORMATS[name]
    assert hardware(Convolution(40, 5, (3, 3, 3)), format, format, static=False).tag == Tag.BLOCK
    x, w = torch.randn(6, 40), torch.randn(5, 40)  # one tap of the kernel for six voxels: taps add up outside
    total = torch.zeros(6, 5, dtype=torch.float64)
    for start in range(0, 40, format.block):
        parts = []
        for tensor in (x, w):
            block = tensor[:, start : start + format.block]
            largest = block.abs().amax(1, keepdim=True)
            scale = format.scales.scale(largest, format.grid, tensor.abs().max())
            parts.append((format.grid.round_(block / scale).double(), scale.double()))
        (q_x, scale_x), (q_w, scale_w) = parts
        total += (q_x @ q_w.T) * scale_x * scale_w.T
    held = format_quantize(x, 1, format).double() @ format_quantize(w, 1, format).double().T
    torch.testing.assert_close(held, total, rtol=1e-6, atol=1e-6)


MX, NV, INT8 = FORMATS["mxfp4"], FORMATS["nvfp4"], FORMATS["mxint8"]
WIDE = Convolution(64, 64, (3, 3, 3))
TENSOR = spec(frozenset())


@pytest.mark.parametrize(
    ("kind", "weight", "activation", "tag", "words"),
    [
        (WIDE, MX, MX, Tag.BLOCK, "neighbours along the summed channels"),
        (WIDE, MX, FORMATS["mxfp8"], Tag.BLOCK, "neighbours"),
        (Linear(64, 8), NV, NV, Tag.BLOCK, "16 neighbours"),
        (Convolution(64, 64, (2, 2, 2), transposed=True), MX, MX, Tag.BLOCK, "neighbours"),
        (Convolution(64, 64, (3, 3, 3), groups=2), MX, MX, Tag.BLOCK, "neighbours"),
        (Convolution(64, 64, (3, 3, 3), groups=4), MX, MX, Tag.SIMULATION, "across groups of 16"),
        (Convolution(64, 64, (3, 3, 3), groups=64), NV, NV, Tag.SIMULATION, "across groups of 1,"),
        (WIDE, MX, NV, Tag.SIMULATION, "no unit multiplies mxfp4 by nvfp4"),
        (WIDE, MX, INT8, Tag.SIMULATION, "no unit multiplies mxfp4 by mxint8"),
        (WIDE, MX, TENSOR, Tag.SIMULATION, "held otherwise"),
        (WIDE, NF4, TENSOR, Tag.SIMULATION, "blocks of nf4"),
        (WIDE, FORMATS["benford"], None, Tag.SIMULATION, "input stays float"),
        (WIDE, None, TENSOR, Tag.SIMULATION, "weight stays float"),
        (WIDE, None, None, Tag.SIMULATION, "weight and input stay float"),
        (WIDE, spec(frozenset("o"), NF4.grid), spec(frozenset(), NF4.grid), Tag.SIMULATION, "looked up"),
        (WIDE, spec(frozenset("o"), E4M3), spec(frozenset("n"), E4M3), Tag.GEMM, "outside the sums"),
        (WIDE, spec(frozenset("o"), E4M3), TENSOR, Tag.SIMULATION, "floating-point numbers by integers"),
        (WIDE, spec(frozenset("i")), TENSOR, Tag.SIMULATION, "weight scales differ along i"),
        (WIDE, TENSOR, spec(frozenset("nkdhw")), Tag.SIMULATION, "activation scales differ along d h w"),
    ],
)
def test_by_hand(kind, weight, activation, tag, words):
    found = hardware(kind, weight, activation, static=False)
    assert found.tag == tag and words in found.reason


@pytest.mark.parametrize(
    ("policy", "kind", "tag"),
    [
        ("per-tensor", WIDE, Tag.GEMM),
        ("per-channel", WIDE, Tag.SIMULATION),
        ("per-channel", Linear(64, 64), Tag.GEMM),
        ("per-channel", Convolution(64, 64, (3, 3, 3), groups=64), Tag.GEMM),
        ("per-channel", Convolution(1, 64, (3, 3, 3)), Tag.GEMM),  # the image: one channel is the whole tensor
        ("per-channel", Convolution(64, 64, (2, 2, 2), transposed=True), Tag.SIMULATION),
        ("adaptive", WIDE, Tag.SIMULATION),
        ("adaptive", Convolution(64, 64, (1, 1, 1)), Tag.GEMM),
        ("per-voxel", WIDE, Tag.SIMULATION),
        ("per-voxel", Convolution(64, 64, (1, 1, 1)), Tag.GEMM),
        ("engine", WIDE, Tag.GEMM),
        ("engine", Linear(64, 64), Tag.GEMM),
        ("static-per-channel", WIDE, Tag.FOLDABLE),
        ("static-per-channel", Convolution(64, 64, (3, 3, 3), groups=64), Tag.GEMM),
    ],
)
def test_policies(policy, kind, tag):
    chosen = POLICIES[policy]("layer", kind)
    weight, activation = TensorSpec(INT4, chosen.weight, chosen.observer), held_activation(chosen)
    assert hardware(kind, weight, activation, static=chosen.static is not None).tag == tag


def held_activation(chosen: LayerSpec) -> TensorSpec | StaticSpec:
    if chosen.static is not None:
        return StaticSpec(4, chosen.activation, chosen.static)
    return TensorSpec(INT4, chosen.activation, chosen.observer)


def test_windows_and_samples_are_outside():
    one = TensorSpec(IntegerGrid(8), PER_WEIGHT, OBSERVERS["absmax"])
    for outer in (PER_SAMPLE, granularity("per-window", "n k")):
        assert hardware(WIDE, one, TensorSpec(IntegerGrid(8), outer, OBSERVERS["absmax"]), static=False).tag == "gemm"
