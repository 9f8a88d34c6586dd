"""One run: what its record holds, and that no image decides what the receipt says."""

from __future__ import annotations

import torch

from medquanbench import open_bundle, open_dataset
from medquanbench.run import Job, case_sha256, execute, plan_run
from medquanbench.values import Recipe


def outcome(bundle, dataset, recipe: str, count: int):
    cases = dataset.cases("test", count)
    sums = {case.name: case_sha256(case) for case in cases}
    run = plan_run(bundle, dataset, "test", sums, Recipe.parse(recipe), 0)
    told: list[tuple[int, int]] = []
    job = Job(bundle, dataset, cases, "cpu", None, None, None, lambda done, total: told.append((done, total)))
    return execute(run, job), told


def test_progress_counts_cases_and_nothing_is_kept_without_a_folder(micro_bundle, micro_data, tmp_path):
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    result, told = outcome(bundle, open_dataset(micro_data / "micro.toml", root=micro_data), "w4a4 adaptive", 3)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert result.slice is None and [case.case for case in result.record.cases] == ["m1", "m2", "m3"]


def test_receipt_hangs_on_no_image(micro_bundle, micro_data):
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    one, many = (outcome(bundle, dataset, "w4a4 per-voxel", count)[0].record.receipt for count in (1, 4))
    assert one == many
    assert (
        one.lines[0].activation.elements_per_scale == 8 * 8 * 8
    )  # one input channel: per-voxel falls back to a window


def test_a_case_does_not_depend_on_the_cases_before_it(micro_bundle, micro_data):
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    torch.manual_seed(5)
    few = outcome(bundle, dataset, "w4a4 per-tensor", 2)[0].record.cases
    more = outcome(bundle, dataset, "w4a4 per-tensor", 5)[0].record.cases
    assert [case.targets for case in few] == [case.targets for case in more[:2]]


def test_fp32_is_a_run_too(micro_bundle, micro_data):
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    record = outcome(bundle, dataset, "fp32", 1)[0].record
    assert record.run.recipe.is_reference and record.cases[0].image_step is None
    assert {line.reason for line in record.receipt.lines} == {"reference"}
