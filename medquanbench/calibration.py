"""Calibration data: which cases show a network what its layers read, and which windows of them (floor 2)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.images import LabelMap
from medquanbench.infer import Volume
from medquanbench.reference import read_reference
from medquanbench.roads import ROADS
from medquanbench.sliding import axis_of, padded
from medquanbench.tasks.targets import Targets, match
from medquanbench.values import Case, RequestError

DEFAULT_CASES = 8
"""Calibration cases where a request gives no number."""
WINDOWS_PER_CASE = 4
KEPT_BYTES = 1 << 30
"""The most that the windows of one :class:`Patches` take in memory; the others are made again at each pass."""
_LISTS = ("calibration", "train")
_TRIALS = 10
"""How often another place is taken where a window holds a single value."""


def calibration_cases(
    dataset: Dataset,
    count: int,
    draw: int = 0,
    *,
    split: str = "test",
    progress: Callable[[str], None] | None = None,
) -> tuple[Case, ...]:
    """Cases to calibrate on, with their files: from the card's list ``calibration``, then from ``train``.

    The first ``count`` in the card's order, or, for other draws than 0, in the order of
    ``numpy.random.default_rng(draw).permutation``: fewer cases of a draw are the first of more.

    Args:
        split: the split that is evaluated. Where it belongs to a split with a name of its own (``transunet-test``), the
            lists are ``transunet-calibration`` and ``transunet-train``, if there are any.

    Raises:
        RequestError: no case is asked for, or more than there are; one of them, or another scan of its patient, is in
            the split that is evaluated; or its files are missing.
    """
    if count < 1:
        raise RequestError(f"{count} calibration cases are asked for; at least 1 is needed")
    lists = _lists(dataset, split)
    pool = [name for names in lists.values() for name in names]
    if count > len(pool):
        told = ", ".join(f"{len(names)} in '{name}'" for name, names in lists.items())
        raise RequestError(
            f"{count} calibration cases are needed ({DEFAULT_CASES} where the request gives no number); the card of "
            f"{dataset.name} has {told}"
        )
    order = np.random.default_rng(draw).permutation(len(pool)) if draw else range(count)
    chosen = tuple(pool[k] for k in order[:count])
    _refuse_evaluated(dataset, chosen, split)
    return dataset.named_cases(chosen, "the calibration cases", progress)


def held_out_cases(
    dataset: Dataset,
    count: int,
    most: int,
    *,
    split: str = "test",
    progress: Callable[[str], None] | None = None,
) -> tuple[Case, ...]:
    """Up to ``most`` cases of the card's lists behind the first ``count``, of other patients than these.

    Raises:
        RequestError: there are none, or as :func:`calibration_cases`.
    """
    pool = [name for names in _lists(dataset, split).values() for name in names]
    fitted = {dataset.patient_of(name) for name in pool[:count]}
    chosen = tuple(name for name in pool[count:] if dataset.patient_of(name) not in fitted)[:most]
    if not chosen:
        raise RequestError(
            f"recipes are judged on other patients than they are calibrated on: {count} cases are calibrated on, and "
            f"the lists of {dataset.name} have no others among their {len(pool)}"
        )
    _refuse_evaluated(dataset, chosen, split)
    return dataset.named_cases(chosen, "the calibration cases", progress)


def calibration_names(dataset: Dataset, split: str = "test") -> tuple[str, ...]:
    """All that :func:`calibration_cases` can choose from, in the card's order.

    Raises:
        RequestError: the card has no such list.
    """
    return tuple(name for names in _lists(dataset, split).values() for name in names)


def _lists(dataset: Dataset, split: str) -> dict[str, tuple[str, ...]]:
    """The card's lists for calibration, each without the cases of those before it."""
    known, found = dict(dataset.split), {}
    own = [f"{split.rpartition('-')[0]}-{name}" for name in _LISTS] if "-" in split else []
    for name in [name for name in own if name in known] or [name for name in _LISTS if name in known]:
        taken = {case for names in found.values() for case in names}
        found[name] = tuple(case for case in known[name] if case not in taken)
    if not any(found.values()):
        there = ", ".join(known)
        raise RequestError(
            f"the card of {dataset.name} lists no cases to calibrate on: a split 'calibration' or 'train' is needed; "
            f"there is: {there}"
        )
    return found


def _refuse_evaluated(dataset: Dataset, chosen: tuple[str, ...], split: str) -> None:
    evaluated = dataset.names(split)
    patients = {dataset.patient_of(case): case for case in evaluated}
    for case in chosen:
        if case in evaluated:
            raise RequestError(
                f"the calibration case '{case}' is in the split '{split}', too, which is evaluated: no case may be both"
            )
        if dataset.patient_of(case) in patients:
            other = patients[dataset.patient_of(case)]
            raise RequestError(
                f"the calibration case '{case}' and '{other}' of the split '{split}', which is evaluated, are of one "
                "patient: nobody may be in both"
            )


