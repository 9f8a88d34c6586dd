"""The moving blend against MONAI's, bit for bit; every voxel once; no more put aside than the formula says."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from medquanbench import sliding
from medquanbench.bundle_config import Window
from medquanbench.images import Grid
from medquanbench.infer import Volume, predict
from medquanbench.sliding import axis_of, held_voxels, slowest_axis
from medquanbench.spill import Store
from medquanbench.values import RunError


@dataclass(frozen=True)
class Trial:
    shape: tuple[int, int, int]
    size: tuple[int, int, int]
    overlap: float
    mode: str
    classes: int


TRIALS = [
    Trial((14, 12, 10), (8, 8, 8), 0.5, "gaussian", 3),
    Trial((8, 8, 8), (8, 8, 8), 0.5, "gaussian", 2),
    Trial((5, 4, 3), (8, 7, 6), 0.5, "gaussian", 2),  # smaller than the window, by odd and even numbers
    Trial((5, 23, 9), (8, 8, 8), 0.5, "constant", 3),  # smaller along one axis
    Trial((9, 10, 23), (6, 6, 6), 0.5, "gaussian", 4),  # longest last
    Trial((9, 23, 10), (6, 6, 6), 0.5, "gaussian", 4),
    Trial((23, 10, 9), (6, 6, 6), 0.5, "gaussian", 4),
    Trial((13, 17, 11), (5, 6, 4), 0.0, "constant", 1),
    Trial((13, 17, 11), (5, 6, 4), 0.25, "gaussian", 5),
    Trial((11, 10, 12), (7, 7, 7), 0.7, "gaussian", 2),
    Trial((9, 11, 10), (5, 8, 5), 0.6, "constant", 3),
    Trial((16, 15, 7), (10, 5, 7), 0.2, "gaussian", 5),
    Trial((4, 5, 14), (3, 4, 10), 0.9, "gaussian", 2),
]


@pytest.fixture(params=[0, 1, 2, None], ids=["x slowest", "y slowest", "z slowest", "its own choice"])
def small_cells(request, monkeypatch):
    """Cells of single voxels, blocks of one plane, and every axis slowest in turn, whether that is wise or not."""
    monkeypatch.setattr(sliding, "LEAST_EDGE", 1)
    monkeypatch.setattr(sliding, "BLOCK_BYTES", 1)
    if request.param is not None:
        monkeypatch.setattr(sliding, "slowest_axis", lambda axes: request.param)


class Network:
    """A convolution and a term that hangs on the whole window: overlapping windows disagree."""

    def __init__(self, classes: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.kernel = torch.randn(classes, 1, 3, 3, 3, generator=generator)
        self.seen: list[torch.Tensor] = []

    def __call__(self, view: torch.Tensor) -> torch.Tensor:
        self.seen.append(view.clone())
        return torch.nn.functional.conv3d(view, self.kernel, padding=1) * (1 + view.mean())


def volume_of(shape: tuple[int, int, int]) -> Volume:
    tensor = torch.randn((1, *shape), generator=torch.Generator().manual_seed(2))
    return Volume(tensor, Grid(shape, np.eye(4)))


def monai(network, volume: Volume, window: Window) -> torch.Tensor:
    with torch.inference_mode():
        view = volume.tensor[None]
        return sliding_window_inference(
            view, window.size, 1, lambda v: network(v.contiguous()), overlap=window.overlap, mode=window.mode
        )[0]


@dataclass
class Watched:
    """What a watch saw: all blocks laid together, and how often each voxel came."""

    logits: torch.Tensor
    count: torch.Tensor

    def __call__(self, first: tuple[int, int, int], logits: torch.Tensor) -> None:
        box = tuple(slice(low, low + size) for low, size in zip(first, logits.shape[1:], strict=True))
        assert logits.dtype == torch.float32
        self.logits[:, *box] = logits
        self.count[box] += 1


def watched(like: torch.Tensor) -> Watched:
    return Watched(torch.full_like(like, float("nan")), torch.zeros(like.shape[1:], dtype=torch.int32))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.int32)


@pytest.mark.parametrize("budget_bytes", [None, 3000], ids=["in memory", "on disk"])
@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_every_bit_is_monais(trial: Trial, budget_bytes, small_cells):
    volume, window = volume_of(trial.shape), Window(trial.size, trial.overlap, trial.mode, 1)
    expected = monai(Network(trial.classes), volume, window)
    seen, store = watched(expected), Store(budget_bytes)
    labels = predict(Network(trial.classes), volume, window, watch=seen, store=store)
    assert (seen.count == 1).all()
    assert torch.equal(bits(seen.logits), bits(expected))
    assert labels.dtype == np.uint16 and np.array_equal(labels, expected.argmax(0).numpy())
    assert (store.spilled_bytes > 0) == (store.most_bytes > store.budget_bytes)


def test_cells_of_the_usual_size_are_monais():
    volume, window = volume_of((100, 70, 130)), Window((64, 64, 64), 0.5, "gaussian", 1)
    expected = monai(Network(3), volume, window)
    seen = watched(expected)
    predict(Network(3), volume, window, watch=seen, store=Store(1 << 20))
    assert (seen.count == 1).all() and torch.equal(bits(seen.logits), bits(expected))


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_the_network_sees_monais_windows(trial: Trial):
    volume, window = volume_of(trial.shape), Window(trial.size, trial.overlap, trial.mode, 1)
    ours, theirs = Network(trial.classes), Network(trial.classes)
    monai(theirs, volume, window)
    predict(ours, volume, window)
    as_bytes = [sorted(view.numpy().tobytes() for view in network.seen) for network in (ours, theirs)]
    assert as_bytes[0] == as_bytes[1]


def test_ties_are_broken_as_argmax_breaks_them(small_cells):
    """Whole-number logits with constant blending: equal sums all over the place."""
    volume, window = volume_of((15, 14, 13)), Window((6, 6, 6), 0.5, "constant", 1)

    def network(view: torch.Tensor) -> torch.Tensor:
        return torch.cat([(view * factor).round() for factor in (1, -1, 2, 0)], dim=1)

    expected = monai(network, volume, window)
    largest = expected == expected.amax(0)
    assert (largest.sum(0) > 1).float().mean() > 0.2
    assert np.array_equal(predict(network, volume, window), expected.argmax(0).numpy())


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_the_image_and_the_answer_stay_as_they_were(mode):
    volume, window = volume_of((8, 8, 8)), Window((8, 8, 8), 0.5, mode, 1)
    before = volume.tensor.clone()
    predict(lambda view: view, volume, window)
    assert torch.equal(volume.tensor, before)


@pytest.mark.parametrize("least_edge", [1, 3, 32])
@pytest.mark.parametrize("slowest", [0, 1, 2])
@pytest.mark.parametrize("trial", [*TRIALS, Trial((60, 8, 8), (4, 4, 4), 0.5, "constant", 2)], ids=str)
def test_no_more_is_put_aside_than_the_formula_says(trial: Trial, slowest: int, least_edge: int, monkeypatch):
    monkeypatch.setattr(sliding, "LEAST_EDGE", least_edge)
    monkeypatch.setattr(sliding, "slowest_axis", lambda axes: slowest)
    store, window = Store(1 << 30), Window(trial.size, trial.overlap, trial.mode, 1)
    predict(Network(trial.classes), volume_of(trial.shape), window, store=store)
    axes = tuple(axis_of(size, edge, trial.overlap) for size, edge in zip(trial.shape, trial.size, strict=True))
    assert store.most_bytes <= 4 * trial.classes * held_voxels(axes, slowest)


class Punctual(Store):
    """Checks that whatever is put aside comes back at the step that was told, when a network has seen so many windows.

    What is due last goes to the disk: with wrong steps the answer would be the same, and the disk would see far more.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.due, self.taken = network, {}, 0

    def put(self, key, tensor: torch.Tensor, due: int) -> None:
        self.due[key] = due
        super().put(key, tensor, due)

    def take(self, key) -> torch.Tensor:
        assert self.due.pop(key) == len(self.network.seen) - 1
        self.taken += 1
        return super().take(key)


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_all_is_put_aside_until_the_step_that_needs_it(trial: Trial, small_cells):
    network = Network(trial.classes)
    store = Punctual(network)
    predict(network, volume_of(trial.shape), Window(trial.size, trial.overlap, trial.mode, 1), store=store)
    assert not store.due and (store.taken > 0) == (len(network.seen) > 1)


