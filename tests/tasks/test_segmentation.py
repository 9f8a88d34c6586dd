"""What an empty mask means, from label maps to Targets."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medquanbench import open_dataset
from medquanbench.images import Grid, LabelMap
from medquanbench.tasks import TASKS, Targets
from medquanbench.values import Case, Presence


@pytest.mark.parametrize(
    "reference, predicted, presence, score",
    [
        (True, True, Presence.BOTH, 1.0),
        (False, False, Presence.NEITHER, None),
        (False, True, Presence.HALLUCINATED, 0.0),
        (True, False, Presence.LOST, 0.0),
    ],
)
def test_empty_masks(micro_data, tmp_path, reference, predicted, presence, score):
    """Both empty is not counted; one empty scores 0 in DSC and NSD, and is told apart."""
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    truth, answer = np.zeros((6, 6, 6), np.uint8), np.zeros((6, 6, 6), np.uint16)
    truth[1:3, 1:3, 1:3] = answer[1:3, 1:3, 1:3] = 1
    truth[4, 4, 4], answer[4, 4, 4] = 2 * reference, 2 * predicted
    nibabel.save(nibabel.Nifti1Image(truth, np.eye(4)), tmp_path / "t.nii.gz")
    case = Case("t", (tmp_path / "t.nii.gz",), tmp_path / "t.nii.gz")
    label_map = LabelMap(answer, Grid((6, 6, 6), np.eye(4)))
    low, high = TASKS["segmentation"].measure(label_map, case, dataset, Targets(dataset.labels)).targets
    assert low.scores == (1.0, 1.0) and low.presence is Presence.BOTH
    assert high.presence is presence and high.scores == (score, score)
    assert (high.reference_voxels, high.predicted_voxels) == (reference, predicted)
