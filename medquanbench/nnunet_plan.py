"""The plan of a trained nnU-Net v2: read by nnunetv2's own managers, checked before its names become objects (floor 2).

nnunetv2 is an optional package, imported where it is needed. It turns names in a plan into objects: every such name of
a stranger's plan is held against what nnU-Net's own code and network package offer, and nothing else is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import itertools
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medquanbench.bundle_config import Intensity
from medquanbench.nnunet_orientation import TURNS
from medquanbench.values import RequestError, not_found

INTENSITIES = {
    "CTNormalization": lambda properties: Intensity("HU", float(properties["std"])),
    "ZScoreNormalization": lambda properties: Intensity("sigma", 1.0),
    "NoNormalization": lambda properties: Intensity("grey value", 1.0),
    "RescaleTo01Normalization": lambda properties: Intensity("range of the image", 1.0),
    "RGBTo01Normalization": lambda properties: Intensity("grey value", 255.0),
}
"""nnU-Net's normalisations, and what a difference of 1 after them is worth."""
_NORMALISED_BY = {"CTNormalization": ("mean", "std", "percentile_00_5", "percentile_99_5")}


@dataclass(frozen=True)
class Managers:
    """nnunetv2's views of a plan: PlansManager, ConfigurationManager, LabelManager, and the part of dataset.json."""

    plans: Any
    configuration: Any
    labels: Any
    dataset: dict


@dataclass(frozen=True)
class Plan:
    """One configuration of a plan, as JSON texts: MONAI's parser leaves texts alone, whatever stands in them.

    Attributes:
        plans: plans.json with this configuration alone, inheritance resolved, in nnU-Net's present form.
        dataset: of dataset.json what inference reads: labels, channels, file ending.
        configuration: such as ``3d_fullres``.
    """

    plans: str
    dataset: str
    configuration: str

    @cached_property
    def managers(self) -> Managers:
        """nnunetv2's own views of it.

        Raises:
            RequestError: nnunetv2 is not installed, or cannot read the plan.
        """
        return self.views("the plan", "dataset.json")

    def views(self, where: str, described: str) -> Managers:
        """As ``managers``; ``where`` and ``described`` are what messages call plans.json and dataset.json."""
        handler = nnunetv2("utilities.plans_handling.plans_handler")
        labels = nnunetv2("utilities.label_handling.label_handling")
        dataset = json.loads(self.dataset)
        with understood(where):
            plans = handler.PlansManager(json.loads(self.plans))
            _expect_class("label_manager", plans.label_manager_class, labels.LabelManager, where)
            configuration = plans.get_configuration(self.configuration)
        with understood(f"the labels of {described}"):
            return Managers(plans, configuration, plans.get_label_manager(dataset), dataset)

    @property
    def channels(self) -> int:
        """Images that a case has."""
        handling = nnunetv2("utilities.label_handling.label_handling")
        views = self.managers
        with understood("dataset.json"):
            return handling.determine_num_input_channels(views.plans, views.configuration, views.dataset)

    @property
    def intensity(self) -> Intensity:
        """What a difference of 1 at the network's (first) input is worth."""
        views = self.managers
        with understood("the plan"):
            properties = views.plans.foreground_intensity_properties_per_channel["0"]
            return INTENSITIES[views.configuration.normalization_schemes[0]](properties)


def nnunetv2(module: str) -> Any:
    """A module of nnunetv2, which is an optional package.

    Raises:
        RequestError: it is not installed.
    """
    try:
        with quiet():
            return importlib.import_module(f"nnunetv2.{module}")
    except ImportError as error:
        needed = 'results folders of nnU-Net are read by nnunetv2: pip install "medquanbench[nnunet]"'
        raise RequestError(f"{needed} (importing it: {error})") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence: nnunetv2 prints and warns; what matters of it is said in errors."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        yield


@contextlib.contextmanager
def understood(what: str) -> Iterator[None]:
    """Quiet while nnunetv2 works; whatever it raises becomes a sentence that begins with ``what``.

    Raises:
        RequestError: nnunetv2 could not take it.
    """
    try:
        with quiet():
            yield
    except RequestError:
        raise
    except Exception as error:  # a plan is a stranger's file: anything may come of it
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[-1]}".rstrip(": .")
        raise RequestError(f"nnunetv2 cannot take {what} ({reason[:200]})") from error


