"""Receipt: layer by layer what a recipe did to a network, what it left alone and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """What became of a layer."""

    QUANTIZED = "quantized"
    KEPT = "kept"
    UNSUPPORTED = "unsupported"
    NEVER_RUN = "never-run"


@dataclass(frozen=True)
class TensorNote:
    """How one tensor of a layer (its weight, its input, the image) is held.

    Attributes:
        bits: bits a value; 32 where the tensor stays float.
        granularity: the axes that keep a scale of their own, as text; ``-`` where float.
        elements_per_scale: values that share a scale; 0 where float or not yet known (activations before a forward).
        effective_bits: bits + 32-bit scale / elements a scale; 32 where float.
        note: why it differs from what the policy asked for, else empty.
    """

    bits: int
    granularity: str
    elements_per_scale: int = 0
    effective_bits: float = 32.0
    note: str = ""


FLOAT = TensorNote(bits=32, granularity="-")


@dataclass(frozen=True)
class Line:
    """One layer. ``path`` is its first name in the network, ``aliases`` its others; ``kind`` reads ``conv 3x3x3``.

    Attributes:
        transforms: for each transform of the recipe what it did here, or why nothing.
        hardware: what could run the quantized product: ``gemm``, ``block``, ``foldable`` or ``simulation``; empty where
            there is none.
        hardware_reason: why, as a short sentence.
    """

    path: str
    aliases: tuple[str, ...]
    kind: str
    state: State
    reason: str
    parameters: int
    weight: TensorNote = FLOAT
    activation: TensorNote = FLOAT
    reads_image: bool = False
    transforms: tuple[str, ...] = ()
    hardware: str = ""
    hardware_reason: str = ""


@dataclass(frozen=True)
class Receipt:
    """All lines of a network, in its own order, with the recipe that made them."""

    recipe: str
    lines: tuple[Line, ...]
    image: TensorNote | None = None

    def count(self, state: State) -> int:
        """Number of layers in a state."""
        return sum(line.state is state for line in self.lines)

    def paths(self, state: State) -> tuple[str, ...]:
        """Paths of the layers in a state."""
        return tuple(line.path for line in self.lines if line.state is state)

    def with_lines(self, lines: tuple[Line, ...], image: TensorNote | None) -> Receipt:
        return replace(self, lines=lines, image=image)

    def summary(self) -> str:
        """One sentence: how many layers are quantized, kept, unsupported, never run."""
        return ", ".join(f"{self.count(state)} {state.value}" for state in State if self.count(state)) or "no layers"
