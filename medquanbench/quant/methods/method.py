"""Method: a named part of how weights are rounded, with parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from medquanbench.quant.reconstruct import Reconstruction
from medquanbench.quant.transforms.transform import read_parameters
from medquanbench.values import Term


@dataclass(frozen=True)
class Rounding:
    """All that is done to round the weights of a network.

    Attributes:
        clip: scales are chosen by mean squared error, not by the largest weight.
        damp: of GPTQ, or None: rounding to nearest.
        sweeps: of coordinate descent after that.
        bias: the bias takes back the mean of the error.
        learned: how the rounding that all these have reached is improved by descent on blocks; None: not at all.
    """

    clip: bool = False
    damp: float | None = None
    sweeps: int = 0
    bias: bool = False
    learned: Reconstruction | None = None

    @property
    def at_once(self) -> Rounding:
        """What is done layer by layer, before anything is learned."""
        return replace(self, learned=None)

    @property
    def needs_inputs(self) -> bool:
        """True where what a layer reads decides how its weight is rounded."""
        return self.damp is not None or self.sweeps > 0 or self.bias


NEAREST = Rounding()


@dataclass(frozen=True)
class Method:
    """How a term of a recipe changes the rounding.

    Attributes:
        change: (rounding, values of all parameters) -> rounding.
        defaults, allowed: as of a Transform.
        needs_statistics: whether it reads what layers read of calibration inputs.
    """

    change: Callable[[Rounding, dict[str, float]], Rounding]
    defaults: dict[str, float]
    allowed: Callable[[dict[str, float]], str]
    needs_statistics: bool

    def added(self, rounding: Rounding, term: Term) -> Rounding:
        """The rounding with what a term asks for.

        Raises:
            RequestError: a parameter is unknown, no number, or out of its range.
        """
        return self.change(rounding, read_parameters(term, self.defaults, self.allowed))
