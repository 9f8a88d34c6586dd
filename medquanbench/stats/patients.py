"""From scans to patients, who are what a sample is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence


def patient_means(values: Sequence[float], patients: Sequence[str]) -> tuple[float, ...]:
    """The mean of each patient's scans, in the order in which the patients first appear.

    Scans of one patient are alike: counted one by one, they make an interval too short. So a patient is resampled as a
    whole, with all scans and, as a scan's score is the mean over its labels, with all labels.

    Args:
        values: one number a scan.
        patients: whose scan it is.

    Raises:
        ValueError: not one patient a value.
    """
    scans: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        scans.setdefault(patient, []).append(value)
    return tuple(math.fsum(found) / len(found) for found in scans.values())
