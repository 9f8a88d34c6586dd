"""Open a bundle as it comes from MONAI's Model Zoo, without anything of ours in it (floor 2).

Its ``$`` expressions are run, and the code in its ``scripts/``: network, preprocessing, inferer and postprocessing are
what its config makes them. Labels, channels and the MONAI that it was made with stand in its metadata.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.networks.nets import SwinUNETR

from medquanbench.bundle import Bundle
from medquanbench.bundle_config import channels_of, read_json, settings_of
from medquanbench.bundle_folder import variants
from medquanbench.closest import fitted_to, misfit
from medquanbench.config_objects import code_of, empty_network, last_line, parse
from medquanbench.containers import open_checkpoint
from medquanbench.files import file_sha256, obstacle
from medquanbench.values import RequestError, not_found
from medquanbench.zoo_config import finish_of, image_key, old_patch_merging, scale_of, transforms_of, window_entry

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = "model.pt"
_MERGING_CHANGED = (1, 5)
_DOWNSAMPLE = {"_target_": "medquanbench.networks.PatchMergingBefore15", "_mode_": "callable"}
_AS_BEFORE = (
    f"The bundle was made with MONAI {{version}}: its SwinUNETR merges patches in the order of MONAI before 1.5 "
    f"({_DOWNSAMPLE['_target_']}); the order of the MONAI that is installed would change a fifth of the labels."
)
_AS_SINCE = (
    "The bundle was made with MONAI {version}: its SwinUNETR merges patches in the order of MONAI since 1.5; weights "
    "that were trained before need the other order."
)
_OTHER_WEIGHTS = "The bundle's config loads {own}; its preprocessing is for that, and {given} was given."


def is_zoo(folder: Path) -> bool:
    """True for a bundle that has an inference config, and neither variants nor a ``restore`` of our own in it.

    Raises:
        RequestError: its config is damaged.
    """
    file = _config_file(folder)
    if file is None or variants(folder):
        return False
    return file.suffix != ".json" or "restore" not in read_json(file)


def open_zoo(folder: Path, variant: str | None, weights: str | Path | None) -> Bundle:
    """Open a bundle of the Model Zoo's form.

    Args:
        variant: it has one, named as its weights' file; None and ``demo`` stand for it.
        weights: a file, in ``models/`` by name or anywhere by path; None for the one that the config loads.

    Raises:
        RequestError: a part is missing, cannot be made, or does what cannot be repeated here; the weights do not fit.
    """
    config = _load(folder)
    own = _own_weights(folder, config)
    checkpoint = open_checkpoint(_weights_file(folder, weights, own))
    name = checkpoint.file.stem
    if variant not in (None, "demo", name):
        raise not_found("variant", variant, f"the bundle {folder.name}", [name])
    read = _read(folder, config)
    settings = settings_of(read.config, read.where)
    network = empty_network(read.config, folder)
    _check_merging(network, read)
    found = fitted_to(network, folder.name, name, read.config, checkpoint)
    if not found.fits:
        raise misfit(found, folder, checkpoint, "")
    other = os.path.realpath(checkpoint.file) != os.path.realpath(own)
    told = (_OTHER_WEIGHTS.format(own=own.name, given=checkpoint.file.name),) * other
    return Bundle(
        name=folder.name,
        folder=folder,
        variant=name,
        weights=checkpoint.file.name,
        weights_file=checkpoint.file,
        weights_sha256=file_sha256(checkpoint.file),
        channels=channels_of(folder),
        labels=settings.labels,
        intensity=settings.intensity,
        restore=settings.restore,
        window=settings.window,
        config=json.dumps(read.config, sort_keys=True),
        loaded=found.fit.loaded,
        remarks=(*told, *read.remarks),
        code_folder=folder,
    )


@dataclass(frozen=True)
class _Read:
    """What is in a bundle's config and metadata, in the ids that are used here.

    ``where`` names it in messages; ``monai`` is the version that it was made with, () where it does not say.
    """

    where: str
    config: dict[str, Any]
    monai: tuple[int, ...]
    remarks: tuple[str, ...]


def _read(folder: Path, config: dict[str, Any]) -> _Read:
    where = f"the config of {folder.name}"
    metadata = read_json(folder / "configs" / "metadata.json")
    version, entry = str(metadata.get("monai_version", "")), _network_entry(config, where)
    monai = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    entry, changed = _for_this_monai(entry, monai, version)
    config = config | {"device": "$torch.device('cpu')", "network_def": entry}
    before, reading = _readable(config["preprocessing"] if "preprocessing" in config else None)
    config["preprocessing"] = before
    preprocessing = transforms_of(parse(config, "preprocessing", folder), "preprocessing", where)
    inferer = window_entry(parse(config, "inferer", folder), where)
    after = parse(config, "postprocessing", folder) if "postprocessing" in config else None
    finish = finish_of(transforms_of(after, "postprocessing", where) if after is not None else (), where)
    key, image, pred = image_key(preprocessing, where), _format(metadata, "inputs", "image"), _labels(metadata, folder)
    scale = scale_of(preprocessing, key, image.get("modality") == "CT" or image.get("format") == "hounsfield")
    config |= {
        "preprocessing": {"_target_": "medquanbench.zoo_preprocessing.ImageOnly", "transform": before, "key": key},
        "inferer": inferer,
        "labels": pred,
        "intensity": {"unit": scale.unit, "per_value": scale.per_value},
        "restore": finish.restore,
        "activation": finish.activation,
    }
    sums = {str(file.relative_to(folder)): file_sha256(file) for file in code_of(folder)}
    if sums:
        config["code_sha256"] = sums
    return _Read(where, config, monai, (*changed, *reading, *scale.remarks, *finish.remarks))


def _config_file(folder: Path) -> Path | None:
    return next((folder / "configs" / name for name in _CONFIGS if (folder / "configs" / name).is_file()), None)


def _load(folder: Path) -> dict[str, Any]:
    file = _config_file(folder)
    if file.suffix == ".json":
        read_json(file)  # says what is wrong with it
    elif importlib.util.find_spec("yaml") is None:
        raise RequestError(f"{file} is YAML, and the package PyYAML, which reads it, is not installed")
    try:
        config = ConfigParser.load_config_file(str(file))
    except Exception as error:  # YAML's errors are of many kinds
        raise RequestError(f"{file} is damaged: {last_line(error)}") from error
    if not isinstance(config, dict):
        raise RequestError(f"{file} is damaged: it must be an object")
    try:
        strange = _beside_json(config)
    except RecursionError:
        raise RequestError(f"{file} is damaged: it is nested too deeply") from None
    if strange:
        raise RequestError(f"{file} holds {strange}; texts as keys, and numbers, texts, lists and objects are needed")
    missing = [name for name in ("preprocessing", "inferer") if name not in config]
    if missing:
        raise RequestError(f"the config of {folder.name} has no '{missing[0]}'")
    return config


def _beside_json(value: Any) -> str:
    """What of YAML cannot be in a config of MONAI's other form, JSON; empty where there is nothing."""
    if isinstance(value, dict):
        keys = [key for key in value if not isinstance(key, str)]
        return f"the key {str(keys[0])[:40]}, which is no text" if keys else _beside_json(list(value.values()))
    if isinstance(value, list):
        return next(filter(None, map(_beside_json, value)), "")
    plain = value is None or isinstance(value, (str, int, float))
    return "" if plain else f"{str(value)[:40]} ({type(value).__name__})"


