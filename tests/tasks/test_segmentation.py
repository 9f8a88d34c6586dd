"""What an empty mask means, from label maps to Targets; calibration and agreement of an answer."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from medquanbench import open_bundle, open_dataset
from medquanbench.images import Grid, LabelMap, read_image
from medquanbench.metrics.agreement import flip_rates
from medquanbench.report.tables import CASES_COLUMNS
from medquanbench.tasks import TASKS, Answer, Targets
from medquanbench.values import Case, Presence


@pytest.mark.parametrize(
    "reference, predicted, presence, score, details",
    [
        (True, True, Presence.BOTH, 1.0, (0.0, 1.0)),
        (False, False, Presence.NEITHER, None, (None, None)),
        (False, True, Presence.HALLUCINATED, 0.0, (None, 0.0)),
        (True, False, Presence.LOST, 0.0, (None, 0.0)),
    ],
)
def test_empty_masks(micro_data, tmp_path, reference, predicted, presence, score, details):
    """Both empty is not counted; one empty scores 0 in DSC and NSD, has no HD95, and is told apart."""
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    truth, answer = np.zeros((6, 6, 6), np.uint8), np.zeros((6, 6, 6), np.uint16)
    truth[1:3, 1:3, 1:3] = answer[1:3, 1:3, 1:3] = 1
    truth[4, 4, 4], answer[4, 4, 4] = 2 * reference, 2 * predicted
    nibabel.save(nibabel.Nifti1Image(truth, np.eye(4)), tmp_path / "t.nii.gz")
    case = Case("t", (tmp_path / "t.nii.gz",), tmp_path / "t.nii.gz")
    task, said = TASKS["segmentation"], Answer(LabelMap(answer, Grid((6, 6, 6), np.eye(4))), None)
    low, high = task.measure(said, task.truth(case, dataset, Targets(dataset.labels))).targets
    assert low.scores == (1.0, 1.0) and low.presence is Presence.BOTH
    assert high.presence is presence and high.scores == (score, score)
    assert high.details == (*details, None, None), "without probabilities there is no calibration"
    assert (high.reference_voxels, high.predicted_voxels) == (reference, predicted)


def expected_calibration(probability: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple:
    """ECE in 15 bins and Brier score in the box of the truth widened by 10 mm, from whole volumes."""
    inside = np.argwhere(truth)
    reach = np.array([int(10 / edge) for edge in spacing_mm])
    low, high = np.maximum(inside.min(axis=0) - reach, 0), inside.max(axis=0) + reach + 1
    box = tuple(slice(a, b) for a, b in zip(low, high))
    p, y = probability[box].ravel().astype(np.float64), truth[box].ravel()
    bins = np.clip(np.ceil(p * 15) - 1, 0, 14)
    gaps = [abs((p - y)[bins == number].sum()) for number in range(15)]
    return sum(gaps) / p.size, ((p - y) ** 2).mean()


@pytest.mark.parametrize("union", [False, True])
def test_calibration_is_that_of_the_whole_probability_volume(micro_bundle, micro_data, union):
    """The network's grid is the image's, turned (x and y flipped); with a union, both outputs make one target."""
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    dataset, task = open_dataset(micro_data / "micro.toml", root=micro_data), TASKS["segmentation"]
    case, network, targets = dataset.cases("test", 1)[0], bundle.network(), Targets(dataset.labels)
    if union:
        targets = Targets(dataset.labels[:1], ((1, 1), (2, 1)), answers=((1, 1), (2, 1)))
    truth = task.truth(case, dataset, targets)
    with torch.inference_mode():
        image = torch.from_numpy(read_image(case.inputs[0]).values[::-1, ::-1].copy() / 100)
        logits = sliding_window_inference(image[None, None], (8, 8, 8), 1, network, overlap=0.25, mode="gaussian")
        probabilities = torch.softmax(logits[0], dim=0).numpy()
    turned = truth.reference.labels[::-1, ::-1]
    wanted = [
        expected_calibration(probabilities[list(outputs)].sum(axis=0), turned == label.index, (1.0, 1.0, 2.0))
        for label, outputs in zip(targets.labels, targets.outputs)
    ]
    answer = task.answer(network, bundle, case, "cpu", truth)
    np.testing.assert_allclose(answer.calibration, wanted, rtol=0, atol=1e-6)
    measured = task.measure(answer, truth)
    names = [detail.name for detail in task.details]
    assert names == ["hd95_mm", "volume_similarity", "ece", "brier"]
    assert [target.details[-2:] for target in measured.targets] == list(answer.calibration)
    alone = task.measure(task.answer(network, bundle, case, "cpu", None), truth)
    assert [target.scores for target in alone.targets] == [target.scores for target in measured.targets]
    assert [target.details[-2:] for target in alone.targets] == [(None, None)] * len(wanted)


@pytest.mark.parametrize("top", [2, 255, 256, 65535])
def test_a_packed_answer_is_the_answer(top):
    random = np.random.default_rng(top)
    one, other = (
        LabelMap(random.choice([0, 1, top], (5, 6, 7)).astype(np.uint16), Grid((5, 6, 7), np.diag([1, 2, 3, 1.0])))
        for _ in range(2)
    )
    task = TASKS["segmentation"]
    assert task.agreement(one, task.pack(one)) == (0, 0)
    assert task.agreement(other, task.pack(one)) == flip_rates(one.labels, other.labels, (1, 2, 3))


def test_every_detail_has_a_definition_and_a_column():
    task = TASKS["segmentation"]
    assert {detail.name for detail in (*task.details, *task.case_details)} < set(CASES_COLUMNS)
    assert all(detail.definition.endswith(".") for detail in (*task.details, *task.case_details))
