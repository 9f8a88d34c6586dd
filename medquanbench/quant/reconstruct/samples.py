"""Samples: what units read of calibration inputs, in the quantized network and in the float one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import nn

from medquanbench.quant.batch import Batch
from medquanbench.quant.reconstruct.units import Unit
from medquanbench.values import RunError


@dataclass(frozen=True, eq=False)
class Sample:
    """One input of a unit.

    Attributes:
        window: number of the calibration input that it comes from.
        read: what the unit reads in the quantized network as far as it is rounded by now.
        float_read: what it reads in the float network; None where nobody asks.
        target: what the float unit makes of what it reads in the float network.
        samples: in the calibration input.
        is_image: whether the unit reads the network's own input.
    """

    window: int
    read: torch.Tensor
    float_read: torch.Tensor | None
    target: torch.Tensor
    samples: int
    is_image: bool


@dataclass(frozen=True)
class Wanted:
    """Of how many calibration inputs a unit is to be seen, and how many crops of each."""

    unit: Unit
    windows: frozenset[int]
    crops: int


def gather(
    wanted: list[Wanted],
    root: nn.Module,
    original: nn.Module,
    batch: Batch,
    windows: Iterable[tuple[int, torch.Tensor]],
    mixes: bool,
) -> dict[str, list[Sample]]:
    """Path of a unit -> its samples, from one pass over numbered calibration inputs.

    Crops lie at the same place in both networks; a target is what the float unit answers to the very crop.

    Args:
        root, original: the quantized and the float network.
        batch: of the quantized network.
        mixes: whether samples keep what is read in the float network.

    Raises:
        RunError: NaN or infinity in what a unit answers.
    """
    samples: dict[str, list[Sample]] = {one.unit.path: [] for one in wanted}
    for number, image in windows:
        asked = [one for one in wanted if number in one.windows]
        if not asked:
            continue
        count = image.shape[0] if image.dim() else 1
        read = _read(root, image, asked, number, batch.is_image)
        float_read = _read(original, image, asked, number, lambda tensor: False)
        for one in asked:
            module = original.get_submodule(one.unit.path)
            for (x, is_image), (y, _) in zip(read[one.unit.path], float_read[one.unit.path], strict=True):
                with torch.no_grad():
                    target = one.unit.answer(module, y.clone())  # a unit may write into its input
                if not torch.isfinite(target).all():
                    where = one.unit.path or "the network"
                    raise RunError(f"NaN or infinity in what '{where}' answers to a calibration input")
                kept = y if mixes and not is_image else None
                samples[one.unit.path].append(Sample(number, x, kept, target, count, is_image))
    return samples


class _Enough(Exception):
    """All units that were asked for have been called."""


def _read(
    root: nn.Module, image: torch.Tensor, asked: list[Wanted], number: int, is_image: Callable[[torch.Tensor], bool]
) -> dict[str, list[tuple[torch.Tensor, bool]]]:
    """Path -> what the unit reads in one forward, call by call and crop by crop, and whether that is the image."""
    found: dict[str, list[tuple[torch.Tensor, bool]]] = {one.unit.path: [] for one in asked}
    missing = {one.unit.path: one.unit.calls for one in asked}

    def hook_for(one: Wanted):
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            x, path = arguments[0].detach(), one.unit.path
            found[path] += [(part.clone(), is_image(arguments[0])) for part in _crops(x, one, number)]
            missing[path] -= 1
            if not any(missing.values()):
                raise _Enough

        return hook

    hooks = [root.get_submodule(one.unit.path).register_forward_pre_hook(hook_for(one)) for one in asked]
    try:
        with torch.no_grad():
            root(image)
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _crops(x: torch.Tensor, one: Wanted, number: int) -> Iterator[torch.Tensor]:
    if one.unit.crop is None:
        yield x
        return
    random = Random(f"{one.unit.order} {number}")
    for _ in range(one.crops):
        starts = [random.randrange(n - kept + 1) for n, kept in zip(x.shape[2:], one.unit.crop)]
        yield x[(..., *(slice(start, start + kept) for start, kept in zip(starts, one.unit.crop)))]
