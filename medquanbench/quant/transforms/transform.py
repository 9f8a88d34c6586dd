"""Transform: a named rewrite of layers, with parameters, that changes how numbers are spread and not what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import RequestError, Term, not_found

ON = "on"
"""The parameter that every transform has: a glob over module paths, the only layers on which it acts."""


class NotDone(Exception):
    """Why a transform leaves a layer as it is, for the receipt."""


Rewrite = Callable[[QuantizedLayer, torch.Tensor | None], str]
"""(layer, largest magnitude of each input channel on calibration inputs, float32 (C,), where it is needed) -> what was
done, in words. Raises NotDone. It changes the layer's weight and adds to its steps."""


@dataclass(frozen=True)
class Transform:
    """A rewrite that is made from parameters.

    Attributes:
        make: from values of all parameters, by name, to the rewrite.
        defaults: what parameters there are, and their values where none is given.
        allowed: what is wrong with a parameter's value as text of a sentence, or "".
        needs_statistics: whether it reads what layers read of calibration inputs.
        reads_magnitudes: whether the rewrite is told the largest magnitudes of these.
        settle: what is done when all layers have been rewritten: (root, the rewritten layers, calibration) -> path ->
            words instead of the rewrite's.
    """

    make: Callable[[dict[str, float]], Rewrite]
    defaults: dict[str, float]
    allowed: Callable[[dict[str, float]], str]
    needs_statistics: bool = False
    reads_magnitudes: bool = False
    settle: Callable[[nn.Module, Mapping[str, QuantizedLayer], Iterable[torch.Tensor]], dict[str, str]] | None = None

    def rewrite(self, term: Term) -> Rewrite:
        """The rewrite that a term of a recipe asks for; raises RequestError as :func:`read_parameters`."""
        own = Term(term.name, tuple((key, value) for key, value in term.parameters if key != ON))
        return self.make(read_parameters(own, self.defaults, self.allowed))


def confined_to(term: Term) -> str | None:
    """The glob over module paths to which ``smooth(on=encoder.*)`` confines a term; None: all layers."""
    return dict(term.parameters).get(ON)


def read_parameters(
    term: Term, defaults: dict[str, float], allowed: Callable[[dict[str, float]], str]
) -> dict[str, float]:
    """The values of all parameters of a term.

    Raises:
        RequestError: a parameter is unknown, no number, or out of its range.
    """
    values = dict(defaults)
    for key, text in term.parameters:
        if key not in values:
            raise not_found("parameter", key, f"the transform {term.name}", list(values))
        try:
            values[key] = float(text)
        except ValueError:
            raise RequestError(f"'{term}': {key} must be a number") from None
    problem = allowed(values)
    if problem:
        raise RequestError(f"'{term}': {problem}")
    return values


def whole(value: float) -> bool:
    """True for a whole number above 0."""
    return value >= 1 and float(value).is_integer()
