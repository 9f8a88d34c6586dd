"""One run: what its record holds, and that no image decides what the receipt says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medquanbench import open_bundle, open_dataset
from medquanbench.parts import FloatAnswers
from medquanbench.run import Job, answers_folder, case_sha256, execute, plan_run, rehearse
from medquanbench.tasks import TASKS
from medquanbench.values import Recipe, RequestError, RunError, State


def outcome(bundle, dataset, recipe: str, count: int, out: Path | None = None, answers: FloatAnswers | None = None):
    """The outcome of a run, and what it told of its progress; parts and answers are kept in a folder, or not."""
    cases = dataset.cases("test", count)
    sums = {case.name: case_sha256(case) for case in cases}
    run = plan_run(bundle, dataset, "test", sums, Recipe.parse(recipe), 0)
    told: list[tuple[int, int]] = []
    parts, saved = (out / "parts", out / "predictions") if out else (None, None)
    job = Job(
        bundle, dataset, cases, "cpu", parts, None, saved, lambda done, total: told.append((done, total)), answers
    )
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


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-9])])
def test_a_lost_or_damaged_answer_is_made_again(bundle, dataset, tmp_path, damage):
    outcome(bundle, dataset, "w4a4 adaptive", 3, tmp_path)
    file = tmp_path / "predictions" / "w4a4_adaptive" / "m2.nii.gz"
    whole = file.read_bytes()
    damage(file)
    assert outcome(bundle, dataset, "w4a4 adaptive", 3, tmp_path)[1] == [(2, 3), (3, 3)]
    assert file.read_bytes() == whole
    assert outcome(bundle, dataset, "w4a4 adaptive", 3, tmp_path)[1] == [(3, 3)]


def test_the_part_of_another_case_is_no_part(bundle, dataset, tmp_path):
    outcome(bundle, dataset, "w4a4 adaptive", 3, tmp_path)
    (folder,) = (tmp_path / "parts").iterdir()
    (folder / "m3.json").write_bytes((folder / "m2.json").read_bytes())
    assert outcome(bundle, dataset, "w4a4 adaptive", 3, tmp_path)[1] == [(2, 3), (3, 3)]


def test_every_recipe_has_a_folder_of_its_own_for_its_answers(bundle, dataset):
    globs = ("a.*", "a.?", "a._", "a/b", "a.b", "x" * 300, "x" * 299 + "y")
    recipes = ["fp32", "w4a4 adaptive", "w4a4 adaptive input(8)", *(f"w4a4 adaptive keep({glob})" for glob in globs)]
    names = [answers_folder(plan_run(bundle, dataset, "test", {}, Recipe.parse(recipe), 0)) for recipe in recipes]
    assert names[:3] == ["fp32", "w4a4_adaptive", "w4a4_adaptive_input(8)"]
    assert len(set(names)) == len(recipes) and all("/" not in name and len(name) < 140 for name in names)


def test_an_image_that_fails_later_keeps_the_cases_before_it(bundle, dataset, tmp_path, monkeypatch):
    task = TASKS["segmentation"]

    def gone(network, bundle, case, device, truth):
        if case.name == "m3":
            raise RequestError("the network drive is gone")
        return task.answer(network, bundle, case, device, truth)

    with monkeypatch.context() as patch:
        patch.setitem(TASKS, "segmentation", replace(task, answer=gone))
        with pytest.raises(RequestError, match=r"drive is gone \(case m3\); what was finished is kept$"):
            outcome(bundle, dataset, "w4a4 adaptive", 4, tmp_path)
        with pytest.raises(RequestError, match=r"drive is gone \(case m3\)$"):
            outcome(bundle, dataset, "w4a4 adaptive", 4)
    assert outcome(bundle, dataset, "w4a4 adaptive", 4, tmp_path)[1] == [(2, 4), (3, 4), (4, 4)]


def test_answers_are_compared_with_the_float_networks(bundle, dataset):
    """FP32 agrees with itself; what 2 bits flip is what differs between the two answers."""
    answers = FloatAnswers(None)
    reference = outcome(bundle, dataset, "fp32", 3, answers=answers)[0].record
    assert reference.case_details == ("flip_rate", "flip_rate_boundary")
    assert [case.details for case in reference.cases] == [(0, 0)] * 3
    rates = [case.details for case in outcome(bundle, dataset, "w2a2 per-tensor", 3, answers=answers)[0].record.cases]
    assert all(0 < rate < 1 for case in rates for rate in case)
    alone = outcome(bundle, dataset, "w2a2 per-tensor", 3)[0].record.cases
    assert [case.details for case in alone] == [(None, None)] * 3, "there is nothing to compare with"


def test_a_run_whose_float_answers_are_gone_is_a_sentence(bundle, dataset):
    with pytest.raises(RunError, match="the FP32 answer to case m1, with which w4a4 adaptive is compared, is gone"):
        outcome(bundle, dataset, "w4a4 adaptive", 1, answers=FloatAnswers(None))


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-1])])
def test_a_lost_or_damaged_float_answer_is_made_again(bundle, dataset, tmp_path, damage):
    answers = FloatAnswers(tmp_path / "floats")
    outcome(bundle, dataset, "fp32", 3, tmp_path, answers)
    file = tmp_path / "floats" / "m2.answer"
    whole = file.read_bytes()
    damage(file)
    assert outcome(bundle, dataset, "fp32", 3, tmp_path, answers)[1] == [(2, 3), (3, 3)]
    assert file.read_bytes() == whole
    assert outcome(bundle, dataset, "fp32", 3, tmp_path, answers)[1] == [(3, 3)]


@pytest.mark.parametrize("text", ["fp32", "w4a4 per-voxel", "w4a4 adaptive clip"])
def test_a_rehearsal_says_of_the_inputs_of_layers_what_a_run_says(bundle, dataset, text):
    rehearsed, ran = rehearse(bundle, Recipe.parse(text)), outcome(bundle, dataset, text, 1)[0].record.receipt
    assert [(line.state, line.activation) for line in rehearsed.lines] == [
        (line.state, line.activation) for line in ran.lines
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("w4a4 engine svd(rank=1)+gptq calib(8)", "changes none of 1 layers"),
        ("w4a4 per-tensor branches calib(1)", "changes none of 1 layers: it reads no concatenation"),
        ("w4a4 per-tensor svd(on=nosuch)", "matches none of 1 layers"),
        ("w4a4 per-tensor keep(*)", "changes no layer"),
    ],
)
def test_a_rehearsal_refuses_what_a_run_would(bundle, text, words):
    with pytest.raises(RequestError, match=words):
        rehearse(bundle, Recipe.parse(text))


def test_a_rehearsal_needs_no_calibration_cases(bundle):
    assert rehearse(bundle, Recipe.parse("w4a4 engine gptq calib(1000)")).count(State.QUANTIZED) == 1