def _network_entry(config: dict[str, Any], where: str) -> Any:
    several = sorted(name for name in config if re.fullmatch(r"\w*network_def\w*", name))
    if len(several) > 1:
        raise RequestError(f"{where} has several networks ({', '.join(several)}); one is needed")
    name = several[0] if several else "network"
    if name not in config:
        raise RequestError(f"{where} has no 'network_def' and no 'network'")
    return config[name]


def _for_this_monai(entry: Any, monai: tuple[int, ...], version: str) -> tuple[Any, tuple[str, ...]]:
    """The network's entry as the MONAI that is installed needs it for the same function, and what was changed."""
    target = entry.get("_target_") if isinstance(entry, dict) else None
    if not isinstance(target, str) or target.rpartition(".")[2] != SwinUNETR.__name__:
        return entry, ()
    entry, remarks = dict(entry), []
    old = bool(monai) and monai < _MERGING_CHANGED
    if entry.pop("img_size", None) is not None:
        old = True  # whatever the metadata says: no later MONAI takes it
        remarks.append("img_size is left out of network_def: MONAI's SwinUNETR does not take it since 1.5.")
    if entry.get("downsample", "merging") == "merging" and (old or monai):
        remarks.append((_AS_BEFORE if old else _AS_SINCE).format(version=version or "before 1.5"))
        entry |= {"downsample": _DOWNSAMPLE} if old else {}
    return entry, tuple(remarks)


