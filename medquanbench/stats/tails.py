"""What a mean hides: the worst cases, and structures that were found and are found no more."""

from __future__ import annotations

from collections.abc import Sequence

LARGE_LOSS = 0.05  # of a case
FOUND, GONE = 0.5, 0.1  # DSC of a structure that FP32 finds, and of one that is lost for any use


def percentile_5(differences: Sequence[float]) -> float | None:
    """The 5th percentile: the ceil(0.05 n)-th smallest difference, the worst with up to 20; None without any.

    It is the inverse of the empirical distribution (Hyndman and Fan 1996, definition 1), so that it is a difference of
    the sample, of a case that can be looked at.
    """
    if not differences:
        return None
    return sorted(differences)[-(-len(differences) // 20) - 1]


def lost_much(differences: Sequence[float]) -> int:
    """How many lost more than LARGE_LOSS."""
    return sum(difference < -LARGE_LOSS for difference in differences)


def is_collapsed(reference_score: float | None, score: float | None) -> bool:
    """True where FP32 finds a structure (DSC at least FOUND) and the quantized network does not (below GONE)."""
    return reference_score is not None and score is not None and reference_score >= FOUND and score < GONE
