"""Open a bundle: its variants, its weights, and what its config says about images (floor 2).

A bundle is a folder in MONAI's format. The config of a run is `configs/inference.json`, merged with
`configs/variants/<variant>.json` and, where the weights need other preprocessing or labels than that, with
`configs/weights/<set>.json`; MONAI's own config parser does the merging, so its own commands read the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch.overrides import TorchFunctionMode

from medquanbench import shelf
from medquanbench import weights as checkpoints
from medquanbench.files import file_sha256
from medquanbench.restore import RESTORES
from medquanbench.values import RequestError, not_found


@dataclass(frozen=True)
class Intensity:
    """What one unit of the network's input is worth: ``per_value`` units (HU, sigma) for a difference of 1."""

    unit: str
    per_value: float


@dataclass(frozen=True)
class Window:
    """The sliding window: size in voxels, overlap as a fraction, ``constant`` or ``gaussian`` blending, batch."""

    size: tuple[int, ...]
    overlap: float
    mode: str
    batch: int


@dataclass(frozen=True)
class Bundle:
    """A bundle with one variant and one set of weights chosen.

    Attributes:
        weights: name of the set, or of the file that was given.
        channels: images that a case has.
        labels: names of the network's outputs, background first.
        restore: how the answer returns to the image's own grid.
        config: the merged config, canonical JSON.
    """

    name: str
    folder: Path
    variant: str
    weights: str
    weights_file: Path
    weights_sha256: str
    channels: int
    labels: tuple[str, ...]
    intensity: Intensity
    restore: str
    window: Window
    config: str

    def network(self) -> torch.nn.Module:
        """The float network with its weights, in evaluation mode.

        Raises:
            RequestError: the weights do not fit.
        """
        network = build_network(json.loads(self.config))
        checkpoints.load_into(network, checkpoints.read(self.weights_file), str(self.weights_file))
        return network.eval()

    def preprocessing(self) -> Callable:
        """The config's transform: ``{"image": path}`` -> the same with a (channel, x, y, z) tensor and its affine."""
        return parse_preprocessing(json.loads(self.config))


def variants(folder: Path) -> tuple[str, ...]:
    """Names of a bundle's variants."""
    return tuple(sorted(file.stem for file in (folder / "configs" / "variants").glob("*.json")))


def open_bundle(
    ref: str | Path, *, variant: str | None = "demo", weights: str | Path | None = None, dataset: str = "btcv-phantom"
) -> Bundle:
    """Open a bundle by its name on the shelf or by its folder.

    Args:
        ref: a name such as ``swinunetr``, or a folder in MONAI's bundle format.
        variant: a name in ``configs/variants``; None finds the one whose keys and shapes fit the weights.
        weights: a set in ``models/`` by name, a file, or None for the set ``<variant>-<dataset>``.
        dataset: which shipped set None stands for, and whose labels and preprocessing a file has.

    Raises:
        RequestError: something is not there or does not fit; the message lists what there is.
    """
    folder = shelf.find(shelf.BUNDLES, "bundle", ref)
    if not (folder / "configs" / "inference.json").is_file():
        raise RequestError(f"{folder} is no bundle: it has no configs/inference.json")
    file = _weights_file(folder, weights, f"{variant or 'demo'}-{dataset}")
    chosen = variant or _variant_of_set(folder, file) or fitting_variant(folder, file, dataset)
    return _assemble(folder, chosen, file, merged_config(folder, chosen, _weights_set(folder, file, chosen, dataset)))


def _weights_set(folder: Path, file: Path, variant: str, dataset: str) -> str:
    # A file from elsewhere was trained for the dataset it is measured on: its labels and preprocessing are that set's.
    return file.stem if _is_set(folder, file) else f"{variant}-{dataset}"


def _is_set(folder: Path, file: Path) -> bool:
    return file.parent == folder / "models"


def merged_config(folder: Path, variant: str, weights_set: str | None) -> dict:
    """The config of a variant, with the overlay of a weights set where there is one, before any `$` is evaluated."""
    if variant not in variants(folder):
        raise not_found("variant", variant, f"the bundle {folder.name}", variants(folder))
    configs = folder / "configs"
    files = [configs / "inference.json", configs / "variants" / f"{variant}.json"]
    overlay = configs / "weights" / f"{weights_set}.json"
    if weights_set and overlay.is_file():
        files.append(overlay)
    try:
        return ConfigParser.load_config_files([str(file) for file in files])
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"the config of {folder.name} ({', '.join(f.name for f in files)}) is damaged: {error}"
        ) from error


