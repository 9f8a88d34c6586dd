"""The road from an image file to labels on its own grid: how a file is turned changes nothing, nothing is shifted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medquanbench import open_bundle, open_dataset, quant
from medquanbench.bundle_config import Window
from medquanbench.images import LabelMap, read_labels
from medquanbench.metrics import dice
from medquanbench.tasks import TASKS, Targets
from medquanbench.values import Case, Recipe

SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "totalsegmentator-samples"
ROAD = TASKS["segmentation"]
STRAIGHT, OBLIQUE = (0, 0, 0), (7, -4, 11)


@dataclass(frozen=True)
class Turn:
    """A turned copy of a volume: axis k of the copy is axis ``order[k]`` of the volume, reversed where signs[k] < 0."""

    order: tuple[int, int, int]
    signs: tuple[int, int, int]

    def array(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(self.order)[tuple(slice(None, None, sign) for sign in self.signs)]

    def affine(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The affine that keeps every voxel where it is in the world."""
        turn = np.diag([0.0, 0, 0, 1])
        for axis, (along, sign) in enumerate(zip(self.order, self.signs)):
            turn[along, axis], turn[along, 3] = sign, shape[along] - 1 if sign < 0 else 0
        return affine @ turn

    def back(self, array: np.ndarray) -> np.ndarray:
        return array[tuple(slice(None, None, sign) for sign in self.signs)].transpose(np.argsort(self.order))


TURNS = [Turn(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(spacing_mm, degrees, origin_mm=(-177.95632935, 11.319, 94.30175781)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(spacing_mm)
    affine[:3, 3] = origin_mm
    return affine


def write(folder: Path, image: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> Case:
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "label.nii.gz")
    return Case("c", (folder / "image.nii.gz",), folder / "label.nii.gz")


def spots(shape: tuple[int, ...], seed: int, voxels: float) -> np.ndarray:
    """Noise without any symmetry, smooth over so many voxels, from about -3 to 3."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), voxels)
    return (noise / noise.std()).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A fixed network of three outputs, whose answer hangs on which neighbour is where."""
    torch.manual_seed(1)
    return torch.nn.Conv3d(1, 3, 3, padding=1)


@pytest.mark.parametrize(
    "shape, spacing_mm, degrees",
    [
        ((30, 25, 28), (3.0, 3.0, 3.0), STRAIGHT),
        ((49, 42, 44), (0.75, 0.75, 0.75), STRAIGHT),  # read at 3 x 3 x 5 mm: many voxels are halfway between two
        ((31, 26, 24), (1.5, 1.5, 2.5), OBLIQUE),
        ((33, 27, 22), (1.1, 0.9, 4.0), OBLIQUE),
    ],
)
def test_all_turned_copies_have_one_answer_and_one_score(shape, spacing_mm, degrees, network, micro_data, tmp_path):
    """Law: turning a file (array and affine) turns its answer, bit by bit, and moves no score."""
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    bundle = replace(open_bundle("nnunet"), window=Window((12, 12, 6), 0.5, "gaussian", 1))
    image, affine = 80 + 90 * spots(shape, 0, 1.5), affine_of(spacing_mm, degrees)
    truth = np.digitize(spots(shape, 1, 3), (0.2, 1.0)).astype(np.uint8)
    answers, scores, believed = [], [], []
    for turn in TURNS:
        case = write(tmp_path, turn.array(image), turn.array(truth), turn.affine(affine, shape))
        right = ROAD.truth(case, dataset, Targets(dataset.labels))
        answer = ROAD.answer(network, bundle, case, "cpu", right)
        answers.append(turn.back(answer.output.labels))
        measured = ROAD.measure(answer, right).targets
        scores.append([t.scores for t in measured])
        believed.append([t.details[-2:] for t in measured])
    assert np.bincount(answers[0].ravel(), minlength=3).min() > 0.05 * answers[0].size, "every output is seen"
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    found = np.array(scores)
    assert (found[..., 0] == found[0, :, 0]).all() and (0 < found[0]).all() and (found[0] < 1).all()
    np.testing.assert_allclose(found[..., 1], found[:1, :, 1].repeat(48, 0), rtol=0, atol=1e-12)  # sums in other orders
    np.testing.assert_allclose(believed, [believed[0]] * 48, rtol=0, atol=1e-7)


def threshold(windows: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(windows), windows], dim=1)


@pytest.mark.parametrize("degrees", [STRAIGHT, OBLIQUE])
@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (0.75, 0.75, 0.75), (0.8, 1.2, 2.5), (1.5, 1.5, 5.0)])
def test_a_ball_is_found_where_it_is(spacing_mm, degrees, tmp_path):
    """Centre within a tenth of a voxel (of the file or of the network, the larger), volume within one per cent."""
    bundle, radius_mm, centre_mm = open_bundle("nnunet"), 34.0, np.array([-131.3, 58.2, 142.9])
    affine = affine_of(spacing_mm, degrees, (0, 0, 0))
    shape = tuple(int(90 / s) + k for k, s in enumerate(spacing_mm))
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2 + (0.37, -0.81, 0.23))
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]
    inside_mm = radius_mm - np.sqrt(((world - centre_mm[:, None, None, None]) ** 2).sum(axis=0))
    image = (80 + 20 * inside_mm).astype(np.float32)  # 80 HU is the network's zero
    case = write(tmp_path, image, np.zeros(shape, np.uint8), affine)
    labels = ROAD.answer(threshold, bundle, case, "cpu").output.labels
    found_mm = affine[:3, :3] @ np.argwhere(labels).mean(axis=0) + affine[:3, 3]
    away = np.linalg.solve(affine[:3, :3] / spacing_mm, found_mm - centre_mm) / np.maximum(spacing_mm, (3, 3, 5))
    assert np.abs(away).max() < 0.1
    volume_ml = labels.sum() * np.prod(spacing_mm) / 1000
    assert volume_ml == pytest.approx(4 / 3 * np.pi * radius_mm**3 / 1000, rel=0.01)


