"""What the config of a bundle from elsewhere says, read from the objects that it makes (floor 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import monai.transforms as mt
import torch
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from monai.networks.nets import swin_unetr
from monai.utils import PytorchPadMode, ensure_tuple_rep

from medquanbench.values import RequestError

_SIGMA_SCALE = 0.125  # MONAI's default, and the only one in the sliding window here
_INTENSITY = "monai.transforms.intensity"
# What stands behind predictions and changes none of them.
_HARMLESS = (mt.SaveImaged, mt.EnsureTyped, mt.ToTensord, mt.CastToTyped, mt.EnsureChannelFirstd, mt.ToDeviced)


@dataclass(frozen=True)
class Finish:
    """How outputs become labels on the image's own grid.

    Attributes:
        restore: the road that does the same.
        activation: ``softmax``, or ``none`` where outputs are interpolated as they are.
        remarks: what it does beside that, and what is not done here.
    """

    restore: str
    activation: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """What one unit of the network's input is worth, as the config's ``intensity``."""

    unit: str
    per_value: float
    remarks: tuple[str, ...]


def window_entry(inferer: object, where: str) -> dict[str, Any]:
    """The ``inferer`` of a config, in plain numbers.

    Raises:
        RequestError: it is no sliding window, or one with a part that cannot be repeated here.
    """
    if type(inferer) not in (SlidingWindowInferer, SlidingWindowInfererAdapt):  # a subclass may do anything
        raise RequestError(f"{where}: its inferer is a {type(inferer).__name__}; a SlidingWindowInferer is needed")
    try:
        size, overlaps = ensure_tuple_rep(inferer.roi_size, 3), set(ensure_tuple_rep(inferer.overlap, 3))
        scales, padding = set(ensure_tuple_rep(inferer.sigma_scale, 3)), PytorchPadMode(inferer.padding_mode).value
    except (ValueError, TypeError) as error:
        raise RequestError(f"{where}: its inferer slides windows that have not three axes ({error})") from error
    problems = {
        f"has windows of {size} voxels, and whole axes cannot be windows here": not all(
            isinstance(edge, int) and edge > 0 for edge in size
        ),
        f"overlaps its windows otherwise along each axis ({inferer.overlap})": len(overlaps) > 1,
        f"blends with a sigma_scale of {inferer.sigma_scale}; it is {_SIGMA_SCALE} here": scales != {_SIGMA_SCALE},
        f"pads with {inferer.cval}; it is 0 here": padding == "constant" and inferer.cval != 0,
        "gives the network coordinates beside the window": bool(getattr(inferer, "with_coord", False)),
    }
    found = [what for what, there in problems.items() if there]
    if found:
        raise RequestError(f"{where}: its inferer {found[0]}")
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(size),
        "sw_batch_size": int(inferer.sw_batch_size),
        "overlap": float(overlaps.pop()),
        "mode": inferer.mode.value,
        "padding_mode": padding,
    }


def transforms_of(transform: object, what: str, where: str) -> tuple[object, ...]:
    """The single transforms of a Compose, in order.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(transform, mt.Compose):
        raise RequestError(f"{where}: its {what} is a {type(transform).__name__}; MONAI's Compose is needed")
    return tuple(transform.flatten().transforms)


def image_key(preprocessing: tuple[object, ...], where: str) -> str:
    """What the image is called: the first key that is loaded, ``image`` where it is among them.

    Raises:
        RequestError: nothing is loaded.
    """
    keys = [str(key) for transform in preprocessing if isinstance(transform, mt.LoadImaged) for key in transform.keys]
    if not keys:
        raise RequestError(f"{where}: its preprocessing loads no image (LoadImaged)")
    return "image" if "image" in keys else keys[0]


def scale_of(preprocessing: tuple[object, ...], key: str, hounsfield: bool) -> Scale:
    """What a difference of 1 at the network's input is, as far as the transforms tell."""
    found = [t for t in preprocessing if type(t).__module__.startswith(_INTENSITY) and key in getattr(t, "keys", ())]
    single = found[0] if len(found) == 1 else None
    if isinstance(single, mt.ScaleIntensityRanged):
        scaler = single.scaler
        reach = 1 if scaler.b_min is None or scaler.b_max is None else scaler.b_max - scaler.b_min
        unit = "HU" if hounsfield else "units of the image"
        if reach and scaler.a_max != scaler.a_min:
            return Scale(unit, abs(float(scaler.a_max - scaler.a_min) / float(reach)), ())
    if isinstance(single, mt.NormalizeIntensityd) and single.normalizer.divisor is None:
        return Scale("sigma", 1.0, ())
    names = ", ".join(type(t).__name__ for t in found) or "nothing"
    told = f"The intensity is set by {names}: the step of the quantized image is told in units of the network's input."
    return Scale("units of the input", 1.0, (told,))


def finish_of(postprocessing: tuple[object, ...], where: str) -> Finish:
    """How outputs become labels: the order of argmax and Invertd decides the road.

    Raises:
        RequestError: outputs do not exclude each other (sigmoid, thresholds), or are interpolated as no road does.
    """
    activation, remarks, argmax, inverted = "none", [], False, None
    for transform in (t for t in postprocessing if "pred" in getattr(t, "keys", ("pred",))):
        if isinstance(transform, mt.Activationsd):
            if any(transform.sigmoid) or any(map(callable, transform.other)):
                raise RequestError(f"{where}: its outputs do not exclude each other (sigmoid); {_ONE}")
            if any(transform.softmax) and inverted is None:  # behind it, the largest stays the largest
                activation = "softmax"
        elif isinstance(transform, mt.AsDiscreted):
            if not any(transform.argmax):
                raise RequestError(f"{where}: it cuts its outputs at a threshold; {_ONE}")
            argmax = True
        elif isinstance(transform, mt.Invertd):
            nearest = any(transform.nearest_interp)  # of outputs or of labels: the same
            inverted = "labels-inverted" if nearest else "logits-linear"
            if argmax and not nearest:
                raise RequestError(f"{where}: its postprocessing interpolates between numbers of labels")
        elif not isinstance(transform, _HARMLESS):
            name = type(transform).__name__
            remarks.append(
                f"{name} of the bundle's postprocessing is not done: labels are scored as the network gives them."
            )
    if inverted is None:
        remarks.append("The bundle's postprocessing does not undo its preprocessing (Invertd): labels are carried back "
                       "by nearest neighbour.")  # fmt: skip
    if not argmax:
        remarks.append("The bundle saves its outputs, not labels; here the largest output is the label.")
    return Finish(inverted or "labels-nearest", activation, tuple(remarks))


_ONE = "one label a voxel is needed"


def old_patch_merging(network: torch.nn.Module) -> bool:
    """True for a SwinUNETR with the patch merging that MONAI 1.5 changed under the same name."""
    return any(type(module) is swin_unetr.PatchMerging for module in network.modules())
