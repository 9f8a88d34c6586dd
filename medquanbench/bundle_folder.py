"""A bundle's folder: its variants, its sets of weights, and their merged configs (floor 2).

The config of a run is `configs/inference.json`, merged with `configs/variants/<variant>.json` and, where the weights
need other preprocessing or labels than that, with `configs/weights/<set>.json`; MONAI's own config parser does the
merging, so its own commands read the same files.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medquanbench.bundle_config import read_json
from medquanbench.config_objects import last_line
from medquanbench.files import obstacle
from medquanbench.values import RequestError, not_found

_SUFFIXES = (".safetensors", ".pt", ".pth", ".model", ".ckpt", ".bin")


def variants(folder: Path) -> tuple[str, ...]:
    """Names of a bundle's variants."""
    return tuple(sorted(file.stem for file in (folder / "configs" / "variants").glob("*.json")))


def check_variant(folder: Path, variant: str) -> None:
    """Raises RequestError where a bundle has no such variant."""
    if variant not in variants(folder):
        raise not_found("variant", variant, f"the bundle {folder.name}", variants(folder))


def merged_config(folder: Path, variant: str, weights_set: str | None) -> dict:
    """The config of a variant, with the overlay of a weights set where there is one, before any `$` is evaluated."""
    check_variant(folder, variant)
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
        raise RequestError(f"the config of {folder.name} cannot be merged from {names}: {last_line(error)}") from error


def refuse_unknown(config: dict, folder: Path, variant: str) -> None:
    """Raises RequestError for a variant whose config says that something which a run needs is not known."""
    if config.get("unknown"):
        lacks = " and ".join(config["unknown"])
        why = config.get("unknown_why", "")
        raise RequestError(f"the variant {variant} of {folder.name} cannot be run: {lacks} unknown. {why}".rstrip())


def with_settings(config: dict, settings: tuple[tuple[str, Any], ...], version: str) -> tuple[dict, tuple[str, ...]]:
    """The config that weights of a version need (see :mod:`medquanbench.key_maps`), and that in words.

    Raises:
        RequestError: the config has nothing under one of the ids.
    """
    if not settings:
        return config, ()
    parser = ConfigParser(copy.deepcopy(config))
    for key, value in settings:
        if key not in parser:
            raise RequestError(
                f"key_maps in the bundle's config: {version} sets '{key}', which the config does not have"
            )
        parser[key] = value
    parser[f"key_maps#{version}#config"] = None  # done: load_into asks for it no more
    told = ", ".join(f"{key} {value}" for key, value in settings)
    return parser.get(), (f"The file is of the version {version}: {told} is set for it.",)


def is_set(folder: Path, file: Path) -> bool:
    """True for a set in a bundle's ``models/``; what a training leaves there (``model.pt``) is a file as any other."""
    return file.parent == folder / "models" and file.suffix == ".safetensors"


def overlay_of(folder: Path, file: Path, variant: str, dataset: str) -> str:
    """The weights set whose overlay counts for a file.

    A file from elsewhere was trained for the dataset it is measured on: its labels and preprocessing are that set's.
    """
    return file.stem if is_set(folder, file) else f"{variant}-{dataset}"


def variant_of_set(folder: Path, file: Path) -> str | None:
    """The variant that the name of a set in ``models/`` begins with, or None."""
    names = variants(folder) if is_set(folder, file) else ()
    return next((name for name in sorted(names, key=len, reverse=True) if file.stem.startswith(f"{name}-")), None)


def weights_file(folder: Path, weights: str | Path | None, default: str) -> Path:
    """The file of a set by its name, or a file by its path.

    Args:
        default: the set that None stands for.

    Raises:
        RequestError: it is neither; the message lists the sets.
    """
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
            # A link keeps its name: a store of downloads has files without suffix behind it.
            return Path(os.path.abspath(path))
        if hidden != "is missing":
            raise RequestError(f"the weights {path} cannot be used: the file {hidden}")
    told = not_found("weights", name, f"{models} or as a file", sets)
    if weights is None and not name.startswith("demo-"):
        where = folder / "docs" / "README.md"
        raise RequestError(f"{told}; where the published ones are, {where} says: give the file with --weights")
    raise told
