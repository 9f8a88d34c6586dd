"""Calibration data: cases of the card's lists and of no evaluated patient, windows as the network reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medquanbench import calibration, open_bundle, open_dataset
from medquanbench.bundle import Bundle
from medquanbench.calibration import calibration_cases, calibration_patches
from medquanbench.dataset import Dataset
from medquanbench.images import Grid, grid_of
from medquanbench.infer import Volume
from medquanbench.reference import read_reference
from medquanbench.restore import restore_labels
from medquanbench.roads import ROADS
from medquanbench.values import Case, RequestError
from tests.trained_nnunet import PLAIN, Recipe, affine_of, write_model

AFFINE = np.diag([-1.0, -1.2, 2.0, 1.0])
SHAPE, EDGE = (34, 30, 26), 8


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


def with_lists(dataset: Dataset, **lists: tuple[str, ...]) -> Dataset:
    return replace(dataset, split=tuple((name.replace("_", "-"), cases) for name, cases in lists.items()))


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


def a_case(folder: Path, structures: dict[int, tuple[slice, ...]], affine=AFFINE, shape=SHAPE) -> Case:
    """A case of noise, no value twice, with structures where they are said to be."""
    label = np.zeros(shape, np.uint8)
    for index, box in structures.items():
        label[box] = index
    image = np.random.RandomState(0).permutation(label.size).reshape(shape).astype(np.float32) / label.size * 400
    for name, array in (("image", image), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{name}.nii.gz")
    return Case("one", (folder / "image.nii.gz",), folder / "label.nii.gz")


def origin(window: torch.Tensor, volume: Volume) -> tuple[int, ...]:
    """Where a window lies in a volume; there is one such place."""
    corners = (volume.tensor[0] == window[0, 0, 0, 0, 0]).nonzero().tolist()
    places = [
        corner for corner in corners if torch.equal(volume.tensor[:, *box_of(corner, window.shape[2:])], window[0])
    ]
    assert len(places) == 1, "no part of the volume as the network reads it"
    return tuple(places[0])


def box_of(first: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(low, low + extent) for low, extent in zip(first, size))


def on_volume(case: Case, dataset: Dataset, grid: Grid) -> np.ndarray:
    """The reference on the volume's grid, by another way than that of the windows."""
    reference = read_reference(case, dataset)
    return restore_labels(reference.labels, reference.grid, grid)


def volume_of(bundle: Bundle, case: Case) -> Volume:
    return ROADS[bundle.restore].volume(bundle, case.inputs)


# Which cases


def test_the_list_calibration_comes_first_then_train_in_the_cards_order(dataset):
    lists = with_lists(dataset, train=("m4", "c1", "m2"), calibration=("c1", "t1"), test=("m7",))
    assert names(calibration_cases(lists, 2)) == ["c1", "t1"]
    assert names(calibration_cases(lists, 4)) == ["c1", "t1", "m4", "m2"], "a case in both lists counts once"
    assert all(file.is_file() for case in calibration_cases(lists, 4) for file in case.files)


