"""Choice: the recipe that a search has found for a request like ``w4a4 best``, what it tried and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medquanbench.values.recipe import Recipe

LEAST_DISAGREEMENT = 1e-4
"""Where all labels agree, the divergence still counts."""


OF_DISAGREEMENT = 0.95
"""What disagreement weighs beside divergence, which breaks what is nearly a tie: the losses in DSC that searches left
follow disagreement closer at 3 bits, and about as close at 4 (docs/study-results.md, "What a search judges by")."""


def distance(divergence: float, agreement: float) -> float:
    """How far a quantized network is from the float one: a weighted geometric mean of disagreement and divergence.

    Neither is enough. With few bits a network may come nearer in divergence by being unsure, and give other labels; and
    labels alone do not tell small steps apart.

    Args:
        divergence: mean KL divergence, in nats.
        agreement: mean Dice of labels with the float network's.
    """
    return max(1 - agreement, LEAST_DISAGREEMENT) ** OF_DISAGREEMENT * divergence ** (1 - OF_DISAGREEMENT)


@dataclass(frozen=True)
class Trial:
    """A recipe that was carried out and judged on held-out calibration windows.

    Attributes:
        question: what was asked by it, in words.
        recipe: with the number of cases that this trial was calibrated on.
        divergence: mean KL divergence from the float network's answer, in nats; None where it could not be judged.
        agreement: mean Dice of its labels with the float network's; None likewise.
        seconds: of quantizing and judging.
        problem: why it could not be carried out, or "".
    """

    question: str
    recipe: Recipe
    divergence: float | None
    agreement: float | None
    seconds: float
    problem: str = ""

    @property
    def distance(self) -> float:
        """By which trials are compared; infinite where it could not be judged."""
        return math.inf if self.divergence is None else distance(self.divergence, self.agreement)


@dataclass(frozen=True)
class LayerGain:
    """A layer, and what holding it alone at 8 bits gains.

    Attributes:
        gain: by how much the divergence falls, in nats; a single layer moves too few labels for the agreement.
        multiply_adds, weights: its part of the network's, 0 to 1.
        raised: whether it was chosen.
    """

    path: str
    gain: float
    multiply_adds: float
    weights: float
    raised: bool


@dataclass(frozen=True)
class Share:
    """The part of the multiply-adds of all layers that is done with these bits, ``W4A4`` or ``float``."""

    bits: str
    multiply_adds: float


@dataclass(frozen=True)
class Cost:
    """What a recipe costs: who computes with how many bits, and bits a weight with scales, before and after."""

    shares: tuple[Share, ...]
    weight_bits: float
    plain_weight_bits: float


@dataclass(frozen=True)
class Choice:
    """What was asked, what was found, and how.

    Attributes:
        request: ``w4a4 best``, with all that was said beside it.
        budget_s: seconds that the search was given; ``seconds``: that its trials took.
        float_budget: part of the multiply-adds that may be kept at 8 bits, 0 to 1; 0 where none may.
        fitted, judged: cases that calibrate, and others on which recipes are judged.
        windows: how many windows of these.
        trials: in their order.
        layers: that may be held at 8 bits, the largest gain first; empty without a float budget.
    """

    request: Recipe
    recipe: Recipe
    budget_s: float
    seconds: float
    float_budget: float
    fitted: tuple[str, ...]
    judged: tuple[str, ...]
    windows: int
    trials: tuple[Trial, ...]
    layers: tuple[LayerGain, ...]
    cost: Cost

    @property
    def of_recipe(self) -> Trial | None:
        """The trial of the recipe that was chosen."""
        return self._of(self.recipe)

    @property
    def plain(self) -> Trial | None:
        """The trial with which the search began: the policy without anything else, at the same number of cases."""
        return self._of(self.trials[0].recipe) if self.trials else None

    def _of(self, recipe: Recipe) -> Trial | None:
        return next((trial for trial in reversed(self.trials) if trial.recipe == recipe), None)
