"""Open a bundle: one variant, one set of weights, and what its config says about images (floor 2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from medquanbench import shelf
from medquanbench import weights as checkpoints
from medquanbench.bundle_config import Intensity, Window, channels_of, read_json, settings_of
from medquanbench.bundle_folder import (
    is_set,
    merged_config,
    overlay_of,
    refuse_unknown,
    variant_of_set,
    variants,
    weights_file,
    with_settings,
)
from medquanbench.closest import candidate_of, misfit, only_fit
from medquanbench.config_objects import build_network, empty_network, parse_preprocessing
from medquanbench.containers import Checkpoint, open_checkpoint
from medquanbench.files import file_sha256
from medquanbench.key_maps import read_key_maps
from medquanbench.roads import ROADS
from medquanbench.values import Loaded, RequestError, not_found

__all__ = [
    "Bundle", "build_network", "empty_network", "fitting_variant", "merged_config", "open_bundle",
    "parse_preprocessing", "variants",
]  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A bundle with one variant and one set of weights chosen.

    Attributes:
        weights: name of the set, or of the file that was given.
        channels: images that a case has.
        labels: names of the network's outputs, background first.
        restore: name of the road by which an answer comes about and returns to the image's own grid.
        config: the merged config, canonical JSON.
        loaded: how the tensors of the weights' file came into the network.
        remarks: what is otherwise than the bundle's own files say, a sentence each.
        code_folder: where the config finds code that the bundle brings along; None where it brings none.
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
    loaded: Loaded
    remarks: tuple[str, ...] = ()
    code_folder: Path | None = None

    def network(self) -> torch.nn.Module:
        """The float network with its weights, in evaluation mode.

        Raises:
            RequestError: the weights do not fit.
        """
        config = json.loads(self.config)
        network = build_network(config, self.code_folder)
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
        return is_set(self.folder, self.weights_file) and card.get("phantom") is True

    def preprocessing(self) -> Callable:
        """The config's transform: ``{"image": path}`` -> the same with a (channel, x, y, z) tensor and its affine."""
        return parse_preprocessing(json.loads(self.config), self.code_folder)


def open_bundle(
    ref: str | Path, *, variant: str | None = "demo", weights: str | Path | None = None, dataset: str = "btcv-phantom"
) -> Bundle:
    """Open a bundle by its name on the shelf or by its folder.

    Args:
        ref: a name such as ``swinunetr``, or a folder in MONAI's bundle format: with the variants of our own bundles,
            or as it comes from MONAI's Model Zoo.
        variant: a name in ``configs/variants``; None finds the one whose keys and shapes fit the weights.
        weights: a set in ``models/`` by name, a file, a results folder of nnU-Net, or None for the set
            ``<variant>-<dataset>``.
        dataset: which shipped set None stands for, and whose labels and preprocessing a file has.

    Raises:
        RequestError: something is not there or does not fit; the message lists what there is.
    """
    from medquanbench import nnunet_folder, zoo_bundle  # which make a Bundle

    folder = shelf.find(shelf.BUNDLES, "bundle", ref)
    given = None if weights is None else Path(weights).expanduser()
    if given is not None and nnunet_folder.is_folder(given):
        return nnunet_folder.open_folder(folder, given, variant)
    if zoo_bundle.is_zoo(folder):
        return zoo_bundle.open_zoo(folder, variant, weights)
    if not (folder / "configs" / "inference.json").is_file():
        raise RequestError(f"{folder} is no bundle: it has no configs/inference.json")
    if not variants(folder):
        raise RequestError(f"{folder} has no variants: at least configs/variants/demo.json is needed, {{}} will do")
    if variant is not None:  # before its weights are sought: none would help
        refuse_unknown(merged_config(folder, variant, None), folder, variant)
    file = weights_file(folder, weights, f"{variant or 'demo'}-{dataset}")
    checkpoint = open_checkpoint(file)
    chosen = variant or variant_of_set(folder, file) or only_fit(folder, checkpoint, dataset)
    return _assemble(folder, chosen, checkpoint, dataset)


def fitting_variant(folder: Path, file: Path, dataset: str = "btcv-phantom") -> str:
    """The one variant whose keys and shapes fit a weights file for a dataset; networks are built without memory.

    Raises:
        RequestError: none fits, or several do; the message says what comes closest.
    """
    return only_fit(folder, open_checkpoint(file), dataset)


def _assemble(folder: Path, variant: str, checkpoint: Checkpoint, dataset: str) -> Bundle:
    file = checkpoint.file
    config = merged_config(folder, variant, overlay_of(folder, file, variant, dataset))
    refuse_unknown(config, folder, variant)
    where = f"the config of {folder.name}, variant {variant}"
    settings = settings_of(config, where)
    if settings.restore not in ROADS:
        raise not_found("restore", settings.restore, where, list(ROADS))
    for key in ROADS[settings.restore].needs:
        if key not in config:
            raise RequestError(f"{where}, has no '{key}', which restore '{settings.restore}' needs")
    asked = candidate_of(folder.name, variant, config, checkpoint)
    if not asked.fits:
        raise misfit(asked, folder, checkpoint, dataset)
    loaded, shipped = asked.fit.loaded, is_set(folder, file)
    version = next((m.config for m in read_key_maps(config.get("key_maps")) if m.name == loaded.key_map), ())
    config, remarks = with_settings(config, version, loaded.key_map)
    if not shipped and config.get("given_weights"):
        remarks += (config["given_weights"],)
    return Bundle(
        name=folder.name,
        folder=folder,
        variant=variant,
        weights=file.stem if shipped else file.name,
        weights_file=file,
        weights_sha256=file_sha256(file),
        channels=channels_of(folder),
        labels=settings.labels,
        intensity=settings.intensity,
        restore=settings.restore,
        window=settings.window,
        config=json.dumps(config, sort_keys=True),
        loaded=loaded,
        remarks=remarks,
    )
