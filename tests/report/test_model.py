"""Reports that cannot be written down, and the n of a comparison."""

from dataclasses import replace

import numpy as np
import pytest

from medquanbench.report.model import metric_value


def test_a_report_begins_with_the_reference(report):
    with pytest.raises(ValueError, match="FP32 reference"):
        replace(report, rows=report.rows[1:])
    with pytest.raises(ValueError, match="FP32 reference"):
        replace(report, rows=())


def test_a_scene_lies_on_one_grid(report):
    with pytest.raises(ValueError, match=r"w4a4 x has shape \(2, 2\) and the image \(84, 108\)"):
        replace(report.scene, predictions=(("w4a4 x", np.zeros((2, 2), int)),))


def test_cases_without_a_counted_score_are_not_compared(report):
    row = report.rows[1]
    targets = tuple(replace(target, scores=(None, None)) for target in row.record.cases[0].targets)
    cases = (replace(row.record.cases[0], targets=targets), *row.record.cases[1:])
    without = replace(row, record=replace(row.record, cases=cases))
    assert report.compared_cases == 8
    assert replace(report, rows=(report.rows[0], without)).compared_cases == 7


def test_values_are_found_by_the_name_of_the_metric(report):
    row = replace(report.rows[0], record=replace(report.rows[0].record, metrics=("nsd", "dsc")), means=(0.1, 0.2))
    assert metric_value(row, row.means, "dsc") == 0.2
    assert metric_value(row, row.means, "hd95") is None