def test_one_answer_of_the_network_is_there_at_a_time():
    """A tensor that is made of an array keeps the array alive, for as long as anything looks at its numbers."""
    answers: list[weakref.ref] = []

    def network(view: torch.Tensor) -> torch.Tensor:
        assert not any(answer() is not None for answer in answers)
        array = np.concatenate([view.numpy(), -view.numpy()], axis=1)
        answers.append(weakref.ref(array))
        return torch.from_numpy(array)

    predict(network, volume_of((14, 12, 10)), Window((8, 8, 8), 0.5, "gaussian", 1))
    assert len(answers) == 12


@pytest.mark.parametrize("long", [0, 1, 2])
def test_a_longer_volume_needs_no_more(long: int, monkeypatch):
    monkeypatch.setattr(sliding, "LEAST_EDGE", 1)
    most = []
    for length in (100, 150, 200):
        shape = tuple(length if axis == long else 6 for axis in range(3))
        store = Store(1 << 30)
        predict(Network(2), volume_of(shape), Window((4, 4, 4), 0.5, "gaussian", 1), store=store)
        most.append(store.most_bytes)
    assert most[0] == most[1] == most[2] < 4 * 2 * 100 * 6 * 6


def test_the_formula_by_hand():
    """512 x 512 x 400, windows of 128 that overlap by half: 64 shared planes, and one row of windows."""
    axes = tuple(axis_of(size, 128, 0.5) for size in (512, 512, 400))
    assert slowest_axis(axes) == 0
    assert held_voxels(axes, 0) == 64 * (512 - 128) * 400 + 128 * 128 * 400
    assert axes[2].starts == (0, 64, 128, 192, 256, 272)


