"""The sliding window, blended as it moves: voxels leave as soon as no window can reach them any more (floor 2).

The sum of a voxel is the same, bit for bit, as in MONAI's ``sliding_window_inference``. Sums of floats hang on their
order, and MONAI adds in the order of the windows' first voxels, the first axis slowest. Here windows may come in
another order: what comes before its turn for a cell of voxels waits until all that is added before it is in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from monai.data.utils import compute_importance_map
from torch.nn.functional import pad

from medquanbench.bundle_config import Window
from medquanbench.spill import Store
from medquanbench.values import RunError

BLOCK_BYTES = 16 << 20
"""The most that a block of finished logits takes, if one of its planes does not take more."""
LEAST_EDGE = 32
"""Voxels. Cells with shorter edges cost more time than the memory that they save is worth."""
_PRODUCT_BYTES = {"cpu": 1 << 18}  # logits times weights: so much at a time stays in a core's cache
_PRODUCT_BYTES_ELSEWHERE = 1 << 28

Index = tuple[int, int, int]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Axis:
    """One axis of the sweep, in voxels of the volume padded to its windows.

    Attributes:
        first, stop: the volume itself, without padding.
        window: extent of a window.
        starts: first voxels of the windows, rising.
    """

    first: int
    stop: int
    window: int
    starts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Voxels of the volume."""
        return self.stop - self.first

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where cells begin and end: where windows do, so that each leaves as early as it can, but not too short."""
        edges = {*self.starts, *(start + self.window for start in self.starts)}
        cuts = [self.first]
        for edge in sorted(edges):
            if edge - cuts[-1] >= LEAST_EDGE and self.stop - edge >= LEAST_EDGE:
                cuts.append(edge)
        return list(itertools.pairwise([*cuts, self.stop]))

    def spans_of(self, start: int) -> list[tuple[int, int]]:
        """The spans that a window touches."""
        return [(low, high) for low, high in self.spans if low < start + self.window and start < high]

    @property
    def extent(self) -> int:
        """Voxels of the spans that one window touches, at most."""
        return max(spans[-1][1] - spans[0][0] for spans in map(self.spans_of, self.starts))

    @property
    def shared(self) -> int:
        """Voxels of the spans that one window and a later one touch, at most."""
        each = map(self.spans_of, self.starts)
        return max((max(one[-1][1] - other[0][0], 0) for one, other in itertools.pairwise(each)), default=0)

    @property
    def covering(self) -> int:
        """Windows over one voxel, at most."""
        return max(sum(low <= last < low + self.window for low in self.starts) for last in self.starts)


def axis_of(size: int, window: int, overlap: float) -> Axis:
    """An axis with windows where MONAI places them: a step of int(window * (1 - overlap)), the last one at the end.

    A volume smaller than its window is padded on both sides, by the odd voxel behind it.
    """
    before, last = max(window - size, 0) // 2, max(size - window, 0)
    step = max(int(window * (1 - overlap)), 1)
    starts = tuple(min(number * step, last) for number in range(math.ceil(last / step) + 1))
    return Axis(before, before + size, window, starts)


def padded(image: torch.Tensor, axes: tuple[Axis, ...], padding: str) -> torch.Tensor:
    """An image (1, channel, x, y, z) with what stands around it where it is smaller than a window."""
    sides = [(axis.first, max(axis.window - axis.size, 0) - axis.first) for axis in reversed(axes)]
    if not any(map(any, sides)):
        return image  # padding by nothing would copy the volume
    return pad(image, [voxels for side in sides for voxels in side], padding)


def held_voxels(axes: tuple[Axis, ...], slowest: int) -> int:
    """Voxels whose logits are put aside at a time, at most, where windows come with the axis ``slowest`` slowest.

    That is what a window and the next along it touch both, over the whole of the other two axes; and in the row of
    windows that is in work, all that they touch. With the first axis slowest (MONAI's order) a voxel counts once, for
    its sum; else also once for each window over it that has come, because that may have to wait for its turn.
    """
    along, (row, rest) = axes[slowest], (axis for number, axis in enumerate(axes) if number != slowest)
    waiting = row.covering * rest.covering if slowest else 0
    shared = along.shared * (row.size - row.extent) * rest.size * (1 + waiting * (along.covering - 1))
    return shared + along.extent * row.extent * rest.size * (1 + waiting * along.covering)


def slowest_axis(axes: tuple[Axis, ...]) -> int:
    """The axis with which the least is put aside: the longest, unless keeping MONAI's order of sums costs more."""
    return min(range(3), key=lambda axis: (held_voxels(axes, axis), -axes[axis].size))


def blend(
    network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, window: Window, store: Store
) -> Iterator[tuple[Index, torch.Tensor]]:
    """Slide the window over an image (1, channel, x, y, z) float32; hand out blended logits as they are finished.

    Yields:
        (index of a block's first voxel, its logits (class, x, y, z) float32), every voxel of the image once. Blocks lie
        on the image's device or, where they would fill more than half of what is free there, on the CPU.

    Raises:
        RunError: the network's answer has another size than its window, or there is no room for what is put aside.
    """
    sizes = zip(image.shape[2:], window.size, strict=True)
    axes = tuple(axis_of(size, extent, window.overlap) for size, extent in sizes)
    image = padded(image, axes, window.padding)
    weight = compute_importance_map(window.size, mode=window.mode, device=image.device, dtype=torch.float32)
    sweep = _Sweep(axes, weight, store)
    for step, start in enumerate(sweep.windows):
        box = tuple(slice(low, low + extent) for low, extent in zip(start, window.size, strict=True))
        logits = _logits(network, image[:, :, *box].contiguous())
        for cell in sweep.cells_of(start):
            yield from sweep.add(cell, step, logits)
        del logits  # else it would be there beside the next


def _logits(network: Callable[[torch.Tensor], torch.Tensor], view: torch.Tensor) -> torch.Tensor:
    answer = network(view)
    if len(answer) != 1 or answer.shape[2:] != view.shape[2:]:
        raise RunError(f"the network answers a window of {tuple(view.shape)} with {tuple(answer.shape)}")
    return answer[0].detach().float()


@dataclass
class _Cell:
    """A box of voxels; first voxels and steps of the windows that touch it, in MONAI's order; how many are added."""

    low: Index
    high: Index
    windows: tuple[Index, ...]
    steps: tuple[int, ...]
    added: int = 0
    waiting: set[int] = field(default_factory=set)

    @property
    def shape(self) -> Index:
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))


