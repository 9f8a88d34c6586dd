"""How far a quantized network's answers are from the float network's, on windows of held-out cases (floor 4).

    divergence = mean over windows, of each the mean over labels, of each the mean over its voxels, of KL(p || q)

where p and q are the softmax of the float and of the quantized network, and a label's voxels are those to which the
float network gives it. So every structure counts the same, as in a mean Dice. References are not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from medquanbench.values import RunError, distance

KEPT_BYTES = 1 << 29
"""What the float network's answers may take; windows beyond are left out, but for the first."""


@dataclass(frozen=True)
class Verdict:
    """Divergence in nats and agreement (Dice of labels with the float network's), means over windows."""

    divergence: float
    agreement: float

    @property
    def distance(self) -> float:
        """Both in one number, by which recipes are compared."""
        return distance(self.divergence, self.agreement)


class Judge:
    """The float network's answers to some windows, and how others compare with them.

    Args:
        network: the float network, in evaluation mode.
        windows: its inputs, float32 (1, channels, ...).
    """

    def __init__(self, network: torch.nn.Module, windows: Iterable[torch.Tensor]) -> None:
        self.windows: list[torch.Tensor] = []
        self.answers: list[torch.Tensor] = []
        taken = 0
        with torch.inference_mode():
            for window in windows:
                answer = network(window).float().log_softmax(1)
                taken += answer.nbytes
                if self.answers and taken > KEPT_BYTES:
                    break
                self.windows.append(window)
                self.answers.append(answer)

    def verdict(self, network: torch.nn.Module, most: int | None = None) -> Verdict:
        """How far another network is from the float one, on all windows or the first few.

        Raises:
            RunError: it answers with NaN.
        """
        with torch.inference_mode():
            found = list(self._compared(network, most))
        divergences, agreements = zip(*found)
        mean = math.fsum(divergences) / len(found)
        if not math.isfinite(mean):
            raise RunError("the quantized network answers with NaN or infinity")
        return Verdict(mean, math.fsum(agreements) / len(found))

    def _compared(self, network: torch.nn.Module, most: int | None) -> Iterator[tuple[float, float]]:
        for window, answer in list(zip(self.windows, self.answers))[:most]:
            yield compared(answer, network(window).float().log_softmax(1))


def compared(answer: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """(divergence, agreement) of two answers, log-probabilities (1, labels, ...).

    A label that neither gives counts in neither mean; the first label, the background, is left out of the agreement.
    """
    labels, count = answer.argmax(1).flatten(), answer.shape[1]
    given = other.argmax(1).flatten()
    apart = (answer.exp() * (answer - other)).sum(1).flatten()
    sizes = torch.bincount(labels, minlength=count)
    sums = torch.zeros(count, dtype=torch.float64).to(apart.device).index_add_(0, labels, apart.double())
    both = torch.bincount(labels[labels == given], minlength=count)
    either = sizes + torch.bincount(given, minlength=count)
    dice = (2 * both / either)[1:][either[1:] > 0]
    return float((sums / sizes)[sizes > 0].mean()), float(dice.mean()) if len(dice) else 1.0
