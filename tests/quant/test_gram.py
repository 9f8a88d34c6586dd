"""Gram matrices: against patches that are written out, for every kind of layer; and the laws that make them useful."""

from itertools import product
from math import prod

import pytest
import torch
from torch import nn

from medquanbench.quant import correlate
from medquanbench.quant.gram import Centre, Gram
from medquanbench.quant.kind import Convolution, Linear
from medquanbench.quant.taps import Geometry
from medquanbench.values import RunError

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SAME = Geometry((1,) * 3, (1,) * 3, (1,) * 3, (1,) * 3)
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def layer(kind: Convolution, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0):
    """A layer of torch, and its geometry."""
    rank = kind.spatial_rank
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": kind.groups, "bias": False}
    if kind.transposed:
        module = TRANSPOSED[rank](kind.inputs, kind.outputs, kind.kernel, output_padding=output_padding, **options)
    else:
        module = CONVOLUTIONS[rank](kind.inputs, kind.outputs, kind.kernel, **options)
    numbers = stride, dilation, padding, padding - output_padding
    return module, Geometry(*((number,) * rank for number in numbers))


def patches(module: nn.Module, kind: Convolution, x: torch.Tensor) -> torch.Tensor:
    """What each output reads, (groups, i * kernel, outputs) in float64, by a convolution with weights of ones."""
    rank, inputs = kind.spatial_rank, kind.inputs // kind.groups
    size = inputs * torch.tensor(kind.kernel).prod()
    one_hot = torch.eye(size, dtype=torch.float64).reshape(size, inputs, *kind.kernel)
    make = (TRANSPOSED if kind.transposed else CONVOLUTIONS)[rank]
    options = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation, "bias": False}
    if kind.transposed:
        options["output_padding"] = module.output_padding
        one_hot = one_hot.transpose(0, 1)
    each = make(inputs, size, kind.kernel, **options).double()
    each.weight = nn.Parameter(one_hot.contiguous(), requires_grad=False)
    found = each(x.double().unflatten(1, (kind.groups, inputs)).flatten(0, 1))
    return found.unflatten(0, (-1, kind.groups)).flatten(3).permute(1, 2, 0, 3).flatten(2)


def assembled(gram: Gram, centre: Centre = Centre.NOTHING) -> torch.Tensor:
    blocks = list(gram.blocks(centre))
    size = sum(len(block.columns) for block in blocks)
    whole = torch.zeros(blocks[0].gram.shape[0], size, size)
    for block in blocks:
        whole[:, block.columns[:, None], block.columns] = block.gram
    return whole


def assert_close(found: torch.Tensor, expected: torch.Tensor):
    spread = expected.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    assert ((found.double() - expected).abs() <= 3e-6 * spread).all()


CASES = [
    (Convolution(4, 6, (3, 3, 3)), (6, 7, 8), {"padding": 1}),
    (Convolution(4, 6, (3, 3, 3)), (6, 7, 8), {}),
    (Convolution(4, 6, (3, 3, 3)), (7, 8, 9), {"padding": 1, "stride": 2}),
    (Convolution(4, 6, (2, 2, 2)), (7, 8, 9), {"stride": 2}),
    (Convolution(4, 6, (3, 3, 3)), (7, 8, 12), {"padding": 2, "dilation": 2}),
    (Convolution(4, 6, (3, 3, 3)), (9, 8, 12), {"padding": 2, "dilation": 2, "stride": 3}),
    (Convolution(4, 6, (3, 3, 3)), (1, 2, 1), {"padding": 1}),
    (Convolution(4, 6, (3, 3, 3)), (3, 5, 4), {"padding": 4}),
    (Convolution(4, 6, (5, 1, 3)), (9, 4, 40), {"padding": 0, "dilation": 2}),
    (Convolution(4, 6, (1, 1, 1)), (4, 5, 6), {"stride": 2}),
    (Convolution(6, 4, (3, 3, 3), groups=2), (5, 6, 7), {"padding": 1}),
    (Convolution(5, 10, (3, 3, 3), groups=5), (5, 6, 7), {"padding": 1}),
    (Convolution(4, 6, (3, 3)), (9, 8), {"padding": 1, "stride": 2}),
    (Convolution(2, 6, (16,)), (64,), {"stride": 16}),
    (Convolution(4, 6, (2, 2, 2), transposed=True), (4, 5, 6), {"stride": 2}),
    (Convolution(4, 6, (3, 3, 3), transposed=True), (4, 5, 6), {"stride": 2, "padding": 1, "output_padding": 1}),
    (Convolution(4, 6, (4, 4), transposed=True), (4, 5), {"stride": 2, "padding": 1}),
    (Convolution(4, 6, (3, 3, 3), groups=2, transposed=True), (4, 5, 1), {"padding": 1}),
    (Convolution(4, 6, (3,), transposed=True), (9,), {"stride": 4, "dilation": 3, "padding": 2}),
    (Convolution(4, 6, (1, 1), transposed=True), (4, 5), {"stride": 2, "output_padding": 1}),
]


