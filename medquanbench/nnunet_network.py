"""The network of an nnU-Net plan as an entry of a MONAI config; a trainer's own where it builds another (floor 2).

A plan names classes: only those of nnU-Net's network package, and layers of torch, are imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
from typing import Any

import torch

from medquanbench.nnunet_plan import Plan, nnunetv2, quiet, understood
from medquanbench.values import RequestError

_NETWORKS = "dynamic_network_architectures"
_LAYERS = ("torch.nn.", f"{_NETWORKS}.")
# A text of a config that begins with one of $, @ and % is a program or a reference for MONAI's parser.
_PLAIN_TEXT = re.compile(r"[\w.-]*")
_OBJECT_KEYS = ("_target_", "_requires_", "_disabled_", "_mode_", "_desc_")
# Trainers that differ from nnU-Net's own in how long they train and whether they mirror: their network is the plan's.
_ONLY_TRAINING = re.compile(r"nnUNetTrainer(_?\d+epochs?|_?NoMirroring)*")


def network_entry(plan: Plan, trainer: str, where: str) -> dict:
    """The MONAI config entry of the plan's network; ``@plan`` stands for the plan in it.

    Raises:
        RequestError: the plan names another class than those of nnU-Net's network package, or the trainer, which may
            build another network than the plan's, is not installed.
    """
    configuration, labels = plan.managers.configuration, plan.managers.labels
    with understood(where):
        kwargs = configuration.network_arch_init_kwargs
        imported = list(configuration.network_arch_init_kwargs_req_import)
        name = _network_class(configuration.network_arch_class_name, where)
        for key in imported:
            if kwargs[key] is not None:
                _module_class(kwargs[key], _LAYERS, where)
        heads = labels.num_segmentation_heads
    _check_plain(kwargs, where)
    if _own_network(trainer, where):
        return {"_target_": "medquanbench.nnunet_network.network_of_trainer", "plan": "@plan", "trainer": trainer}
    return {
        "_target_": "nnunetv2.utilities.get_network_from_plans.get_network_from_plans",
        "arch_class_name": name,
        "arch_kwargs": kwargs,
        "arch_kwargs_req_import": imported,
        "input_channels": plan.channels,
        "output_channels": heads,
        "allow_init": False,
        "deep_supervision": False,
    }


def _network_class(name: Any, where: str) -> str:
    """The import path of a network; classes have moved within the package, and are then found by their last name."""
    with contextlib.suppress(ImportError, AttributeError):
        return _module_class(name, (f"{_NETWORKS}.",), where)
    package = importlib.import_module(f"{_NETWORKS}.architectures")
    finder = nnunetv2("utilities.find_class_by_name")
    found = finder.recursive_find_python_class(package.__path__[0], name.split(".")[-1], package.__name__)
    if found is None:
        raise RequestError(f"{where}: there is no network {name} in the installed {_NETWORKS}")
    return _module_class(f"{found.__module__}.{found.__qualname__}", (f"{_NETWORKS}.",), where)


def _module_class(name: Any, roots: tuple[str, ...], where: str) -> str:
    """The name, if it is the import path of a network or layer below one of the packages, which alone are imported."""
    if not isinstance(name, str) or not name.startswith(roots):
        packages = " or ".join(root.rstrip(".") for root in roots)
        raise RequestError(f"{where} names the class {str(name)[:80]}, which is not of {packages} and was not imported")
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last)
    if not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        raise RequestError(f"{where} names {name}, which is no network and no layer")
    return name


def _check_plain(value: Any, where: str) -> None:
    """Numbers, names, lists and tables: no text that MONAI's parser would run or look up."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(key, where)
            _check_plain(inner, where)
            if key in _OBJECT_KEYS:
                raise RequestError(f"{where}: the arguments of the network hold the key {key}")
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, where)
    elif isinstance(value, str) and not _PLAIN_TEXT.fullmatch(value):
        raise RequestError(f"{where}: the arguments of the network hold the text {value[:80]}, which is no name")


def _own_network(trainer: str, where: str) -> bool:
    """True where the trainer builds another network than the plan's."""
    if _ONLY_TRAINING.fullmatch(trainer):
        return False
    base = nnunetv2("training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
    return _trainer_class(trainer, where).build_network_architecture is not base.build_network_architecture


def _trainer_class(trainer: str, where: str) -> Any:
    try:
        with quiet():
            found = _search_trainer(trainer)
    except Exception as error:  # RuntimeError, AssertionError, or whatever its module raises when imported
        found, cause = None, error
    else:
        cause = None
    base = nnunetv2("training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
    if not (isinstance(found, type) and issubclass(found, base)):
        raise RequestError(
            f"the trainer {trainer} is not installed, and may have built another network than {where} says; install "
            "the package that has it, beside nnunetv2"
        ) from cause
    return found


def _search_trainer(trainer: str) -> Any:
    if importlib.util.find_spec("nnunetv2.utilities.find_objects"):  # since 2.8; knows nnUNet_extTrainer
        return nnunetv2("utilities.find_objects").recursive_find_trainer_class_by_name(trainer)
    home = importlib.import_module("nnunetv2.training.nnUNetTrainer")
    finder = nnunetv2("utilities.find_class_by_name")
    return finder.recursive_find_python_class(home.__path__[0], trainer, home.__name__)


def network_of_trainer(plan: Plan, trainer: str) -> torch.nn.Module:
    """The network that a trainer builds of a plan; random weights, one output.

    nnU-Net's versions hand other arguments to ``build_network_architecture``: each is given by its name.

    Raises:
        RequestError: the trainer is not installed, or asks for what no version of nnU-Net hands it.
    """
    build, views = _trainer_class(trainer, "the plan").build_network_architecture, plan.managers
    configuration = views.configuration
    known = {
        "plans_manager": views.plans,
        "configuration_manager": configuration,
        "dataset_json": views.dataset,
        "architecture_class_name": configuration.network_arch_class_name,
        "arch_init_kwargs": configuration.network_arch_init_kwargs,
        "arch_init_kwargs_req_import": configuration.network_arch_init_kwargs_req_import,
        "num_input_channels": plan.channels,
        "num_output_channels": views.labels.num_segmentation_heads,
        "enable_deep_supervision": False,
    }
    asked = inspect.signature(build).parameters
    strange = [name for name in asked if name not in known]
    if strange:
        raise RequestError(f"the trainer {trainer} builds its network of '{strange[0]}', which nnU-Net does not have")
    with understood(f"the network of the trainer {trainer}"):
        return build(**{name: known[name] for name in asked})
