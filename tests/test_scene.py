"""The slice for the picture."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np

from medquanbench.dataset import Label, open_card
from medquanbench.images import LabelMap, read_labels
from medquanbench.scene import cut, frame
from medquanbench.tasks import Targets
from medquanbench.values import Case

AS_IT_IS = Targets(())
CARD = replace(open_card("btcv-phantom"), labels=tuple(Label(index, str(index), 1.0) for index in range(1, 10)))


def write(folder, labels, image, affine) -> Case:
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / "i.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "l.nii.gz")
    return Case("c", (folder / "i.nii.gz",), folder / "l.nii.gz")


def test_the_slice_with_most_structures_seen_from_the_feet(tmp_path):
    labels = np.zeros((6, 5, 4), np.uint8)  # RAS: x to the right, y to the front, z up
    labels[5, 4, 2], labels[0, 0, 2], labels[1:4, 1:3, 1] = 1, 2, 1
    case = write(tmp_path, labels, labels.astype(np.float32) * 10, np.diag([2.0, 3, 4, 1]))
    shown = frame(case, CARD, AS_IT_IS)
    assert (shown.index, shown.depth, shown.pixel_mm) == (2, 4, (3.0, 2.0))
    assert shown.reference.shape == (5, 6)
    assert shown.reference[0, 0] == 1, "the patient's right front is at the top left"
    assert shown.reference[-1, -1] == 2


def test_how_the_file_is_turned_does_not_matter(tmp_path):
    random = np.random.RandomState(0)
    labels = random.randint(0, 3, (6, 5, 4)).astype(np.uint8)
    image = random.rand(6, 5, 4).astype(np.float32)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one = frame(write(tmp_path / "a", labels, image, np.diag([2.0, 3, 4, 1])), CARD, AS_IT_IS)
    turned = np.array([[0, 0, -2.0, 10], [3, 0, 0, 0], [0, -4, 0, 12], [0, 0, 0, 1]])  # axes y, -z, -x
    other = frame(
        write(
            tmp_path / "b", labels.transpose(1, 2, 0)[:, ::-1, ::-1], image.transpose(1, 2, 0)[:, ::-1, ::-1], turned
        ),
        CARD,
        AS_IT_IS,
    )
    assert one.index == other.index and one.pixel_mm == other.pixel_mm
    assert np.array_equal(one.reference, other.reference) and np.allclose(one.image, other.image)


def test_cut_of_the_reference_is_the_reference(tmp_path):
    labels = np.random.RandomState(1).randint(0, 3, (6, 5, 4)).astype(np.uint8)
    case = write(tmp_path, labels, labels.astype(np.float32), np.diag([-2.0, -3, 4, 1]))
    reference, shown = read_labels(case.target), frame(case, CARD, AS_IT_IS)
    assert np.array_equal(cut(LabelMap(reference.labels, reference.grid), shown), shown.reference)


def test_stored_values_and_masks_are_shown_as_labels(tmp_path):
    labels = np.random.RandomState(2).randint(0, 3, (6, 5, 4)).astype(np.uint8)
    case, files = write(tmp_path, labels, labels.astype(np.float32), np.eye(4)), []
    for index in (1, 2):
        files.append((index, tmp_path / f"m{index}.nii.gz"))
        nibabel.save(nibabel.Nifti1Image((labels == index).astype(np.uint8), np.eye(4)), files[-1][1])
    plain = frame(case, CARD, AS_IT_IS)
    masks = frame(replace(case, target=tmp_path, masks=tuple(files)), CARD, AS_IT_IS)
    stored = replace(CARD, labels=(Label(2, "b", 1.0, 1), Label(1, "a", 1.0, 2)))
    assert np.array_equal(masks.reference, plain.reference) and masks.index == plain.index
    swapped = frame(case, stored, AS_IT_IS)
    assert np.array_equal(swapped.reference, np.array([0, 2, 1])[plain.reference])


def test_the_reference_is_shown_in_the_numbers_of_the_outputs(tmp_path):
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:3, 1, 1], labels[:, :, 3] = 7, 9  # 9 stands for no output: its slice is not the one to show
    case = write(tmp_path, labels, labels.astype(np.float32), np.eye(4))
    shown = frame(case, CARD, Targets((), ((7, 2),)))
    assert shown.index == 1 and set(np.unique(shown.reference)) == {0, 2}
