"""Tiny datasets in the true layouts of the shipped cards, and in those that every card knows.

``write_fake("btcv", "Synapse download", folder)`` writes a few cases of 6 x 6 x 6 voxels with all labels of the card; a
case has the same labels in every layout. The paths stand here once more, by hand: they are what the cards are held to.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medquanbench.dataset import Dataset, open_card
from medquanbench.images import write_nifti

SHAPE = (6, 6, 6)
AFFINE = np.array([[-1.5, 0, 0, 40], [0, -1.5, 0, 30], [0, 0, 2.5, -20], [0, 0, 0, 1.0]])
NNUNET, DATALIST = "nnU-Net raw", "MONAI datalist dataset_0.json"


@dataclass(frozen=True)
class _Fake:
    """Where a case's files lie; a label with {structure} is a mask of each. ``more`` writes what else is there."""

    image: str
    label: str
    more: Callable[[Path, Dataset, Sequence[str]], None] = lambda root, card, cases: None


def _meta_csv(root: Path, card: Dataset, cases: Sequence[str]) -> None:
    lines = [
        "image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology;pathology_location"
    ]
    lines += [f"{case};60;m;A;ct abdomen;{card.split_of(case)};siemens;s;120.0;no_pathology;" for case in cases]
    folder = root / "Totalsegmentator_dataset_v201"
    (folder / "meta.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")


_PAIRS = ("images/{case}.nii.gz", "labels/{case}.nii.gz")
_DECATHLON = "imagesTr/{case}.nii.gz", "labelsTr/{case}.nii.gz"
_TRUE = {
    ("btcv", "Synapse download"): _Fake(
        "RawData/Training/img/img{case}.nii.gz", "RawData/Training/label/label{case}.nii.gz"
    ),
    ("btcv", "MONAI folders"): _Fake("imagesTr/img{case}.nii.gz", "labelsTr/label{case}.nii.gz"),
    ("totalsegmentator", "a mask for each structure"): _Fake(
        "Totalsegmentator_dataset_v201/{case}/ct.nii.gz",
        "Totalsegmentator_dataset_v201/{case}/segmentations/{structure}.nii.gz",
        _meta_csv,
    ),
    ("abdomenatlas", "BDMAP folders"): _Fake("{case}/ct.nii.gz", "{case}/combined_labels.nii.gz"),
    ("abdomenatlas", "BDMAP folders, a mask for each structure"): _Fake(
        "{case}/ct.nii.gz", "{case}/segmentations/{structure}.nii.gz"
    ),
    ("wholebrain", "images and labels"): _Fake(*_PAIRS),
    ("wholebrain", "malf.templates"): _Fake("inst/extdata/{case}_SS.nii.gz", "inst/extdata/{case}_glm.nii.gz"),
    ("wholebrain", "MICCAI 2012 download"): _Fake(
        "{challenge}-images/{case}_3.nii.gz", "{challenge}-labels/{case}_3_glm.nii.gz"
    ),
    ("amos", "AMOS22 download"): _Fake("amos22/images{amos}/{case}.nii.gz", "amos22/labels{amos}/{case}.nii.gz"),
    ("msd-spleen", "Decathlon download"): _Fake(*(f"Task09_Spleen/{path}" for path in _DECATHLON)),
    ("msd-hippocampus", "Decathlon download"): _Fake(*(f"Task04_Hippocampus/{path}" for path in _DECATHLON)),
}
CARDS = tuple(dict.fromkeys(card for card, _ in _TRUE))
FAKES = (*_TRUE, *((card, layout) for card in CARDS for layout in (NNUNET, DATALIST)))
"""Every (card, layout) that can be written."""


def some_cases(card: Dataset) -> tuple[str, ...]:
    """The first two test cases and the last training case."""
    return (*card.names("test")[:2], card.names("train")[-1])


def fake_labels(card: Dataset, case: str) -> np.ndarray:
    """The label map of a case in the card's indices: every label is there."""
    indices = np.array([label.index for label in card.labels], np.uint16)
    flat = np.zeros(np.prod(SHAPE), np.uint16)
    flat[: len(indices)] = indices
    flat[len(indices) : 200] = np.resize(indices, max(0, 200 - len(indices)))
    return np.random.RandomState(zlib.crc32(case.encode())).permutation(flat).reshape(SHAPE)


def write_fake(card_name: str, layout_name: str, root: Path, cases: Sequence[str] = ()) -> Path:
    """Write cases of a card (none: see :func:`some_cases`) in one of its layouts below a folder; returns the folder."""
    card = open_card(card_name)
    cases = tuple(cases) or some_cases(card)
    _WRITERS.get(layout_name, _true)(card, layout_name, root, cases)
    return root


def _true(card: Dataset, layout: str, root: Path, cases: Sequence[str]) -> None:
    fake = _TRUE[card.name, layout]
    for case in cases:
        is_test = case in card.names("test")
        terms = {"case": case, "challenge": ("training", "testing")[is_test], "amos": ("Tr", "Va")[is_test]}
        labels = fake_labels(card, case)
        _write_image(labels, root / fake.image.format(**terms))
        if "{structure}" not in fake.label:
            write_nifti(_stored(card, labels), AFFINE, root / fake.label.format(**terms))
            continue
        for label in card.labels:
            mask = (labels == label.index).astype(np.uint8)
            write_nifti(mask, AFFINE, root / fake.label.format(**terms, structure=label.name))
    fake.more(root, card, cases)


def _nnunet(card: Dataset, layout: str, root: Path, cases: Sequence[str]) -> None:
    """Test cases in imagesTs; labels are numbered without gaps, as nnU-Net wants it: by the card's indices."""
    for case in cases:
        part, name = ("Tr", "Ts")[case in card.names("test")], f"BTCV_{case}" if card.name == "btcv" else case
        labels = fake_labels(card, case)
        _write_image(labels, root / f"images{part}" / f"{name}_0000.nii.gz")
        write_nifti(labels, AFFINE, root / f"labels{part}" / f"{name}.nii.gz")
    about = {
        "channel_names": {"0": card.modality},
        "labels": {"background": 0, **{label.name: label.index for label in card.labels}},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))


def _datalist(card: Dataset, layout: str, root: Path, cases: Sequence[str]) -> None:
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for case in cases:
        labels = fake_labels(card, case)
        _write_image(labels, root / f"scans/img{case}.nii.gz")
        write_nifti(_stored(card, labels), AFFINE, root / f"drawn/label{case}.nii.gz")
        row = {"image": f"scans/img{case}.nii.gz", "label": f"./drawn/label{case}.nii.gz"}
        lists["validation" if case in card.names("test") else "training"].append(row)
    (root / "dataset_0.json").write_text(json.dumps({"modality": {"0": "CT"}, **lists}))


_WRITERS = {NNUNET: _nnunet, DATALIST: _datalist}


def _write_image(labels: np.ndarray, file: Path) -> None:
    write_nifti((labels.astype(np.int16) * 10 - 50), AFFINE, file)


def _stored(card: Dataset, labels: np.ndarray) -> np.ndarray:
    """The values that files hold, with a voxel of each value that counts as background."""
    stored = np.zeros(card.labels[-1].index + 1, np.uint16)
    stored[[label.index for label in card.labels]] = [label.stored for label in card.labels]
    values = stored[labels]
    empty = np.flatnonzero(labels == 0)[: len(card.background)]
    values.flat[empty] = card.background
    return values
