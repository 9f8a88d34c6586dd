"""The objects that a merged config describes, made by MONAI's own config parser (floor 2)."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch.overrides import TorchFunctionMode

from medquanbench.values import RequestError


def build_network(config: dict, folder: Path | None = None) -> torch.nn.Module:
    """The network of a merged config, with random weights.

    Raises:
        RequestError: the config names a class that is not there, or arguments that it does not take.
    """
    network = parse(config, "network_def", folder)
    if not isinstance(network, torch.nn.Module):
        raise RequestError("the bundle's config cannot make its 'network_def': it is no network, a torch.nn.Module")
    return network


def empty_network(config: dict, folder: Path | None = None) -> torch.nn.Module:
    """The network of a merged config without memory for its parameters (meta device): keys, shapes, counts.

    A network that reads its own numbers while it is built cannot be without: it is made with memory.
    """
    try:
        with _WithoutMemory():
            return build_network(config, folder)
    except RequestError:
        return build_network(config, folder)


class _WithoutMemory(TorchFunctionMode):
    """What parameters are made from goes to the meta device.

    ``torch.device("meta")`` would take ``linspace`` along, whose values SwinUNETR reads while it is built.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def parse_preprocessing(config: dict, folder: Path | None = None) -> Callable:
    """The preprocessing transform of a merged config.

    Raises:
        RequestError: as :func:`build_network`.
    """
    transform = parse(config, "preprocessing", folder)
    if not callable(transform):
        raise RequestError("the bundle's config cannot make its 'preprocessing': it is no transform")
    return transform


def parse(config: dict, name: str, folder: Path | None = None) -> Any:
    """One entry of a config, made into what it describes; its ``$`` expressions are run.

    Args:
        folder: the bundle's, where it brings code of its own along: its ``bundle_root``, and where packages are sought.

    Raises:
        RequestError: it cannot be made.
    """
    try:
        with _importing_from(folder), warnings.catch_warnings(action="ignore", category=FutureWarning):
            rooted = config | {"bundle_root": str(folder)} if folder else config
            return ConfigParser(rooted).get_parsed_content(name)
    except SystemExit as error:
        raise RequestError(f"the bundle's config cannot make its '{name}': it ends the program") from error
    except Exception as error:  # a config is a program: anything may come out of it
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise RequestError(f"the bundle's config cannot make its '{name}': {last_line(cause)}") from error


@contextlib.contextmanager
def _importing_from(folder: Path | None) -> Iterator[None]:
    """Let packages in a folder be imported for a while, before all others of their names, also before imported ones."""
    own = {file.relative_to(folder).parts[0] for file in code_of(folder)} if folder else set()
    if not own:
        yield
        return
    others = {name: module for name, module in _loaded(own).items() if not _lies_in(folder, module)}
    for name in others:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if others:  # else the bundle's own stay: its code may import more of them when it runs
            for name in _loaded(own):
                del sys.modules[name]
            sys.modules.update(others)


def _loaded(packages: set[str]) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


def code_of(folder: Path) -> tuple[Path, ...]:
    """The files of the packages that a bundle brings along, mostly in ``scripts/``; no virtual environment's."""
    packages = [place for place in folder.glob("[!.]*/") if place.is_dir() and not (place / "pyvenv.cfg").exists()]
    return tuple(sorted(file for place in packages for file in place.glob("**/*.py")))


def last_line(error: BaseException) -> str:
    """The last line that an error says, without its full stop; its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else type(error).__name__
