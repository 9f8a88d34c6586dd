"""Scans become patients."""

import pytest

from medquanbench.stats import patient_means


def test_scans_of_one_patient_are_averaged_wherever_they_stand():
    assert patient_means([1.0, 10.0, 2.0, 3.0], ["a", "b", "a", "a"]) == (2.0, 10.0)


def test_one_scan_each_changes_nothing():
    assert patient_means([0.3, -0.1], ["x", "y"]) == (0.3, -0.1)
    assert patient_means([], []) == ()


def test_every_value_has_a_patient():
    with pytest.raises(ValueError):
        patient_means([1.0, 2.0], ["a"])