@pytest.mark.parametrize("kind, size, options", CASES, ids=str)
def test_it_is_the_product_of_the_patches(kind, size, options):
    module, geometry = layer(kind, **options)
    gram, expected, total = Gram(kind, geometry), 0, 0
    for samples in (1, 2):
        x = torch.randn(samples, kind.inputs, *size) + 0.5
        gram.add(x)
        read = patches(module, kind, x)
        expected, total = expected + read @ read.mT, total + read.sum(2)
        assert module(x)[0, 0].numel() * samples == read.shape[2]
    assert_close(assembled(gram), expected)
    assert torch.allclose(gram.mean(), total / gram.voxels)


@pytest.mark.parametrize("kind, size, options", CASES, ids=str)
@pytest.mark.parametrize("centre", [Centre.MEAN, Centre.SAMPLE_MEANS])
def test_centred_it_is_the_error_of_an_output_without_its_mean(kind, size, options, centre):
    module, geometry = layer(kind, **options)
    gram = Gram(kind, geometry)
    x = torch.randn(2, kind.inputs, *size) + torch.tensor([2.0, -3.0]).reshape(2, 1, *[1] * len(size))
    gram.add(x)
    read = torch.stack([patches(module, kind, sample) for sample in x.split(1)])
    read = read - read.mean((0, 3) if centre is Centre.MEAN else 3, keepdim=True)
    expected, found, plain = (read @ read.mT).sum(0), assembled(gram, centre), assembled(gram)
    for block in gram.blocks():  # a transposed convolution's families share a mean, and are held apart
        at = slice(None), block.columns[:, None], block.columns
        assert ((found[at] - expected[at]).abs() <= 1e-5 * plain.diagonal(dim1=1, dim2=2).max()).all()


def test_linear():
    x = torch.randn(3, 7, 5, 6)
    gram = Gram(Linear(6, 4))
    gram.add(x[:2])
    gram.add(x[2])
    rows = x.reshape(-1, 6).double()
    assert_close(assembled(gram), (rows.T @ rows)[None])
    assert torch.allclose(gram.mean(), rows.mean(0)[None]) and gram.voxels == 105


def test_families_of_a_transposed_convolution_leave_nothing_out():
    gram = Gram(Convolution(4, 6, (2, 2, 2), transposed=True), Geometry((2,) * 3, (1,) * 3, (0,) * 3, (0,) * 3))
    gram.add(torch.randn(1, 4, 3, 4, 5))
    assert [block.columns.tolist() for block in gram.blocks()] == [list(range(p, 32, 8)) for p in range(8)]


def test_large_layers_are_cut_along_their_channels():
    kind, (_, geometry) = Convolution(7, 3, (3, 3)), layer(Convolution(7, 3, (3, 3)), padding=1)
    x = torch.randn(1, 7, 8, 9)
    whole, parts = Gram(kind, geometry), Gram(kind, geometry, largest=30)
    for gram in (whole, parts):
        gram.add(x)
    blocks = list(parts.blocks())
    assert [len(block.columns) for block in blocks] == [18, 18, 27]
    assert torch.cat([block.columns for block in blocks]).tolist() == list(range(63))
    expected = assembled(whole)
    for block in blocks:
        assert torch.allclose(block.gram, expected[:, block.columns[:, None], block.columns], atol=1e-4)


def test_the_size_of_the_buffer_changes_nothing(monkeypatch):
    module, geometry = layer(kind := Convolution(3, 6, (3, 3, 3)), padding=1)
    x = torch.randn(1, 3, 13, 6, 7)
    expected = patches(module, kind, x)
    monkeypatch.setattr(correlate, "TILE", 100)
    monkeypatch.setattr(correlate, "BUFFER_BYTES", 5000)
    gram = Gram(kind, geometry)
    gram.add(x)
    assert_close(assembled(gram), expected @ expected.mT)