def fitting_variant(folder: Path, file: Path, dataset: str = "btcv-phantom") -> str:
    """The one variant whose keys and shapes fit a weights file for a dataset; networks are built without memory.

    Raises:
        RequestError: none fits, or several do.
    """
    tensors, reasons = checkpoints.read(file), {}
    for name in variants(folder):
        config = merged_config(folder, name, _weights_set(folder, file, name, dataset))
        reasons[name] = checkpoints.misfit(empty_network(config), tensors)
    fitting = [name for name, reason in reasons.items() if not reason]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RequestError(
            f"{file} fits several variants of {folder.name}: {', '.join(fitting)}; choose with --variant"
        )
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise RequestError(f"{file} fits no variant of {folder.name}. {told}")


def _variant_of_set(folder: Path, file: Path) -> str | None:
    """The variant that the name of a set in ``models/`` begins with, or None."""
    names = variants(folder) if _is_set(folder, file) else ()
    return next((name for name in sorted(names, key=len, reverse=True) if file.stem.startswith(f"{name}-")), None)


def _weights_file(folder: Path, weights: str | Path | None, default: str) -> Path:
    models = folder / "models"
    sets = [file.stem for file in models.glob("*.safetensors")]
    name = default if weights is None else str(weights)
    if name in sets:
        return models / f"{name}.safetensors"
    if weights is not None and Path(weights).expanduser().is_file():
        return Path(weights).expanduser().resolve()
    raise not_found("weights", name, f"{models} or as a file", sets)


def _assemble(folder: Path, variant: str, file: Path, config: dict) -> Bundle:
    if config.get("unknown"):
        lacks = " and ".join(config["unknown"])
        why = config.get("unknown_why", "")
        raise RequestError(f"the variant {variant} of {folder.name} cannot be run: {lacks} unknown. {why}".rstrip())
    try:
        intensity, window = config["intensity"], window_of(config)
        parts = (
            tuple(config["labels"]),
            Intensity(intensity["unit"], float(intensity["per_value"])),
            config["restore"],
        )
    except KeyError as error:
        raise RequestError(f"the config of {folder.name}, variant {variant}, has no {error}") from error
    if parts[2] not in RESTORES:
        raise not_found("restore", parts[2], f"the config of {folder.name}", list(RESTORES))
    return Bundle(
        folder.name,
        folder,
        variant,
        file.stem if _is_set(folder, file) else file.name,
        file,
        file_sha256(file),
        _channels(folder),
        *parts,
        window,
        json.dumps(config, sort_keys=True),
    )


def _channels(folder: Path) -> int:
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text())
        return metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{folder}/configs/metadata.json does not say how many channels an image has") from error


def build_network(config: dict) -> torch.nn.Module:
    """The network of a merged config, with random weights.

    Raises:
        RequestError: the config names a class that is not there, or arguments that it does not take.
    """
    return _parse(config, "network_def")


def empty_network(config: dict) -> torch.nn.Module:
    """The network of a merged config without memory for its parameters (meta device): keys, shapes, counts."""
    with _WithoutMemory():
        return build_network(config)


class _WithoutMemory(TorchFunctionMode):
    """What parameters are made from goes to the meta device.

    ``torch.device("meta")`` would take ``linspace`` along, whose values SwinUNETR reads while it is built.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def parse_preprocessing(config: dict) -> Callable:
    """The preprocessing transform of a merged config.

    Raises:
        RequestError: as :func:`build_network`.
    """
    return _parse(config, "preprocessing")


def _parse(config: dict, name: str) -> Any:
    try:
        return ConfigParser(config).get_parsed_content(name)
    except Exception as error:  # a config is a program: anything may come out of it
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise RequestError(f"the bundle's config cannot make its '{name}': {cause}") from error


def window_of(config: dict) -> Window:
    """The sliding window of a merged config."""
    inferer = config["inferer"]
    return Window(
        tuple(inferer["roi_size"]), inferer["overlap"], inferer.get("mode", "constant"), inferer["sw_batch_size"]
    )
