"""Data roots in which the dataset is not, or not so that it can be used."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np

from tests.bad_input.bad import Bad, Place, save

CASES = ("t1", "c1", "m1", "m2", "m3", "m4", "m5", "m6", "m7")


def nnunet(about: dict[str, object]) -> object:
    """The same cases as nnU-Net raw."""

    def spoil(place: Place) -> list[str]:
        root = place.folder / "Dataset001_Micro"
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        for case in CASES:
            shutil.copy(place.image(case), root / "imagesTr" / f"{case}_0000.nii.gz")
            shutil.copy(place.label(case), root / "labelsTr" / f"{case}.nii.gz")
        (root / "dataset.json").write_text(json.dumps(about))
        return ["--data-root", str(root)]

    return spoil


def datalist(content: object) -> object:
    """A datalist as the data root."""

    def spoil(place: Place) -> list[str]:
        (place.data / "list.json").write_text(json.dumps(content))
        return ["--data-root", str(place.data / "list.json")]

    return spoil


def masks(place: Place) -> None:
    """The same cases with a mask for each structure, and a card that says so."""
    text = place.card.read_text().replace("labels/{case}.nii.gz", "masks/{case}/{structure}.nii.gz")
    place.card.write_text(text)
    for case in CASES:
        image = nibabel.load(place.label(case))
        values = np.asarray(image.dataobj)
        (place.data / "masks" / case).mkdir(parents=True)
        for index, name in enumerate(("low", "high"), 1):
            mask = nibabel.Nifti1Image((values == index).astype(np.uint8), image.affine)
            nibabel.save(mask, place.data / "masks" / case / f"{name}.nii.gz")


def missing_mask(place: Place) -> None:
    masks(place)
    (place.data / "masks" / "m2" / "high.nii.gz").unlink()


def mask_of_255(place: Place) -> None:
    masks(place)
    file = place.data / "masks" / "m2" / "high.nii.gz"
    save(np.asarray(nibabel.load(file).dataobj) * np.uint8(255), file)


def mask_on_another_grid(place: Place) -> None:
    masks(place)
    file = place.data / "masks" / "m2" / "high.nii.gz"
    save(np.asarray(nibabel.load(file).dataobj), file, np.eye(4))


def labels_of_floats(place: Place) -> None:
    labels = np.asarray(nibabel.load(place.label()).dataobj)
    save(labels.astype(np.float32) * np.float32(0.9999), place.label())


FOLDERS = {
    "Folders of a dataset": [
        Bad(
            "nnU-Net raw that numbers its labels otherwise",
            nnunet({"labels": {"background": 0, "low": 2, "high": 1}}),
            "as nnU-Net raw in Dataset001_Micro cannot be used: it numbers 'low' 2, the card 1",
        ),
        Bad(
            "nnU-Net raw with two channels",
            nnunet({"channel_names": {"0": "T1", "1": "T2"}}),
            "its images have 2 channels; one is needed",
        ),
        Bad(
            "a datalist that is none", datalist({"name": "Micro"}), "list.json is no MONAI datalist: it has none of the"
        ),
        Bad("a datalist of other cases", datalist({"training": []}), "m1 in list.json is missing"),
        Bad(
            "a datalist that leads out of its folder",
            datalist({"training": [{"image": "/images/m1.nii.gz", "label": "labels/m1.nii.gz"}]}),
            "'/images/m1.nii.gz' leaves the folder of list.json",
        ),
        Bad("a mask that is missing among others", missing_mask, "masks/m2/high.nii.gz is missing"),
        Bad(
            "a mask of 0 and 255",
            mask_of_255,
            "masks/m2/high.nii.gz holds the value 255; a mask (here of high) holds 1",
        ),
        Bad("a mask on another grid", mask_on_another_grid, "masks/m2/high.nii.gz lie on different grids"),
        Bad("labels of 0.9999", labels_of_floats, "m2.nii.gz is no label map: it holds 0.99"),
    ],
}