class _Sweep:
    """Which window comes when, and the cells that some but not all of their windows have reached."""

    def __init__(self, axes: tuple[Axis, ...], weight: torch.Tensor, store: Store) -> None:
        self.axes, self.weight, self.store = axes, weight, store
        slowest = slowest_axis(axes)
        self.held_voxels = held_voxels(axes, slowest)
        order = [slowest, *(axis for axis in range(3) if axis != slowest)]
        everywhere = itertools.product(*(axis.starts for axis in axes))
        self.windows: list[Index] = sorted(everywhere, key=lambda start: [start[axis] for axis in order])
        self.step_of = {start: step for step, start in enumerate(self.windows)}
        self.spans = [{start: axis.spans_of(start) for start in axis.starts} for axis in axes]
        self.unfinished: dict[Index, _Cell] = {}
        self.product = torch.empty(0, device=weight.device)
        self.place: torch.device | None = None

    def cells_of(self, start: Index) -> list[_Cell]:
        """The cells that a window touches; those that it touches first begin here."""
        touched = [spans[first] for first, spans in zip(start, self.spans, strict=True)]
        cells = []
        for box in itertools.product(*touched):
            low, high = zip(*box, strict=True)
            if low not in self.unfinished:
                self.unfinished[low] = self._begin(low, high)
            cells.append(self.unfinished[low])
        return cells

    def _begin(self, low: Index, high: Index) -> _Cell:
        touching = [
            [start for start in axis.starts if start < end and first < start + axis.window]
            for first, end, axis in zip(low, high, self.axes, strict=True)
        ]
        windows = tuple(itertools.product(*touching))  # the first axis slowest: MONAI's order
        return _Cell(low, high, windows, tuple(self.step_of[start] for start in windows))

    def add(self, cell: _Cell, step: int, logits: torch.Tensor) -> Iterator[tuple[Index, torch.Tensor]]:
        """Add a window's logits (class, x, y, z) to a cell; blocks come out where that was all that it lacked."""
        rank = cell.steps.index(step)
        inside, of_window = self._meet(cell, rank)
        some, weight = logits[:, *of_window], self.weight[of_window]
        if rank > cell.added:
            product = self._zeros(some.shape)
            self._add_product(product, some, weight)
            self.store.put((cell.low, rank), product, due=max(cell.steps[:rank]))
            cell.waiting.add(rank)
            return
        total = self.store.take(cell.low) if cell.added else self._zeros((len(logits), *cell.shape))
        self._add_product(total[:, *inside], some, weight)
        cell.added += 1
        self._add_waiting(cell, total)
        if cell.added < len(cell.steps):
            self.store.put(cell.low, total, due=cell.steps[cell.added])
        else:
            del self.unfinished[cell.low]
            yield from self._blocks(cell, total)

    def _add_waiting(self, cell: _Cell, total: torch.Tensor) -> None:
        while cell.added in cell.waiting:
            cell.waiting.remove(cell.added)
            inside, _ = self._meet(cell, cell.added)
            total[:, *inside].add_(self.store.take((cell.low, cell.added)))
            cell.added += 1

    def _meet(self, cell: _Cell, rank: int) -> tuple[Slices, Slices]:
        """Where a cell and one of its windows meet: as slices of the cell, and of the window."""
        start = cell.windows[rank]
        ends = [first + axis.window for first, axis in zip(start, self.axes, strict=True)]
        low, high = list(map(max, cell.low, start)), list(map(min, cell.high, ends))
        return _slices(low, high, cell.low), _slices(low, high, start)

    def _add_product(self, target: torch.Tensor, logits: torch.Tensor, weight: torch.Tensor) -> None:
        """Add logits times weights, some classes at a time, in memory that the next ones take again."""
        most_bytes = _PRODUCT_BYTES.get(weight.device.type, _PRODUCT_BYTES_ELSEWHERE)
        classes = min(max(most_bytes // weight.nbytes, 1), len(logits))
        if self.product.numel() < classes * weight.numel():
            self.product = torch.empty(classes * weight.numel(), device=weight.device)
        for first in range(0, len(logits), classes):
            some = logits[first : first + classes]
            product = torch.mul(some, weight, out=self.product[: some.numel()].view(some.shape))
            target[first : first + classes].add_(product.to(target.device))

    def _zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A sum to begin with: where the network computes, if all sums fill at most half of what is free there."""
        if self.place is None:
            self.place = self.weight.device
            if self.place.type == "cuda":
                free_bytes, _ = torch.cuda.mem_get_info(self.place)
                fits = 2 * 4 * shape[0] * self.held_voxels <= free_bytes
                self.place = self.place if fits else torch.device("cpu")
        return torch.zeros(shape, device=self.place)

    def _blocks(self, cell: _Cell, total: torch.Tensor) -> Iterator[tuple[Index, torch.Tensor]]:
        """A cell's sums over the sums of their weights, a few planes at a time."""
        count = torch.zeros(cell.shape, device=self.weight.device)
        for rank in range(len(cell.steps)):
            inside, of_window = self._meet(cell, rank)
            count[inside].add_(self.weight[of_window])
        count = count.to(total.device)
        x, y, z = (low - axis.first for low, axis in zip(cell.low, self.axes, strict=True))
        planes = max(BLOCK_BYTES // total[:, 0].nbytes, 1)
        for first in range(0, total.shape[1], planes):
            yield (x + first, y, z), total[:, first : first + planes].div_(count[first : first + planes])


def _slices(low: list[int], high: list[int], origin: Index) -> Slices:
    return tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
