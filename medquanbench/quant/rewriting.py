"""Transforms carried out on a network, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from medquanbench.quant.calibrate import Magnitudes, observe
from medquanbench.quant.methods import METHODS, NEAREST, Rounding
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.sites import sites
from medquanbench.quant.transforms import TRANSFORMS, NotDone, Transform
from medquanbench.quant.transforms.transform import confined_to
from medquanbench.values import FLOAT_BITS, Recipe, RequestError, Term, not_found


def check_terms(recipe: Recipe) -> None:
    """Say early what is wrong with the transforms and methods that a recipe names.

    Raises:
        RequestError: one is unknown, stands twice where it may not, or has a parameter that is unknown or out of range.
    """
    methods = [term.name for term in recipe.transforms if term.name in METHODS]
    for term in recipe.transforms:
        if term.name in TRANSFORMS:
            TRANSFORMS[term.name].rewrite(term)
        elif term.name in METHODS:
            if confined_to(term) is not None:
                raise RequestError(f"'{term}': {term.name} rounds all weights; transforms alone take on=GLOB")
            METHODS[term.name].added(NEAREST, term)
        else:
            raise not_found("transform", term.name, "medquanbench.quant", [*TRANSFORMS, *METHODS])
        if methods.count(term.name) > 1:
            raise RequestError(f"'{recipe}' rounds by {term.name} twice")
    if methods and recipe.weight_bits == FLOAT_BITS:
        raise RequestError(f"'{recipe}' rounds by {methods[0]}, and w{FLOAT_BITS} leaves weights in float")
    rounding_of(recipe)  # says which methods do not go together


def rounding_of(recipe: Recipe) -> Rounding:
    """How a recipe rounds weights."""
    rounding = NEAREST
    for term in recipe.transforms:
        if term.name in METHODS:
            rounding = METHODS[term.name].added(rounding, term)
    return rounding


def confined_terms(terms: tuple[Term, ...]) -> list[tuple[str, str]]:
    """(text, glob) of the terms that act on some layers alone."""
    return [(str(term), glob) for term in terms if (glob := confined_to(term)) is not None]


def reads_inputs(term: Term) -> bool:
    """True where a transform or method needs calibration inputs."""
    return (TRANSFORMS | METHODS)[term.name].needs_statistics


def rewrite(
    root: nn.Module,
    layers: dict[str, QuantizedLayer],
    terms: tuple[Term, ...],
    calibration: Iterable[torch.Tensor] | None,
) -> dict[str, tuple[str, ...]]:
    """Carry out the transforms among the terms; path -> what each did to that layer, or why nothing.

    Raises:
        RequestError: one of them changes no layer.
    """
    told: dict[str, tuple[str, ...]] = dict.fromkeys(layers, ())
    watched = _Watched()
    for term in terms:
        if term.name not in TRANSFORMS:
            continue
        words = _rewritten(root, layers, term, TRANSFORMS[term.name], calibration, watched)
        if all(text.startswith(_NOT_DONE) for text in words.values()):
            some = sorted({text.removeprefix(_NOT_DONE) for text in words.values()})
            raise RequestError(f"'{term}' changes none of {len(layers)} layers: {'; '.join(some[:3])}")
        told = {path: (*lines, f"{term}: {words[path]}") for path, lines in told.items()}
    return told


_NOT_DONE = "not done: "


class _Watched:
    """Layers that have been watched in passes over the calibration inputs, and those of them that were reached."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.reached: set[str] = set()

    def magnitudes(
        self, root: nn.Module, layers: dict[str, QuantizedLayer], calibration: Iterable[torch.Tensor] | None
    ) -> dict[str, Magnitudes]:
        """Of a new pass."""
        seen = observe(root, layers.values(), calibration, lambda layer: Magnitudes(layer.path))
        self.asked |= set(layers)
        self.reached |= set(seen)
        return seen


def _rewritten(
    root: nn.Module,
    layers: dict[str, QuantizedLayer],
    term: Term,
    transform: Transform,
    calibration: Iterable[torch.Tensor] | None,
    watched: _Watched,
) -> dict[str, str]:
    change, seen, words, glob = transform.rewrite(term), {}, {}, confined_to(term)
    chosen = layers if glob is None else _confined(root, layers, glob)
    if transform.reads_magnitudes or (transform.needs_statistics and not set(chosen) <= watched.asked):
        seen = watched.magnitudes(root, chosen, calibration)
    for path, layer in layers.items():
        try:
            if path not in chosen:
                raise NotDone(f"it is not among {glob}")
            if transform.needs_statistics and path not in watched.reached:
                raise NotDone("no calibration input reached it")
            words[path] = change(layer, seen[path].largest if path in seen else None)
        except NotDone as error:
            words[path] = f"{_NOT_DONE}{error}"
    done = {path: layer for path, layer in layers.items() if not words[path].startswith(_NOT_DONE)}
    if transform.settle is not None and done:
        words |= transform.settle(root, done, calibration)
    return words


def _confined(root: nn.Module, layers: dict[str, QuantizedLayer], glob: str) -> dict[str, QuantizedLayer]:
    """The layers of which a glob matches one of the names."""
    matching = {id(site.module) for site in sites(root) if site.matches((glob,)) is not None}
    return {path: layer for path, layer in layers.items() if id(layer) in matching}
