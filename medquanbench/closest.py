"""What a checkpoint fits: a variant of a bundle; where none, what comes closest, and in what it differs (floor 2)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from medquanbench import shelf
from medquanbench.bundle_folder import merged_config, overlay_of, variants
from medquanbench.config_objects import empty_network
from medquanbench.containers import Checkpoint
from medquanbench.key_maps import read_key_maps
from medquanbench.values import RequestError
from medquanbench.weights import Fit, fit

_ALIKE = 0.5
"""A network of another bundle is named where at most this part of the tensors do not fit it."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One variant of a bundle, the number of its labels, and how the checkpoint fits it.

    Attributes:
        twin_of: the variant with the same keys and shapes that is meant where neither is asked for, or "".
    """

    bundle: str
    variant: str
    labels: int
    fit: Fit
    twin_of: str = ""

    @property
    def fits(self) -> bool:
        """True where nothing is left over."""
        return not self.fit.misfits.count

    @property
    def other_classes(self) -> tuple[int, int] | None:
        """(classes of the checkpoint, of the network) where the output layer alone differs, in nothing but these."""
        misfits, pairs = self.fit.misfits, set()
        for _, there, here in misfits.shapes:
            differing = [pair for pair in zip(there, here) if pair[0] != pair[1]]
            pairs |= set(differing) if len(there) == len(here) and len(differing) == 1 else {(0, 0)}
        only_shapes = not misfits.missing and not misfits.extra
        return pairs.pop() if only_shapes and len(pairs) == 1 and all(h == self.labels for _, h in pairs) else None

    @property
    def distance(self) -> tuple[int, float]:
        """What to sort by, the closest first: what kind of misfit, and the part of all tensors that do not fit."""
        misfits = self.fit.misfits
        kind = 0 if self.fits else 1 if self.other_classes else 2 if not misfits.missing and not misfits.extra else 3
        part = misfits.count / max(len(self.fit.tensors) + len(misfits.missing), 1)
        return kind, part

    def in_words(self) -> str:
        """In what the checkpoint differs from this variant."""
        kind, _ = self.distance
        if kind == 1:
            there, here = self.other_classes
            return f"its output layer has {there} classes where {self.variant} has {here} ({self.fit.problem})"
        if kind == 2:
            return f"the layers are the same, of other sizes ({self.fit.problem})"
        return self.fit.problem


def candidate(folder: Path, variant: str, weights_set: str | None, checkpoint: Checkpoint) -> Candidate:
    """How a checkpoint fits one variant; its network is built without memory."""
    config = merged_config(folder, variant, weights_set)
    return candidate_of(folder.name, variant, config, checkpoint)


def candidate_of(bundle: str, variant: str, config: dict, checkpoint: Checkpoint) -> Candidate:
    """How a checkpoint fits the network of a merged config."""
    return fitted_to(empty_network(config), bundle, variant, config, checkpoint)


def fitted_to(network: torch.nn.Module, bundle: str, variant: str, config: dict, checkpoint: Checkpoint) -> Candidate:
    """How a checkpoint fits a network, which may be without memory."""
    fitted = fit(network, checkpoint.tensors, read_key_maps(config.get("key_maps")), checkpoint.found)
    labels = config.get("labels")
    count = len(labels) if isinstance(labels, list) else 0
    return Candidate(bundle, variant, count, fitted, str(config.get("twin_of", "")))


def only_fit(folder: Path, checkpoint: Checkpoint, dataset: str) -> str:
    """The one variant whose keys and shapes fit a checkpoint for a dataset.

    Raises:
        RequestError: none fits, or several do; the message says what comes closest.
    """
    file = checkpoint.file
    own = [candidate(folder, name, overlay_of(folder, file, name, dataset), checkpoint) for name in variants(folder)]
    fitting = [one.variant for one in own if one.fits and not one.twin_of]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RequestError(
            f"{file} fits several variants of {folder.name}: {', '.join(fitting)}; choose with --variant"
        )
    nearest = min(own, key=lambda one: one.distance)
    told = f"{file} fits no variant of {folder.name}; closest is {nearest.variant}: {nearest.in_words()}"
    raise RequestError(told + _better(nearest, folder, checkpoint))


def misfit(asked: Candidate, folder: Path, checkpoint: Checkpoint, dataset: str) -> RequestError:
    """The error for a checkpoint that does not fit the variant that was asked for; it says what would fit."""
    others = [name for name in variants(folder) if name != asked.variant]
    own = [candidate(folder, name, f"{name}-{dataset}", checkpoint) for name in others]
    file = checkpoint.file
    told = f"{file} does not fit {asked.bundle}, variant {asked.variant}: {asked.in_words()}"
    nearest = min(own, key=lambda one: one.distance, default=asked)
    if nearest.fits:
        return RequestError(f"{told}; it fits variant {nearest.variant} exactly: --variant {nearest.variant}")
    if nearest.distance >= asked.distance:
        nearest = asked
    else:
        told += f"; closest is variant {nearest.variant}: {nearest.in_words()}"
    return RequestError(told + _better(nearest, folder, checkpoint))


def _better(nearest: Candidate, folder: Path, checkpoint: Checkpoint) -> str:
    """What on the shelf fits, or comes closer than the closest of the bundle that was asked for."""
    names = [name for name in shelf.names(shelf.BUNDLES) if shelf.shelf(shelf.BUNDLES) / name != folder]
    best = nearest
    for name in names:
        other = shelf.shelf(shelf.BUNDLES) / name
        for variant in variants(other):
            with contextlib.suppress(RequestError):  # a package that only this network needs is not there
                best = min(best, candidate(other, variant, None, checkpoint), key=lambda one: one.distance)
    if best is nearest or best.distance[0] == 3 and best.distance[1] > _ALIKE:
        return ""
    where = f"{best.bundle}, variant {best.variant}"
    if best.fits:
        return f"; it fits {where} exactly: --bundle {best.bundle}"
    return f"; closer is {where}: {best.in_words()}"
