"""Transforms carried out on a network, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from medquanbench.quant.calibrate import Magnitudes, observe
from medquanbench.quant.methods import METHODS, NEAREST, Rounding
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.transforms import TRANSFORMS, NotDone, Transform
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
            METHODS[term.name].added(NEAREST, term)
        else:
            raise not_found("transform", term.name, "medquanbench.quant", [*TRANSFORMS, *METHODS])
        if methods.count(term.name) > 1:
            raise RequestError(f"'{recipe}' rounds by {term.name} twice")
    if methods and recipe.weight_bits == FLOAT_BITS:
        raise RequestError(f"'{recipe}' rounds by {methods[0]}, and w{FLOAT_BITS} leaves weights in float")


def rounding_of(recipe: Recipe) -> Rounding:
    """How a recipe rounds weights."""
    rounding = NEAREST
    for term in recipe.transforms:
        if term.name in METHODS:
            rounding = METHODS[term.name].added(rounding, term)
    return rounding


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
    for term in terms:
        if term.name not in TRANSFORMS:
            continue
        words = _rewritten(root, layers, term, TRANSFORMS[term.name], calibration)
        if all(text.startswith(_NOT_DONE) for text in words.values()):
            some = sorted({text.removeprefix(_NOT_DONE) for text in words.values()})
            raise RequestError(f"'{term}' changes none of {len(layers)} layers: {'; '.join(some[:3])}")
        told = {path: (*lines, f"{term}: {words[path]}") for path, lines in told.items()}
    return told


_NOT_DONE = "not done: "


def _rewritten(
    root: nn.Module,
    layers: dict[str, QuantizedLayer],
    term: Term,
    transform: Transform,
    calibration: Iterable[torch.Tensor] | None,
) -> dict[str, str]:
    change, seen, words = transform.rewrite(term), {}, {}
    if transform.needs_statistics:
        seen = observe(root, layers.values(), calibration, lambda layer: Magnitudes(layer.path))
    for path, layer in layers.items():
        try:
            if transform.needs_statistics and path not in seen:
                raise NotDone("no calibration input reached it")
            words[path] = change(layer, seen[path].largest if path in seen else None)
        except NotDone as error:
            words[path] = f"{_NOT_DONE}{error}"
    return words