@pytest.mark.parametrize("shape", [(100, 6, 6), (6, 100, 6), (6, 6, 100)])
def test_windows_come_with_a_much_longer_axis_slowest(shape, monkeypatch):
    monkeypatch.setattr(sliding, "LEAST_EDGE", 1)
    assert slowest_axis(tuple(axis_of(size, 4, 0.5) for size in shape)) == shape.index(100)


def test_every_block_is_small():
    sizes: list[int] = []
    window = Window((64, 64, 64), 0.25, "gaussian", 1)
    predict(Network(40), volume_of((64, 64, 80)), window, watch=lambda first, logits: sizes.append(logits.nbytes))
    assert max(sizes) <= sliding.BLOCK_BYTES < sum(sizes)


def test_nothing_is_left_on_the_disk_when_the_network_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    network, files = Network(2), []

    def failing(view: torch.Tensor) -> torch.Tensor:
        files.append(store._file)
        if len(network.seen) == 20:
            raise ZeroDivisionError
        return network(view)

    store = Store(0)
    with pytest.raises(ZeroDivisionError):
        predict(failing, volume_of((20, 20, 20)), Window((8, 8, 8), 0.5, "gaussian", 1), store=store)
    assert store.spilled_bytes and files[-1].closed and not list(tmp_path.iterdir())


def test_padding_may_overflow():
    """Only voxels of the volume count, as where padding is cut off first."""

    def network(view: torch.Tensor) -> torch.Tensor:
        answer = torch.cat([view, -view], dim=1)
        answer[:, :, 0] = float("nan")
        return answer

    labels = predict(network, volume_of((6, 8, 8)), Window((8, 8, 8), 0.5, "gaussian", 1))
    assert set(np.unique(labels)) == {0, 1}


def test_an_answer_of_another_size_is_a_sentence():
    def network(view: torch.Tensor) -> torch.Tensor:
        return view[..., ::2]

    with pytest.raises(RunError, match=r"answers a window of \(1, 1, 8, 8, 8\) with \(1, 1, 8, 8, 4\)"):
        predict(network, volume_of((8, 8, 8)), Window((8, 8, 8), 0.5, "gaussian", 1))
