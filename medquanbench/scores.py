"""The scores of one label map against its reference, structure by structure (floor 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medquanbench.images import LabelMap
from medquanbench.matching import Targets
from medquanbench.metrics import METRICS, Comparison
from medquanbench.values import Presence, Target

_PRESENCE = {  # (reference holds it, prediction holds it)
    (True, True): Presence.BOTH,
    (False, False): Presence.NEITHER,
    (False, True): Presence.HALLUCINATED,
    (True, False): Presence.LOST,
}


def score(
    reference: LabelMap, predicted: LabelMap, targets: Targets, metrics: Sequence[str], details: Sequence[str] = ()
) -> tuple[Target, ...]:
    """Measure every target on the reference's grid and spacing.

    Args:
        reference, predicted: labels in the targets' numbers, on one grid.
        metrics, details: names of ``medquanbench.metrics.METRICS``, for a Target's ``scores`` and ``details``.

    Returns:
        a Target for each label of ``targets``; a value that does not count, or is infinite, is None.
    """
    known, tolerances_mm = zip(*((label.index, label.tolerance_mm) for label in targets.labels))
    comparison = Comparison(reference.labels, predicted.labels, known, reference.grid.spacing_mm, tolerances_mm)
    values = np.stack([METRICS[name].measure(comparison) for name in (*metrics, *details)], axis=1)
    n_reference, n_predicted, _ = comparison.counts.tolist()
    return tuple(
        Target(
            label.index,
            label.name,
            _PRESENCE[n_ref > 0, n_pred > 0],
            n_ref,
            n_pred,
            tuple(map(_counted, row[: len(metrics)])),
            tuple(map(_counted, row[len(metrics) :])),
        )
        for label, n_ref, n_pred, row in zip(targets.labels, n_reference, n_predicted, values.tolist())
    )


def _counted(value: float) -> float | None:
    return value if math.isfinite(value) else None
