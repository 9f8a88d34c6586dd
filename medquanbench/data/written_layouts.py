"""The layouts in which ``data prepare`` writes a dataset: nnU-Net raw, MONAI datalist (floor 5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from medquanbench.dataset import Dataset

ENDING = ".nii.gz"
TRAINING, VALIDATION, TEST = "training", "validation", "test"
# What a part of a split is for, by the last word of its name. What is calibrated on is training data.
_ROLES = {"val": VALIDATION, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True)
class Target:
    """One case of what is written: what it is for, and its files below the output folder."""

    case: str
    role: str
    image: str
    label: str


@dataclass(frozen=True)
class Written:
    """A layout to write: where a case's files go (case, role), and the documents beside them (file -> text).

    refuses_gaps: who trains on this layout and takes no label indices with gaps; empty where nobody minds.
    """

    place: Callable[[str, str], Target]
    documents: Callable[[Dataset, tuple[Target, ...]], dict[str, str]]
    refuses_gaps: str = ""


def role_of(part: str) -> str:
    """What a part of a split is for: ``training``, ``validation`` or ``test``."""
    return _ROLES.get(part.rpartition("-")[2], TRAINING)


def _folders(role: str) -> tuple[str, str]:
    end = "Ts" if role == TEST else "Tr"
    return f"images{end}", f"labels{end}"


def _nnunet_place(case: str, role: str) -> Target:
    images, labels = _folders(role)
    return Target(case, role, f"{images}/{case}_0000{ENDING}", f"{labels}/{case}{ENDING}")


def _nnunet_documents(dataset: Dataset, targets: tuple[Target, ...]) -> dict[str, str]:
    """dataset.json (MIC-DKFZ/nnUNet, documentation/reference/dataset-format.md), splits_final.json for validation.

    nnU-Net reads the splits beside its preprocessed data: that file is to be copied there.
    """
    cases = {role: [target.case for target in targets if target.role == role] for role in (TRAINING, VALIDATION, TEST)}
    about = {
        "channel_names": {"0": dataset.modality},
        "labels": {"background": 0} | {label.name: label.index for label in dataset.labels},
        "numTraining": len(cases[TRAINING]) + len(cases[VALIDATION]),
        "file_ending": ENDING,
        **_about(dataset),
        "cases": cases,  # nnU-Net does not read it
    }
    documents = {"dataset.json": _text(about)}
    if cases[VALIDATION]:
        documents["splits_final.json"] = _text([{"train": cases[TRAINING], "val": cases[VALIDATION]}])
    return documents


def _monai_place(case: str, role: str) -> Target:
    images, labels = _folders(role)
    return Target(case, role, f"{images}/{case}{ENDING}", f"{labels}/{case}{ENDING}")


def _monai_documents(dataset: Dataset, targets: tuple[Target, ...]) -> dict[str, str]:
    """dataset_0.json, as monai.data.load_decathlon_datalist reads it."""
    lists = {
        role: [{"image": target.image, "label": target.label} for target in targets if target.role == role]
        for role in (TRAINING, VALIDATION, TEST)
    }
    about = {
        **_about(dataset),
        "modality": {"0": dataset.modality},
        "labels": {"0": "background"} | {str(label.index): label.name for label in dataset.labels},
        "numTraining": len(lists[TRAINING]),
        "numTest": len(lists[TEST]),
        **lists,
    }
    return {"dataset_0.json": _text(about)}


def _about(dataset: Dataset) -> dict[str, str]:
    return {
        "name": dataset.name,
        "description": dataset.title,
        "reference": dataset.source,
        "licence": dataset.licence,
        "release": f"card version {dataset.version}",
    }


def _text(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


LAYOUTS = {
    # nnUNet, experiment_planning/verify_dataset_integrity.py: "Labels must be in consecutive order".
    "nnunet": Written(_nnunet_place, _nnunet_documents, refuses_gaps="nnU-Net's training"),
    "monai": Written(_monai_place, _monai_documents),
}