def _check_merging(network: torch.nn.Module, read: _Read) -> None:
    if old_patch_merging(network) and read.monai < _MERGING_CHANGED:
        raise RequestError(
            f"{read.where} has a SwinUNETR, and it cannot be told or set from it in which order patches are merged: "
            "its metadata must say its monai_version, and network_def must be an object with _target_ SwinUNETR"
        )


def _readable(preprocessing: Any) -> tuple[Any, tuple[str, ...]]:
    """The preprocessing without ITK where that is not installed: nibabel reads the same numbers of a NIfTI file."""
    if importlib.util.find_spec("itk") is not None or "ITKReader" not in json.dumps(preprocessing):
        return preprocessing, ()
    entries = preprocessing.get("transforms") if isinstance(preprocessing, dict) else None
    if not isinstance(entries, list):
        return preprocessing, ()
    kept = [
        {key: value for key, value in entry.items() if (key, value) != ("reader", "ITKReader")}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]
    return preprocessing | {"transforms": kept}, (
        "ITK, which the bundle reads images with, is not installed: nibabel does.",
    )


def _format(metadata: dict[str, Any], way: str, name: str) -> dict[str, Any]:
    for key in ("network_data_format", way, name):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _labels(metadata: dict[str, Any], folder: Path) -> list[str]:
    """Names of the outputs, in their order."""
    pred = _format(metadata, "outputs", "pred")
    names, count = pred.get("channel_def"), pred.get("num_channels")
    numbers = sorted(names, key=lambda text: (len(text), text)) if isinstance(names, dict) else []
    if not numbers or numbers != [str(number) for number in range(len(numbers))] or len(numbers) != count:
        raise RequestError(
            f"{folder / 'configs' / 'metadata.json'} does not name the outputs: network_data_format, outputs, pred, "
            f"channel_def must have a name for each of its num_channels ({count})"
        )
    return [" ".join(str(names[number]).split()) for number in numbers]


def _own_weights(folder: Path, config: dict[str, Any]) -> Path:
    """The file that the config's CheckpointLoader loads; ``models/model.pt`` where that is none of the bundle."""
    usual, handlers = folder / "models" / _WEIGHTS, config.get("handlers")
    places = [("checkpointloader", config.get("checkpointloader"))]
    places += [(f"handlers::{n}", entry) for n, entry in enumerate(handlers if isinstance(handlers, list) else ())]
    for place, entry in places:
        if isinstance(entry, dict) and str(entry.get("_target_")).rpartition(".")[2] == "CheckpointLoader":
            try:
                file = Path(os.path.abspath(folder / str(parse(config, f"{place}::load_path", folder))))
            except RequestError:  # it leads to what only a training sets
                return usual
            return file if file.is_relative_to(folder) else usual
    return usual


def _weights_file(folder: Path, weights: str | Path | None, own: Path) -> Path:
    models = folder / "models"
    if weights is None:
        file = own
    elif (models / str(weights)).is_file() and not Path(weights).is_absolute():
        file = models / str(weights)
    else:
        file = Path(weights).expanduser()
    hidden = obstacle(file)
    if not hidden:
        return Path(os.path.abspath(file))  # a link keeps its name: a store of downloads has none behind it
    there = ", ".join(sorted(path.name for path in models.glob("*") if path.is_file())) or "none"
    listed = "; its large_files.yml says where they are" * ((folder / "large_files.yml").is_file() and weights is None)
    raise RequestError(f"no weights for {folder.name}: {file} {hidden}; in {models} there is: {there}{listed}")
