"""Many comparisons at once: Holm's adjustment over a family declared before the run, and claims about every label."""

from __future__ import annotations

from collections.abc import Sequence

from medquanbench.stats.resampling import RESAMPLES


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjusted p-values by Holm's step-down method (Scandinavian Journal of Statistics 1979;6:65).

    The i-th smallest p of a family of m becomes max over j <= i of min(1, (m - j + 1) p_j): rejecting where that is at
    most alpha keeps the chance of any false rejection in the family at most alpha, whatever the dependence.

    Args:
        p_values: one a member of the family. None, a member that could not be tested, counts as 1 and stays None: the
            family is no smaller for it.

    Raises:
        ValueError: a p that is not from 0 to 1.
    """
    bad = [p for p in p_values if p is not None and not 0 <= p <= 1]
    if bad:
        raise ValueError(f"p-values {bad} are not from 0 to 1")
    size, reached = len(p_values), 0.0
    adjusted: list[float | None] = [None] * size
    tested = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    for done, (p, position) in enumerate(tested):
        reached = max(reached, min(1.0, (size - done) * p))
        adjusted[position] = reached
    return tuple(adjusted)


def largest_p(p_values: Sequence[float | None]) -> float | None:
    """The p of the claim that every member is non-inferior; None where a member has none, or there is no member.

    An intersection-union test (Berger, Technometrics 1982;24:295): the claim is false if one member is inferior, so the
    largest p at the plain level suffices, without a correction.
    """
    if not p_values:
        return None
    worst = 0.0
    for p in p_values:
        if p is None:
            return None
        worst = max(worst, p)
    return worst


def resamples_for(family: int) -> int:
    """How many resamples a family of so many members needs: the smallest p is at most 0.025 after the adjustment."""
    return max(RESAMPLES, 40 * family - 1)
