"""A card's structures as a network's outputs: equal tables, the card's map, or names that mean the same."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from medquanbench import open_bundle, open_dataset
from medquanbench.images import Grid, LabelMap
from medquanbench.tasks import TASKS, Answer
from medquanbench.tasks.targets import Targets, match
from medquanbench.values import Case, Presence, RequestError

PARTS = """
[label_map]
"upper part" = "high"
"lower part" = "high"
"flat" = "low"
"""
TABLE = "".join(
    f'[[label]]\nindex = {index}\nname = "{name}"\ntolerance_mm = 1.0\n'
    for index, name in ((3, "upper part"), (4, "lower part"), (7, "flat"), (9, "elsewhere"))
)


@pytest.fixture
def bundle(micro_bundle):
    """Outputs: 1 low, 2 high."""
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def mapped(micro_data):
    """The micro card with four structures of its own, three of them mapped to the two outputs."""
    card = micro_data / "micro.toml"
    head = card.read_text().split("[[label]]")[0]
    card.write_text(f"{head}{PARTS}{TABLE}")
    return lambda change=("", ""): (
        card.write_text(card.read_text().replace(*change)) and open_dataset(card, root=micro_data)
    )


def test_targets_are_the_mapped_outputs_in_their_order(bundle, mapped):
    targets = match(bundle, mapped())
    assert [(label.index, label.name, label.tolerance_mm) for label in targets.labels] == [
        (1, "low", 1.0), (2, "high", 1.0),
    ]  # fmt: skip
    assert sorted(targets.values) == [(3, 2), (4, 2), (7, 1)]
    assert targets.unmapped == ("elsewhere",) and targets.unasked == ()


def test_an_output_without_a_structure_is_listed(bundle, mapped):
    targets = match(bundle, mapped(('"flat" = "low"\n', "")))
    assert [label.name for label in targets.labels] == ["high"]
    assert targets.unmapped == ("flat", "elsewhere") and targets.unasked == ("low",)


def test_several_structures_become_their_union_and_the_rest_background(bundle, mapped):
    reference = LabelMap(np.array([[[0, 3, 4, 7, 9]]], np.uint16), Grid((1, 1, 5), np.eye(4)))
    renumbered = match(bundle, mapped()).renumber(reference)
    assert renumbered.labels.tolist() == [[[0, 2, 2, 1, 0]]] and renumbered.grid is reference.grid


def test_equal_tables_stay_as_they_are(bundle, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    targets, reference = match(bundle, dataset), LabelMap(np.ones((1, 1, 1), np.uint16), Grid((1, 1, 1), np.eye(4)))
    assert targets == Targets(dataset.labels) and targets.renumber(reference) is reference
    assert targets.renumber_prediction(reference) is reference and targets.outputs == ((1,), (2,))


def test_names_that_mean_the_same_are_matched_whatever_their_numbers(bundle, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    swapped = replace(dataset, labels=tuple(replace(label, index=3 - label.index) for label in dataset.labels))
    targets = match(bundle, swapped)
    assert [(label.index, label.name) for label in targets.labels] == [(1, "low"), (2, "high")]
    assert sorted(targets.values) == [(1, 2), (2, 1)] and sorted(targets.answers) == [(1, 1), (2, 2)]
    assert targets.pairs == (("low", "low"), ("high", "high")) and targets.unmapped == targets.unasked == ()


def test_names_that_mean_nothing_to_each_other_are_a_sentence_with_those_spelt_alike(bundle, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    other = [replace(label, name=name) for label, name in zip(dataset.labels, ("tall", "lows"))]
    words = "answer with low, high; micro is labelled with tall, lows; 'lows' is near 'low'"
    with pytest.raises(RequestError, match=words):
        match(bundle, replace(dataset, labels=tuple(other)))


@pytest.mark.parametrize(
    "change, words",
    [
        (('"flat" = "low"', '"flat" = "lows"'), "no output 'lows' in .*'flat'; there is: high, low; 'low' is near"),
        (('index = 4\nname = "lower part"\ntolerance_mm = 1.0', 'index = 4\nname = "lower part"\ntolerance_mm = 2.0'),
         "different tolerances to 'high': upper part 1 mm, lower part 2 mm"),
    ],
)  # fmt: skip
def test_a_map_that_does_not_fit_is_a_sentence(bundle, mapped, change, words):
    with pytest.raises(RequestError, match=words):
        match(bundle, mapped(change))


def test_a_map_of_an_unknown_structure_is_a_sentence(mapped):
    with pytest.raises(RequestError, match="no structure 'flatt' in .*elsewhere, flat, .*; 'flat' is near"):
        mapped(('"flat" = "low"', '"flatt" = "low"'))


def test_scores_are_those_of_the_union_and_know_no_unmapped_structure(bundle, mapped, tmp_path):
    """By hand: the prediction is right but for what stands where `elsewhere` is, which is a false positive of `low`."""
    dataset = mapped()
    truth = np.zeros((8, 8, 8), np.uint8)
    truth[1:3, 1:3, 1:3], truth[3:5, 1:3, 1:3], truth[6, 6, 6], truth[6, 1, 1] = 3, 4, 7, 9
    predicted = np.zeros(truth.shape, np.uint16)
    predicted[1:5, 1:3, 1:3], predicted[6, 6, 6], predicted[6, 1, 1] = 2, 1, 1
    nibabel.save(nibabel.Nifti1Image(truth, np.eye(4)), tmp_path / "t.nii.gz")
    case = Case("t", (tmp_path / "t.nii.gz",), tmp_path / "t.nii.gz")
    task, answer = TASKS["segmentation"], Answer(LabelMap(predicted, Grid(truth.shape, np.eye(4))), None)
    low, high = task.measure(answer, task.truth(case, dataset, match(bundle, dataset))).targets
    assert (high.name, high.scores, high.reference_voxels) == ("high", (1.0, 1.0), 16)
    assert (low.presence, low.reference_voxels, low.predicted_voxels) == (Presence.BOTH, 1, 2)
    assert low.scores[0] == pytest.approx(2 / 3)
