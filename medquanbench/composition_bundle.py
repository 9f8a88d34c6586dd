"""What the variants of bundles are made of, without their weights (floor 2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from medquanbench import shelf, zoo_bundle
from medquanbench.bundle import Bundle, empty_network, merged_config, open_bundle, variants
from medquanbench.bundle_config import channels_of, window_of
from medquanbench.composition import Profile
from medquanbench.composition_count import composition
from medquanbench.values import RequestError

DEFAULT_WINDOW = (128, 128, 128)


@dataclass(frozen=True)
class Subject:
    """A network to count: its config, canonical JSON, and what it is called.

    Attributes:
        code_folder: of a bundle that brings code of its own along.
    """

    bundle: str
    variant: str
    config: str
    channels: int
    code_folder: Path | None = None


def variant_of(ref: str | Path, variant: str) -> Subject:
    """A variant of a bundle as published, without weights.

    Raises:
        RequestError: there is no such bundle or variant, or its config cannot be read.
    """
    folder = shelf.find(shelf.BUNDLES, "bundle", ref)
    config = merged_config(folder, variant, None)
    channels = config.get("channels") or channels_of(folder)  # a variant may take other images than its bundle says
    return Subject(folder.name, variant, json.dumps(config), channels)


def variants_of(ref: str | Path) -> tuple[Subject, ...]:
    """All variants of a bundle, by its name on the shelf or its folder; of the Model Zoo's the one that it has.

    Raises:
        RequestError: it is not there, or has no variants.
    """
    folder = shelf.find(shelf.BUNDLES, "bundle", ref)
    if zoo_bundle.is_zoo(folder):
        return (subject_of(open_bundle(folder)),)
    if not variants(folder):
        raise RequestError(f"{folder} is no bundle: it has no variants in configs/variants")
    return tuple(variant_of(folder, variant) for variant in variants(folder))


def subject_of(bundle: Bundle) -> Subject:
    """The network of a bundle that is open."""
    return Subject(bundle.name, bundle.variant, bundle.config, bundle.channels, bundle.code_folder)


def profile(subject: Subject, window: tuple[int, ...] | None = None) -> Profile:
    """Count a network on its own window, or on another one.

    Raises:
        RequestError: the config makes no network, or the network does not take the window.
    """
    config, where = json.loads(subject.config), f"{subject.bundle}, variant {subject.variant}"
    inferer, note = config.get("inferer", {}), ""
    if window is None and isinstance(inferer, dict) and inferer.get("roi_size") is None:
        window = DEFAULT_WINDOW
        note = f"Its own window is not known; {'x'.join(map(str, window))} stands for it (--window gives another)."
    try:
        size = window or window_of(config, f"the config of {where}").size
        made = composition(empty_network(config, subject.code_folder), size, subject.channels)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error
    return Profile(subject.bundle, subject.variant, note, made)
