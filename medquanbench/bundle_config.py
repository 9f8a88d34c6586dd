"""What a bundle's config says about images and answers, checked where it is read (floor 2)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench.files import obstacle
from medquanbench.values import RequestError

_NEEDED = ("labels", "intensity", "restore", "inferer", "network_def", "preprocessing")
_BLENDING = ("constant", "gaussian")
ACTIVATIONS = ("none", "softmax")
"""What a config's ``activation`` may do to the logits before they are interpolated."""
_PADDING = ("constant", "replicate", "reflect", "circular")


@dataclass(frozen=True)
class Intensity:
    """What one unit of the network's input is worth: ``per_value`` units (HU, sigma) for a difference of 1."""

    unit: str
    per_value: float


@dataclass(frozen=True)
class Window:
    """The sliding window: size in voxels, overlap as a fraction, ``constant`` or ``gaussian`` blending, batch.

    ``padding`` says what stands around a volume that is smaller than a window, as torch's ``pad`` calls it.
    """

    size: tuple[int, ...]
    overlap: float
    mode: str
    batch: int
    padding: str = "constant"


@dataclass(frozen=True)
class Settings:
    """The parts of a config that this package reads itself; the rest is MONAI's to make objects of."""

    labels: tuple[str, ...]
    intensity: Intensity
    restore: str
    window: Window


def read_json(file: Path) -> dict:
    """A JSON file that holds an object.

    Raises:
        RequestError: it is missing, unreadable, no JSON, or no object.
    """
    hidden = obstacle(file)
    if hidden:
        raise RequestError(f"{file} {hidden}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise RequestError(f"{file} is damaged: it is no text") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise RequestError(f"{file} is damaged: it is no JSON at {place} ({error.msg})") from None
    except RecursionError:
        raise RequestError(f"{file} is damaged: it is nested too deeply") from None
    if not isinstance(content, dict):
        raise RequestError(f"{file} is damaged: it must be a JSON object, {{...}}")
    return content


def settings_of(config: dict, where: str) -> Settings:
    """The checked settings of a merged config; ``where`` names it in messages.

    Raises:
        RequestError: a key is missing, or its value is of a wrong kind.
    """
    for key in _NEEDED:
        if key not in config:
            raise RequestError(f"{where}, has no '{key}'; it needs {', '.join(_NEEDED)}")
    labels, intensity, restore = config["labels"], config["intensity"], config["restore"]
    names = isinstance(labels, list) and len(labels) > 1 and all(isinstance(name, str) for name in labels)
    _expect(names, where, "labels", labels, "a list of names, background first")
    _expect(len(set(labels)) == len(labels), where, "labels", labels, "a list without a name that stands twice")
    given = isinstance(intensity, dict) and isinstance(intensity.get("unit"), str) and intensity.get("per_value")
    worth = _is_number(given) and given > 0
    _expect(worth, where, "intensity", intensity, '{"unit": "HU", "per_value": 425} or the like')
    _expect(isinstance(restore, str), where, "restore", restore, "the name of a road")
    activation = config.get("activation", "none")
    _expect(activation in ACTIVATIONS, where, "activation", activation, " or ".join(ACTIVATIONS))
    unit = Intensity(intensity["unit"], float(intensity["per_value"]))
    return Settings(tuple(labels), unit, restore, window_of(config, where))


def window_of(config: dict, where: str = "the bundle's config") -> Window:
    """The sliding window of a merged config.

    Raises:
        RequestError: its inferer lacks a part, or has one of a wrong kind.
    """
    inferer = config["inferer"]
    _expect(isinstance(inferer, dict), where, "inferer", inferer, "an object")
    size, overlap, batch = (_part(inferer, name, where) for name in ("roi_size", "overlap", "sw_batch_size"))
    mode, padding = inferer.get("mode", "constant"), inferer.get("padding_mode", "constant")
    sizes = isinstance(size, list) and len(size) == 3 and all(_is_count(edge) for edge in size)
    _expect(sizes, where, "inferer#roi_size", size, "a list of three whole numbers above 0")
    _expect(_is_number(overlap) and 0 <= overlap < 1, where, "inferer#overlap", overlap, "a number from 0 to below 1")
    _expect(_is_count(batch), where, "inferer#sw_batch_size", batch, "a whole number above 0")
    _expect(mode in _BLENDING, where, "inferer#mode", mode, " or ".join(_BLENDING))
    _expect(padding in _PADDING, where, "inferer#padding_mode", padding, " or ".join(_PADDING))
    return Window(tuple(size), overlap, mode, batch, padding)


def channels_of(folder: Path) -> int:
    """How many images a case of a bundle has, as its ``configs/metadata.json`` says.

    Raises:
        RequestError: it does not say so.
    """
    file = folder / "configs" / "metadata.json"
    metadata: Any = read_json(file)
    for key in ("network_data_format", "inputs", "image", "num_channels"):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    if not _is_count(metadata):
        where = "network_data_format, inputs, image, num_channels"
        raise RequestError(f"{file} does not say how many channels an image has: {where} must be a whole number")
    return metadata


def _part(inferer: dict, name: str, where: str) -> Any:
    if name not in inferer:
        raise RequestError(f"{where}, has no 'inferer#{name}'")
    return inferer[name]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _expect(right: bool, where: str, name: str, value: object, needed: str) -> None:
    if not right:
        told = json.dumps(value, ensure_ascii=False)
        raise RequestError(f"{where}: '{name}' is {told[:60]}{'...' * (len(told) > 60)}; {needed} is needed")