@pytest.mark.parametrize("kind, size, options", [c for c in CASES if not c[0].transposed], ids=str)
def test_an_excerpt_is_a_box_of_the_outputs(kind, size, options):
    module, geometry = layer(kind, **options)
    x = torch.randn(1, kind.inputs, *size) + 0.5
    shape = module(x).shape[2:]
    read = patches(module, kind, x).unflatten(2, shape)
    starts = set()
    for seed in range(4):
        gram = Gram(kind, geometry, most=max(1, prod(shape) // 3))
        gram._random.seed(seed)
        gram.add(x)
        found, matching = assembled(gram), []
        edges = [max(1, round(n * (max(1, prod(shape) // 3) / prod(shape)) ** (1 / len(shape)))) for n in shape]
        assert gram.voxels == prod(edges)
        for corner in product(*(range(n - edge + 1) for n, edge in zip(shape, edges))):
            box = read[(..., *(slice(c, c + edge) for c, edge in zip(corner, edges)))].flatten(2)
            if torch.allclose(box.mean(2), gram.mean(), atol=1e-6):
                assert_close(found, box @ box.mT)
                matching.append(corner)
        assert matching
        starts.add(matching[0])
    assert len(starts) > 1 or prod(shape) < 8


def test_an_excerpt_is_the_same_in_every_run():
    kind, (_, geometry) = Convolution(2, 3, (3, 3)), layer(Convolution(2, 3, (3, 3)), padding=1)
    x = torch.randn(4, 2, 20, 20)
    grams = [Gram(kind, geometry, most=50) for _ in range(2)]
    for gram in grams:
        gram.add(x)
    assert grams[0].voxels == 4 * 49 and torch.equal(assembled(grams[0]), assembled(grams[1]))


def test_what_no_output_reads_is_exactly_zero():
    # One slice and a padding of one: the kernel's outer planes see padding alone.
    gram = Gram(Convolution(2, 4, (3, 3, 3)), layer(Convolution(2, 4, (3, 3, 3)), padding=1)[1])
    gram.add(torch.randn(1, 2, 1, 5, 6))
    dead = (assembled(gram).diagonal(dim1=1, dim2=2).reshape(2, 3, 9) == 0).all(2)
    assert dead.tolist() == [[True, False, True]] * 2


def test_nothing_seen_and_nothing_finite_are_errors():
    gram = Gram(Linear(3, 2))
    with pytest.raises(RunError, match="no input of the layer has been seen"):
        gram.mean()
    gram.add(torch.tensor([[1.0, float("inf"), 2.0]]))
    with pytest.raises(RunError, match="NaN or infinity"):
        next(gram.blocks())


@pytest.mark.parametrize("kind, size", [(Convolution(6, 4, (3, 3), groups=2), (9, 8)), (Linear(6, 4), (3, 5))], ids=str)
def test_what_divides_the_input_may_come_with_it(kind, size):
    geometry = Geometry() if isinstance(kind, Linear) else layer(kind, padding=1)[1]
    channels_last = isinstance(kind, Linear)
    x = torch.randn(2, *size, 6) if channels_last else torch.randn(2, 6, *size)
    first, second = torch.rand(6) + 0.1, torch.rand(6) + 0.1
    shape = (6,) if channels_last else (6, 1, 1)
    apart, together = Gram(kind, geometry), Gram(kind, geometry)
    apart.add(x / first.reshape(shape) / second.reshape(shape))
    together.add(x, (first, second))
    assert torch.equal(assembled(apart), assembled(together)) and torch.equal(apart.mean(), together.mean())


def test_it_holds_the_inputs_or_the_matrix_whichever_is_less():
    kind = Convolution(16, 4, (3, 3, 3))
    most, one = 378 * 16 * 16 * 4, 16 * 4**3 * 4
    gram, at_once = Gram(kind, SAME), Gram(kind, SAME)
    x = torch.randn(100, 16, 4, 4, 4)
    for count, sample in enumerate(x.split(1)):
        gram.add(sample)
        sample.zero_()  # as a network may that computes in place
        assert gram.held_bytes == (one * (count + 1) if one * (count + 1) <= most else most)
    assert one < most < 100 * one
    torch.manual_seed(0)
    for sample in torch.randn(100, 16, 4, 4, 4):
        at_once.add(sample[None])
        list(at_once.blocks())  # which makes the matrix
        assert at_once.held_bytes == most
    assert_close(assembled(gram), assembled(at_once).double())