def make_plan(plans: dict, dataset: dict, configuration: str, where: str) -> Plan:
    """One configuration of a plan, checked: it is of one 3D network, and its names are nnU-Net's own.

    Args:
        plans, dataset: content of plans.json and dataset.json.
        where: the plan's file, for messages.

    Raises:
        RequestError: it is not there, or not of a kind that can be run here.
    """
    handler = nnunetv2("utilities.plans_handling.plans_handler")
    there = plans.get("configurations")
    if not isinstance(there, dict) or configuration not in there:
        names = list(there) if isinstance(there, dict) else []
        raise not_found("configuration", str(configuration), where, names)
    with understood(where):
        resolved = dict(handler.PlansManager(plans).get_configuration(configuration).configuration)
    resolved.pop("inherits_from", None)
    _check_kind(resolved, configuration, where)
    kept = {key: dataset[key] for key in ("labels", "regions_class_order", "channel_names", "modality", "file_ending")
            if key in dataset}  # fmt: skip
    alone = plans | {"configurations": {configuration: resolved}}
    plan = Plan(json.dumps(alone, sort_keys=True), json.dumps(kept, sort_keys=True), configuration)
    _check_names(plan, where)
    return plan


def _check_kind(resolved: dict, configuration: str, where: str) -> None:
    if resolved.get("previous_stage"):
        raise RequestError(
            f"the configuration {configuration} of {where} is the second stage of a cascade: its network also takes "
            "the answer of the first stage, which cannot be done here"
        )
    patch, spacing = resolved.get("patch_size"), resolved.get("spacing")
    if isinstance(patch, list) and len(patch) == 2:
        raise RequestError(
            f"the configuration {configuration} of {where} is a network for single slices; three axes are needed"
        )
    if not isinstance(spacing, list) or len(spacing) != 3 or not all(_is_number(edge) and edge > 0 for edge in spacing):
        raise RequestError(f"{where}: 'spacing' of {configuration} must be three lengths in mm")


def _check_names(plan: Plan, where: str) -> None:
    """Every name that nnunetv2 turns into an object must name one of the kind that stands in its place."""
    views = plan.views(where, str(Path(where).with_name("dataset.json")))
    reader = views.plans.plans.get("image_reader_writer")
    if reader not in TURNS:
        raise not_found("reader of NIfTI images", str(reader), where, list(TURNS))
    schemes = views.configuration.configuration.get("normalization_schemes") or [None]
    for scheme in schemes:
        if scheme not in INTENSITIES:
            raise not_found("normalisation", str(scheme), where, list(INTENSITIES))
    _check_intensities(views.plans.plans, schemes, where)
    _check_transposition(views.plans.plans, where)
    preprocessors = nnunetv2("preprocessing.preprocessors.default_preprocessor")
    with understood(where):
        _ = views.plans.image_reader_writer_class  # not all versions of nnunetv2 have all readers
        _expect_class(
            "preprocessor_name", views.configuration.preprocessor_class, preprocessors.DefaultPreprocessor, where
        )
        functions = [views.configuration.resampling_fn_data, views.configuration.resampling_fn_probabilities,
                     views.configuration.resampling_fn_seg]  # fmt: skip
    for function in functions:
        home = getattr(function.func, "__module__", "")
        if not inspect.isfunction(function.func) or not str(home).startswith("nnunetv2.preprocessing.resampling."):
            raise RequestError(f"{where}: 'resampling_fn' names no function of nnunetv2 that resamples")


def _check_intensities(plans: dict, schemes: list[str], where: str) -> None:
    """Of a CT the numbers that clip and scale it; nnU-Net takes anything else from the image."""
    described = plans.get("foreground_intensity_properties_per_channel")
    for channel, scheme in enumerate(schemes):
        if scheme not in _NORMALISED_BY:
            continue
        numbers = described.get(str(channel)) if isinstance(described, dict) else None
        for name in _NORMALISED_BY[scheme]:
            if not isinstance(numbers, dict) or not _is_number(numbers.get(name)):
                raise RequestError(f"{where}: '{name}' of the intensities of channel {channel} must be a number")
        if numbers["std"] <= 0 or numbers["percentile_00_5"] >= numbers["percentile_99_5"]:
            raise RequestError(
                f"{where}: of the intensities of channel {channel}, 'std' must be above 0 and 'percentile_00_5' below "
                "'percentile_99_5'"
            )


def _check_transposition(plans: dict, where: str) -> None:
    forward = plans.get("transpose_forward")
    if forward not in [list(order) for order in itertools.permutations(range(3))]:
        raise RequestError(f"{where}: 'transpose_forward' must be an order of three axes")
    if plans.get("transpose_backward") != [forward.index(axis) for axis in range(3)]:
        raise RequestError(f"{where}: 'transpose_backward' must undo 'transpose_forward'")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _expect_class(key: str, found: Any, base: type, where: str) -> None:
    if not (isinstance(found, type) and issubclass(found, base)):
        raise RequestError(f"{where}: '{key}' names no {base.__name__} of nnunetv2")