class Patches:
    """Windows of calibration cases, as a network reads them: float32 tensors (1, channel, *window), a batch of one.

    They can be gone through any number of times, and are the same each time. Up to ``KEPT_BYTES`` of them stay in
    memory (a window of 96 x 96 x 96 takes 3.5 MB); those of the other cases are made again at each pass.
    """

    def __init__(
        self,
        cases: tuple[Case, ...],
        windows_of: Callable[[Case], tuple[torch.Tensor, ...]],
        device: str,
        progress: Callable[[str], None],
    ) -> None:
        self.cases, self.windows_of, self.device, self.progress = cases, windows_of, device, progress
        self._kept: dict[str, tuple[torch.Tensor, ...]] = {}
        self._passes = 0

    @property
    def kept_bytes(self) -> int:
        """Memory that the windows take by now."""
        return sum(window.nbytes for windows in self._kept.values() for window in windows)

    def __iter__(self) -> Iterator[torch.Tensor]:
        self._passes += 1
        for number, case in enumerate(self.cases, 1):
            where = f"calibration: pass {self._passes}, case {number}/{len(self.cases)}"
            self.progress(where)
            windows = self._windows(case)
            for k, window in enumerate(windows, 1):
                self.progress(f"{where}, window {k}/{len(windows)} ({self.kept_bytes / 1e6:.0f} MB kept)")
                yield window.to(self.device)

    def _windows(self, case: Case) -> tuple[torch.Tensor, ...]:
        if case.name in self._kept:
            return self._kept[case.name]
        windows = self.windows_of(case)
        if self.kept_bytes + sum(window.nbytes for window in windows) <= KEPT_BYTES:
            self._kept[case.name] = windows
        return windows


def calibration_patches(
    bundle: Bundle,
    dataset: Dataset,
    cases: tuple[Case, ...],
    per_case: int = WINDOWS_PER_CASE,
    seed: tuple[int, ...] = (0,),
    *,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda text: None,
) -> Patches:
    """Windows of cases, of the bundle's own size, preprocessed and padded as where the bundle answers an image.

    Of every three windows of a case, two have a voxel of a structure in their middle (as far as the image goes): a
    structure is drawn first, then one of its voxels, so that small ones are seen, too. The third lies anywhere, as all
    do where a case has no reference. A window that holds a single value is drawn again, ten times at most.

    Args:
        seed: with the name of a case it decides where its windows lie; the other cases and threads do not.

    Raises:
        RequestError: when windows are made: a case cannot be read or preprocessed, or NaN or infinity comes of it.
    """
    windows_of = partial(_windows_of, bundle, dataset, match(bundle, dataset), per_case, seed)
    return Patches(cases, windows_of, device, progress)


def _windows_of(
    bundle: Bundle, dataset: Dataset, targets: Targets, per_case: int, seed: tuple[int, ...], case: Case
) -> tuple[torch.Tensor, ...]:
    random = np.random.default_rng((*seed, zlib.crc32(case.name.encode())))
    try:
        volume = ROADS[bundle.restore].volume(bundle, case.inputs)
        reference = targets.renumber(read_reference(case, dataset)) if case.target is not None else None
    except RequestError as error:
        raise RequestError(f"{error} (calibration case {case.name})") from error
    sizes = zip(volume.grid.shape, bundle.window.size, strict=True)
    axes = tuple(axis_of(size, extent, bundle.window.overlap) for size, extent in sizes)
    image = padded(volume.tensor[None], axes, bundle.window.padding)
    structures = _present(reference) if reference is not None else np.empty(0, int)

    def one(number: int) -> torch.Tensor:
        for _ in range(_TRIALS):
            if number % 3 < 2 and len(structures):
                middle = _voxel_of(random.choice(structures), reference, volume, random)
            else:
                middle = random.integers(volume.grid.shape)
            window = _window(image, middle, bundle.window.size)
            low, high = torch.aminmax(window)
            if low < high:
                break
        return window.clone()  # not a view: the volume must not stay in memory

    return tuple(one(number) for number in range(per_case))


def _present(reference: LabelMap) -> np.ndarray:
    """The structures that a reference holds."""
    present = np.zeros(2**16, bool)
    for slab in reference.labels:  # numpy makes 8 bytes of each index: not of the whole volume at once
        present[slab] = True
    present[0] = False
    return np.flatnonzero(present)


def _voxel_of(structure: int, reference: LabelMap, volume: Volume, random: np.random.Generator) -> np.ndarray:
    """A voxel of a structure, as the nearest index of the volume; the border where that has been cropped away."""
    voxel = np.unravel_index(random.choice(np.flatnonzero(reference.labels == structure)), reference.labels.shape)
    index = np.linalg.inv(volume.grid.affine) @ reference.grid.affine @ [*voxel, 1]
    return np.clip(np.rint(index[:3]).astype(int), 0, np.array(volume.grid.shape) - 1)


def _window(image: torch.Tensor, middle: np.ndarray, size: tuple[int, ...]) -> torch.Tensor:
    """The window around a voxel, moved into the image where it would reach beyond: along padded axes it is all."""
    starts = np.clip(middle - np.array(size) // 2, 0, np.array(image.shape[2:]) - size)
    box = tuple(slice(start, start + extent) for start, extent in zip(starts.tolist(), size, strict=True))
    return image[:, :, *box]
