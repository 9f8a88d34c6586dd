"""Open a results folder of nnU-Net v2: network, patch, spacing, normalisation and labels are the folder's (floor 2).

``Dataset501_X/nnUNetTrainer__nnUNetPlans__3d_fullres/`` with plans.json, dataset.json and
``fold_0/checkpoint_final.pth``; the folder, a fold in it, or a checkpoint in a fold can be named.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench.bundle import Bundle
from medquanbench.bundle_config import read_json, settings_of
from medquanbench.config_objects import empty_network
from medquanbench.containers import checkpoint_in, contents
from medquanbench.files import file_sha256
from medquanbench.nnunet_network import network_entry
from medquanbench.nnunet_plan import Plan, make_plan, nnunetv2
from medquanbench.values import RequestError
from medquanbench.weights import fit

CHECKPOINT = "checkpoint_final.pth"
_FOLD = re.compile(r"fold_(\d+|all)")
_DATASET = re.compile(r"Dataset\d{3}_.+")
_SAID = ("plans.json", "dataset.json")
_BUNDLE = "nnunet"
_TILE_OVERLAP = 0.5  # nnU-Net's default: a tile_step_size of 0.5


@dataclass(frozen=True)
class Trained:
    """A trained network: the folder with the plan, and the checkpoint in one of its folds."""

    folder: Path
    checkpoint: Path

    @property
    def name(self) -> str:
        """Dataset, trainer__plans__configuration, fold; and the checkpoint where it is not the final one."""
        fold = self.checkpoint.parent
        file = "" if self.checkpoint.name == CHECKPOINT else f"/{self.checkpoint.name}"
        return f"{self.folder.parent.name}/{self.folder.name}/{fold.name}{file}"


def is_folder(path: Path) -> bool:
    """True for anything of nnU-Net's results: a checkpoint in a fold, a fold, a trained model, a dataset, the root."""
    path = Path(os.path.abspath(path))  # from within a fold, its files have no folder before their names
    with contextlib.suppress(OSError):  # a folder that cannot be read is nobody's
        if path.is_file():
            return path.suffix == ".pth" and _is_fold(path.parent) and _is_model(path.parent.parent)
        if path.is_dir():
            return _is_fold(path) or _is_model(path) or _is_dataset(path) or bool(_models_below(path))
        return any(_is_model(folder) for folder in _around(path))  # a fold or checkpoint that is not there
    return False


def _around(path: Path) -> list[Path]:
    """The folder of the model in which a path would be a fold, or a checkpoint in a fold."""
    folders = [path.parent] * _is_fold(path) + [path.parent.parent] * _is_fold(path.parent)
    return [folder for folder in folders if folder.is_dir()]


def _is_fold(path: Path) -> bool:
    return bool(_FOLD.fullmatch(path.name))


def _is_dataset(path: Path) -> bool:
    return bool(_DATASET.fullmatch(path.name))


def _is_model(path: Path) -> bool:
    has_fold = any(map(_is_fold, path.iterdir()))
    named = (path / "dataset.json").is_file() or path.name.count("__") == 2
    return (path / "plans.json").is_file() or (has_fold and named)


def _models_below(path: Path) -> list[Path]:
    folds = [fold for depth in ("*/*", "*/*/*") for fold in path.glob(depth) if _is_fold(fold) and fold.is_dir()]
    return sorted(model for model in {fold.parent for fold in folds} if _is_model(model))


def locate(given: Path) -> Trained:
    """The one trained network that a path stands for.

    Raises:
        RequestError: a part is missing, or the path stands for several; the message lists what there is.
    """
    if given.is_file():
        return Trained(_checked(given.parent.parent), given)
    if not given.exists():
        folder = _around(given)[0]
        there = ", ".join(sorted(str(file.relative_to(folder)) for file in folder.glob("fold_*/*.pth"))) or "none"
        raise RequestError(f"no {given.relative_to(folder)} in {folder}; there is: {there}")
    if _is_fold(given):
        return Trained(_checked(given.parent), _checkpoint(given))
    models = [] if _is_model(given) else _models_below(given)
    if models:
        listed = ", ".join(str(model.relative_to(given)) for model in models[:20])
        raise RequestError(f"{given} holds trained models of nnU-Net; name one of them: {listed}")
    if not _is_model(given):
        raise RequestError(
            f"{given} holds no trained model of nnU-Net: no TRAINER__PLANS__CONFIGURATION/fold_0 is in it"
        )
    folder = _checked(given)
    folds = sorted(fold for fold in folder.iterdir() if _is_fold(fold) and fold.is_dir())
    done = [fold for fold in folds if (fold / CHECKPOINT).is_file()]
    if len(done) > 1:
        names = ", ".join(fold.name for fold in done)
        raise RequestError(f"{folder} has several folds, and one network is measured; name one of them: {names}")
    if not folds:
        raise RequestError(f"{folder} has no fold: fold_0/{CHECKPOINT} or the like is needed")
    return Trained(folder, _checkpoint((done or folds)[0]))


def _checked(folder: Path) -> Path:
    for name in _SAID:
        if not (folder / name).is_file():
            raise RequestError(f"{folder} is no whole results folder of nnU-Net: it has no {name}")
    return folder


def _checkpoint(fold: Path) -> Path:
    if not (fold / CHECKPOINT).is_file():
        there = ", ".join(sorted(file.name for file in fold.glob("*.pth"))) or "none"
        raise RequestError(f"{fold} has no {CHECKPOINT}; another checkpoint can be named as a file; there is: {there}")
    return fold / CHECKPOINT