@pytest.mark.parametrize("degrees", [STRAIGHT, OBLIQUE])
@pytest.mark.parametrize("shape, spacing_mm", [((9, 10, 22), (1.5, 1.5, 2.5)), ((11, 12, 24), (1.5, 0.75, 2.5))])
def test_every_voxel_of_the_file_has_an_answer(shape, spacing_mm, degrees, tmp_path):
    """Also where the last plane lies halfway between two of the network's voxels."""
    case = write(tmp_path, np.full(shape, 200, np.int16), np.zeros(shape, np.uint8), affine_of(spacing_mm, degrees))
    assert ROAD.answer(threshold, open_bundle("nnunet"), case, "cpu").output.labels.all()


def test_a_saved_answer_lies_exactly_over_its_image(network, tmp_path):
    bundle, shape = open_bundle("nnunet"), (17, 14, 9)
    case = write(tmp_path, 90 * spots(shape, 0, 1), np.zeros(shape, np.uint8), affine_of((1.3, 0.9, 4), OBLIQUE))
    answer = ROAD.answer(network, bundle, case, "cpu").output
    ROAD.save(answer, tmp_path / "saved")
    saved, image = nibabel.load(tmp_path / "saved.nii.gz"), nibabel.load(case.inputs[0])
    assert saved.shape == image.shape and np.array_equal(saved.affine, image.affine)
    assert np.array_equal(read_labels(tmp_path / "saved.nii.gz").labels, answer.labels) and answer.labels.any()


@pytest.fixture(scope="module")
def ct() -> nibabel.Nifti1Image:
    """The upper half of the real CT, less some air at both sides."""
    if not SAMPLES.is_dir():
        pytest.skip("the totalsegmentator-samples images are not beside this checkout")
    image = nibabel.load(SAMPLES / "example_ct.nii.gz")
    return image.slicer[13:109, :, 64:]


def demo(name: str, recipe: str) -> Callable[[Case], LabelMap]:
    bundle = open_bundle(name, weights="demo-btcv-phantom")
    network, _ = quant.quantize(bundle.network(), Recipe.parse(recipe))
    return lambda case: ROAD.answer(network, bundle, case, "cpu").output


@pytest.mark.parametrize("name, recipe", [("swinunetr", "fp32"), ("nnunet", "w4a4 adaptive")])
def test_turned_and_anisotropic_copies_of_a_real_ct(ct, name, recipe, tmp_path):
    """The CT, and every second slice of it along z: their copies answer alike, bit by bit."""
    answer_of, grey = demo(name, recipe), np.asarray(ct.dataobj).astype(np.int16)
    empty, labels = np.zeros(grey.shape, np.uint8), {}
    thin = ct.affine @ np.diag([1, 1, 2, 1])
    for step, affine in ((1, ct.affine), (2, thin)):
        array = grey[..., ::step]
        labels[step] = answer_of(write(tmp_path, array, empty[..., ::step], affine)).labels
        for turn in (Turn((2, 0, 1), (1, -1, 1)), Turn((0, 1, 2), (-1, -1, 1)))[: 3 - step]:
            case = write(tmp_path, turn.array(array), turn.array(empty[..., ::step]), turn.affine(affine, array.shape))
            assert np.array_equal(turn.back(answer_of(case).labels), labels[step])
    assert len(np.unique(labels[1])) > 8, "an answer of few structures would prove little"
    thick, full = (labels[2] > 0).astype(np.uint8), (labels[1] > 0).astype(np.uint8)
    agree = {z: dice(thick[..., 1:-1], full[..., 2 + z : 46 + z : 2], [1])[0] for z in (-2, 0, 2)}
    assert agree[0] > max(agree[-2], agree[2]), "the answer of half the slices lies a slice away"
