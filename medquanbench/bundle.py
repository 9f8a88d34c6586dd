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
from medquanbench.bundle_config import Intensity, Window, channels_of, read_json, settings_of
from medquanbench.files import file_sha256, obstacle
from medquanbench.key_maps import KeyMap, read_key_maps
from medquanbench.roads import ROADS
from medquanbench.values import RequestError, not_found

_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True)
class Bundle:
    """A bundle with one variant and one set of weights chosen.

    Attributes:
        weights: name of the set, or of the file that was given.
        channels: images that a case has.
        labels: names of the network's outputs, background first.
        restore: name of the road by which an answer comes about and returns to the image's own grid.
        config: the merged config, canonical JSON.
        key_map: name of the key map by which the weights fit, "" where none is needed.
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
    key_map: str

    def network(self) -> torch.nn.Module:
        """The float network with its weights, in evaluation mode.

        Raises:
            RequestError: the weights do not fit.
        """
        config = json.loads(self.config)
        network = build_network(config)
        tensors = checkpoints.read(self.weights_file)
        checkpoints.load_into(network, tensors, str(self.weights_file), config.get("key_maps"))
        return network.eval()

    @property
    def trained_on_phantoms(self) -> bool:
        """True where the card of a shipped set says so; weights from elsewhere have no card."""
        try:
            card = read_json(self.weights_file.with_suffix(".json"))
        except RequestError:  # none, or no card of ours: it must not end a run
            return False
        return _is_set(self.folder, self.weights_file) and card.get("phantom") is True

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
    if not variants(folder):
        raise RequestError(f"{folder} has no variants: at least configs/variants/demo.json is needed, {{}} will do")
    if variant is not None:
        _check_variant(folder, variant)
    file = _weights_file(folder, weights, f"{variant or 'demo'}-{dataset}")
    chosen = variant or _variant_of_set(folder, file) or fitting_variant(folder, file, dataset)
    return _assemble(folder, chosen, file, merged_config(folder, chosen, _weights_set(folder, file, chosen, dataset)))


def _check_variant(folder: Path, variant: str) -> None:
    if variant not in variants(folder):
        raise not_found("variant", variant, f"the bundle {folder.name}", variants(folder))


def _weights_set(folder: Path, file: Path, variant: str, dataset: str) -> str:
    # A file from elsewhere was trained for the dataset it is measured on: its labels and preprocessing are that set's.
    return file.stem if _is_set(folder, file) else f"{variant}-{dataset}"


def _is_set(folder: Path, file: Path) -> bool:
    return file.parent == folder / "models"


def merged_config(folder: Path, variant: str, weights_set: str | None) -> dict:
    """The config of a variant, with the overlay of a weights set where there is one, before any `$` is evaluated."""
    _check_variant(folder, variant)
    configs = folder / "configs"
    files = [configs / "inference.json", configs / "variants" / f"{variant}.json"]
    overlay = configs / "weights" / f"{weights_set}.json"
    if weights_set and overlay.is_file():
        files.append(overlay)
    for file in files:
        read_json(file)
    try:
        return ConfigParser.load_config_files([str(file) for file in files])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        names = ", ".join(file.name for file in files)
        raise RequestError(f"the config of {folder.name} cannot be merged from {names}: {_last_line(error)}") from error


def fitting_variant(folder: Path, file: Path, dataset: str = "btcv-phantom") -> str:
    """The one variant whose keys and shapes fit a weights file for a dataset; networks are built without memory.

    Raises:
        RequestError: none fits, or several do.
    """
    tensors, reasons = checkpoints.read(file), {}
    for name in variants(folder):
        config = merged_config(folder, name, _weights_set(folder, file, name, dataset))
        reasons[name] = checkpoints.fit(empty_network(config), tensors, _key_maps(config)).problem
    fitting = [name for name, reason in reasons.items() if not reason]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RequestError(
            f"{file} fits several variants of {folder.name}: {', '.join(fitting)}; choose with --variant"
        )
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise RequestError(f"{file} fits no variant of {folder.name} ({told})")


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
    if weights is not None:
        path = Path(weights).expanduser()
        hidden = obstacle(path)
        if path.is_dir():
            there = ", ".join(sorted(file.name for file in path.iterdir() if file.suffix in _SUFFIXES)) or "none"
            raise RequestError(f"the weights {path} are a folder; name the file in it; there is: {there}")
        if not hidden:
            return path.resolve()
        if hidden != "is missing":
            raise RequestError(f"the weights {path} cannot be used: the file {hidden}")
    raise not_found("weights", name, f"{models} or as a file", sets)


def _assemble(folder: Path, variant: str, file: Path, config: dict) -> Bundle:
    if config.get("unknown"):
        lacks = " and ".join(config["unknown"])
        why = config.get("unknown_why", "")
        raise RequestError(f"the variant {variant} of {folder.name} cannot be run: {lacks} unknown. {why}".rstrip())
    where = f"the config of {folder.name}, variant {variant}"
    settings = settings_of(config, where)
    if settings.restore not in ROADS:
        raise not_found("restore", settings.restore, where, list(ROADS))
    return Bundle(
        folder.name,
        folder,
        variant,
        file.stem if _is_set(folder, file) else file.name,
        file,
        file_sha256(file),
        channels_of(folder),
        settings.labels,
        settings.intensity,
        settings.restore,
        settings.window,
        json.dumps(config, sort_keys=True),
        _key_map(config, file),
    )


def _key_maps(config: dict) -> tuple[KeyMap, ...]:
    return read_key_maps(config.get("key_maps"))


def _key_map(config: dict, file: Path) -> str:
    maps = _key_maps(config)
    return checkpoints.fit(empty_network(config), checkpoints.read(file), maps).key_map if maps else ""


def build_network(config: dict) -> torch.nn.Module:
    """The network of a merged config, with random weights.

    Raises:
        RequestError: the config names a class that is not there, or arguments that it does not take.
    """
    network = _parse(config, "network_def")
    if not isinstance(network, torch.nn.Module):
        raise RequestError("the bundle's config cannot make its 'network_def': it is no network, a torch.nn.Module")
    return network


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
    transform = _parse(config, "preprocessing")
    if not callable(transform):
        raise RequestError("the bundle's config cannot make its 'preprocessing': it is no transform")
    return transform


def _parse(config: dict, name: str) -> Any:
    try:
        return ConfigParser(config).get_parsed_content(name)
    except Exception as error:  # a config is a program: anything may come out of it
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise RequestError(f"the bundle's config cannot make its '{name}': {_last_line(cause)}") from error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else type(error).__name__