def open_folder(bundle_folder: Path, given: Path, variant: str | None = None) -> Bundle:
    """A bundle whose network, preprocessing and labels are those of a results folder of nnU-Net.

    Args:
        bundle_folder: the bundle that was asked for; it must be nnU-Net's.
        given: see :func:`locate`.
        variant: what was asked for: the configuration, or nothing (None or the default "demo").

    Raises:
        RequestError: nnunetv2 is not installed, a part is missing or damaged, or the folder is of a kind that cannot be
            run here: a cascade, single slices, regions that overlap, a trainer that is not installed.
    """
    if bundle_folder.name != _BUNDLE:
        raise RequestError(
            f"{given} belongs to nnU-Net's results; --bundle {_BUNDLE} opens it, not {bundle_folder.name}"
        )
    trained = locate(Path(os.path.abspath(given)))  # a link may lead to a place without the folder around it
    nnunetv2("utilities.plans_handling.plans_handler")  # not installed: say so before a large file is read
    plans, described = (read_json(trained.folder / name) for name in _SAID)
    content = contents(trained.checkpoint)
    made = _made_by(trained.checkpoint, content)
    where = str(trained.folder / "plans.json")
    if variant not in (None, "demo", made.configuration):
        raise RequestError(
            f"{given} is of the configuration {made.configuration} and says all itself; leave out --variant {variant}"
        )
    plan = make_plan(plans, described, made.configuration, where)
    config = _config(plan, made, trained.folder)
    settings = settings_of(config, f"the config made of {where}")
    checkpoint = checkpoint_in(trained.checkpoint, content)
    fitted = fit(empty_network(config), checkpoint.tensors, found=checkpoint.found)
    if fitted.problem:
        raise RequestError(f"{trained.checkpoint} does not fit the network of {where}: {fitted.problem}")
    return Bundle(
        name=bundle_folder.name,
        folder=bundle_folder,
        variant=plan.configuration,
        weights=trained.name,
        weights_file=trained.checkpoint,
        weights_sha256=file_sha256(trained.checkpoint),
        channels=plan.channels,
        labels=settings.labels,
        intensity=settings.intensity,
        restore=settings.restore,
        window=settings.window,
        config=json.dumps(config, sort_keys=True),
        loaded=fitted.loaded,
        remarks=_remarks(trained, made),
    )


@dataclass(frozen=True)
class _Made:
    """What a checkpoint says of its making: ``mirrored`` are the axes along which nnUNetv2_predict mirrors."""

    configuration: str
    trainer: str
    mirrored: tuple[int, ...]


def _made_by(checkpoint: Path, content: Any) -> _Made:
    try:
        configuration, trainer = content["init_args"]["configuration"], content["trainer_name"]
        mirrored = tuple(content.get("inference_allowed_mirroring_axes") or ())
    except (KeyError, TypeError, IndexError, AttributeError):
        configuration = trainer = mirrored = None
    if not all(isinstance(name, str) and name for name in (configuration, trainer)):
        raise RequestError(
            f"{checkpoint} is no checkpoint of nnU-Net v2: it does not say of which configuration and trainer it is"
        )
    return _Made(configuration, trainer, mirrored)


def _remarks(trained: Trained, made: _Made) -> tuple[str, ...]:
    if not made.mirrored:
        return ()
    fold, axes = trained.checkpoint.parent.name, ", ".join(map(str, made.mirrored))
    told = f"{fold} alone and without mirroring, as nnUNetv2_predict does with --disable_tta; without that flag it also"
    return (f"{told} averages over images mirrored along the axes {axes}.",)


def _config(plan: Plan, made: _Made, folder: Path) -> dict[str, Any]:
    """The bundle's config, in MONAI's format."""
    where = str(folder / "plans.json")
    intensity = plan.intensity
    return {
        "labels": _labels(plan, folder / "dataset.json"),
        "intensity": {"unit": intensity.unit, "per_value": intensity.per_value},
        "restore": "nnunet",
        "plan": {
            "_target_": "medquanbench.nnunet_plan.Plan",
            "plans": plan.plans,
            "dataset": plan.dataset,
            "configuration": plan.configuration,
        },
        "nnunetv2": importlib.metadata.version("nnunetv2"),
        "trainer": made.trainer,
        "network_def": network_entry(plan, made.trainer, where),
        "preprocessing": {"_target_": "medquanbench.nnunet_case.Preprocessing", "plan": "@plan"},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": plan.managers.configuration.patch_size,
            "sw_batch_size": 1,
            "overlap": _TILE_OVERLAP,
            "mode": "gaussian",
        },
    }


def _whole(value: object) -> int | None:
    """The number of a label: whole, as digits, or alone in a list; None for anything else."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    right = (
        isinstance(value, (int, float, str)) and not isinstance(value, bool) and re.fullmatch(r"\d+(\.0)?", str(value))
    )
    return int(float(value)) if right else None


def _labels(plan: Plan, where: Path) -> list[str]:
    """Names of the network's outputs, background first."""
    manager = plan.managers.labels
    if manager.has_regions:
        raise RequestError(f"{where}: the labels are regions that overlap; outputs that exclude each other are needed")
    named = [(name, value) for name, value in manager.label_dict.items() if name != "ignore"]
    names = {_whole(value): name for name, value in named}
    if None in names or sorted(names) != list(range(len(named))):
        raise RequestError(f"{where}: the labels must be numbered 0, 1, 2 and so on, each number once")
    for name in names.values():
        if name[:1] in "$@%":
            raise RequestError(
                f"{where}: the label {name[:80]} begins with a sign that MONAI's configs keep for themselves"
            )
    return [names[number] for number in sorted(names)]