def test_a_draw_is_a_sample_without_replacement_and_fewer_cases_are_its_first(dataset):
    lists = with_lists(dataset, train=("m1", "m2", "m3", "m4"), calibration=("c1", "t1"), test=("m7",))
    draws = [names(calibration_cases(lists, 6, draw)) for draw in range(4)]
    assert all(sorted(draw) == sorted(draws[0]) for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 4
    assert [names(calibration_cases(lists, 3, draw)) for draw in range(4)] == [draw[:3] for draw in draws]


def test_more_cases_than_there_are(dataset):
    words = r"^3 calibration cases are needed .*; the card of micro has 1 in 'calibration', 1 in 'train'$"
    with pytest.raises(RequestError, match=words):
        calibration_cases(dataset, 3)


@pytest.mark.parametrize("count", [0, -1])
def test_no_cases(dataset, count):
    with pytest.raises(RequestError, match=f"^{count} calibration cases are asked for; at least 1 is needed"):
        calibration_cases(dataset, count)


@pytest.mark.parametrize("lists", [{"test": ("m1",)}, {"test": ("m1",), "train": (), "validation": ("m2",)}])
def test_a_card_without_cases_to_calibrate_on(dataset, lists):
    with pytest.raises(RequestError, match="lists no cases to calibrate on.*; there is: test"):
        calibration_cases(with_lists(dataset, **lists), 1)


def test_nobody_is_calibrated_on_and_evaluated(dataset):
    assert names(calibration_cases(dataset, 1, split="train")) == ["c1"]
    with pytest.raises(RequestError, match="the calibration case 't1' is in the split 'train', too"):
        calibration_cases(dataset, 2, split="train")
    twice = replace(dataset, patients=(("c1", "anna"), ("m3", "anna")))
    with pytest.raises(RequestError, match="'c1' and 'm3' of the split 'test', which is evaluated, are of one patient"):
        calibration_cases(twice, 1)


def test_a_split_with_a_name_has_lists_of_its_own(dataset):
    lists = with_lists(dataset, train=("m1",), test=("m2",), paper_test=("m1", "m3"), paper_train=("m4", "m2"))
    assert names(calibration_cases(lists, 2, split="paper-test")) == ["m4", "m2"]
    none = with_lists(dataset, calibration=("c1",), test=("m2",), paper_test=("m1",))
    assert names(calibration_cases(none, 1, split="paper-test")) == ["c1"]


def test_missing_files_are_told(dataset, micro_data):
    (micro_data / "images" / "c1.nii.gz").unlink()
    with pytest.raises(
        RequestError, match="1 of the 2 files of the calibration cases cannot be opened, first .*c1.nii"
    ):
        calibration_cases(dataset, 1)


# Which windows


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SRA"])
def test_windows_are_parts_of_what_the_network_reads_and_two_of_three_hold_a_structure(
    bundle, dataset, tmp_path, codes
):
    case = a_case(tmp_path, {1: np.s_[3:5, 4:6, 5:7], 2: np.s_[20:30, 18:26, 16:22]}, affine_of((1, 1.2, 2), 0, codes))
    volume = volume_of(bundle, case)
    reference = on_volume(case, dataset, volume.grid)
    windows = list(calibration_patches(bundle, dataset, (case,), per_case=24))
    assert {(window.shape, window.dtype) for window in windows} == {((1, 1, EDGE, EDGE, EDGE), torch.float32)}
    seen = []
    for number, first in enumerate(origin(window, volume) for window in windows):
        inside = reference[box_of(first, (EDGE,) * 3)]
        assert number % 3 == 2 or inside.any(), "an image of another orientation than its reference"
        middle = tuple(low + EDGE // 2 for low in first)
        if number % 3 < 2 and all(0 < low < size - EDGE for low, size in zip(first, volume.grid.shape)):
            assert reference[middle]
        seen.append({*np.unique(inside)} - {0})
    # 8 voxels and 480: structures are drawn first, so that the small one is seen as often as the large one.
    assert 4 <= sum(1 in found for found in seen) and 4 <= sum(2 in found for found in seen)


def test_windows_of_other_spacing_follow_the_structures(micro_bundle, dataset, tmp_path):
    config = micro_bundle / "configs" / "inference.json"
    spacing = '{"_target_": "Spacingd", "keys": "image", "pixdim": [0.7, 1.9, 1.0]}, {"_target_": "ScaleI'
    config.write_text(config.read_text().replace('{"_target_": "ScaleI', spacing))
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    case = a_case(tmp_path, {2: np.s_[20:22, 18:20, 16:18]})
    volume = volume_of(bundle, case)
    assert volume.grid.shape != SHAPE
    reference = on_volume(case, dataset, volume.grid)
    for number, window in enumerate(calibration_patches(bundle, dataset, (case,), per_case=12)):
        assert number % 3 == 2 or reference[box_of(origin(window, volume), (EDGE,) * 3)].any()


@pytest.mark.parametrize("padding", ["constant", "replicate"])
def test_an_image_smaller_than_a_window_is_padded_as_for_an_answer(bundle, dataset, tmp_path, padding):
    """Then there is one window, and the network reads that one where the bundle answers the image."""
    small = replace(bundle, window=replace(bundle.window, size=(40, 33, 28), padding=padding))
    case, read = a_case(tmp_path, {1: np.s_[3:5, 4:6, 5:7]}), []

    def network(window: torch.Tensor) -> torch.Tensor:
        read.append(window.clone())
        return torch.zeros(1, 3, *window.shape[2:])

    ROADS[small.restore].answer(network, small, case.inputs, "cpu", None)
    (whole,) = read
    assert all(torch.equal(window, whole) for window in calibration_patches(small, dataset, (case,)))


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_windows_of_a_trained_nnunet_are_those_that_nnunet_reads(dataset, tmp_path, transpose):
    recipe = Recipe(PLAIN, "NibabelIOWithReorient", transpose, (1.5, 1.2, 0.9), (4, 8, 8), scheme="NoNormalization")
    bundle = open_bundle("nnunet", weights=write_model(tmp_path / "model", recipe))
    case = a_case(tmp_path, {1: np.s_[3:6, 4:7, 5:8], 2: np.s_[20:24, 18:22, 16:20]}, affine_of((1, 1.2, 2), 0, "ASL"))
    volume = volume_of(bundle, case)
    reference = on_volume(case, dataset, volume.grid)
    for number, window in enumerate(calibration_patches(bundle, dataset, (case,), per_case=12)):
        assert window.shape[2:] == bundle.window.size
        assert number % 3 == 2 or reference[box_of(origin(window, volume), bundle.window.size)].any()


def test_a_window_of_one_value_is_drawn_again(bundle, dataset, tmp_path, monkeypatch):
    case = a_case(tmp_path, {})
    image = nibabel.load(case.inputs[0])
    values = np.where(np.arange(SHAPE[0])[:, None, None] < SHAPE[0] // 2, 0, image.get_fdata(dtype=np.float32))
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), case.inputs[0])

    def constant() -> int:
        windows = calibration_patches(bundle, dataset, (case,), per_case=20)
        return sum(bool((window == window.flatten()[0]).all()) for window in windows)

    assert constant() == 0
    monkeypatch.setattr(calibration, "_TRIALS", 1)
    assert constant() > 0


def test_windows_hang_on_the_case_and_the_seed_alone(bundle, dataset, monkeypatch):
    both, one = calibration_cases(dataset, 2), calibration_cases(dataset, 1)
    patches = calibration_patches(bundle, dataset, both)
    first, again = list(patches), list(patches)
    assert len(first) == 8 and patches.kept_bytes == 8 * 4 * EDGE**3
    assert all(window.untyped_storage().nbytes() == window.nbytes for window in first), "the volume stays in memory"
    torch.manual_seed(5)
    np.random.seed(5)
    alone = list(calibration_patches(bundle, dataset, one))
    other = list(calibration_patches(bundle, dataset, both, seed=(1,)))
    monkeypatch.setattr(calibration, "KEPT_BYTES", 5 * 4 * EDGE**3)  # for the windows of one case
    limited = calibration_patches(bundle, dataset, both)
    made = [torch.stack(list(limited)) for _ in range(2)]
    assert limited.kept_bytes == 4 * 4 * EDGE**3
    assert all(map(torch.equal, first, again)) and all(map(torch.equal, first, alone))
    assert torch.equal(made[0], torch.stack(first)) and torch.equal(made[0], made[1])
    assert not any(map(torch.equal, first, other))


def test_two_cases_of_the_same_voxels_have_windows_of_their_own(bundle, dataset):
    (case,) = calibration_cases(dataset, 1)
    one, other = (
        torch.stack(list(calibration_patches(bundle, dataset, (named,))))
        for named in (case, replace(case, name="another"))
    )
    assert not torch.equal(one, other)


def test_a_case_without_a_reference_gives_windows_from_anywhere(bundle, dataset, tmp_path):
    case = replace(a_case(tmp_path, {}), target=None)
    assert len({origin(w, volume_of(bundle, case)) for w in calibration_patches(bundle, dataset, (case,), 8)}) > 4


def test_progress_is_told(bundle, dataset):
    told: list[str] = []
    list(calibration_patches(bundle, dataset, calibration_cases(dataset, 2), 1, progress=told.append))
    assert told[0] == "calibration: pass 1, case 1/2"
    assert told[-1].startswith("calibration: pass 1, case 2/2, window 1/1 (")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_case_with_nan_or_infinity_is_named(bundle, dataset, value):
    (case,) = calibration_cases(dataset, 1)
    image = np.ones(grid_of(case.inputs[0]).shape, np.float32)
    image[4, 4, 4] = value
    nibabel.save(nibabel.Nifti1Image(image, AFFINE), case.inputs[0])
    with pytest.raises(RequestError, match=r"c1.nii.gz holds NaN or infinity .* \(calibration case c1\)$"):
        list(calibration_patches(bundle, dataset, (case,)))
