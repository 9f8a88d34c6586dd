"""Bad NIfTI files, as images and as labels."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np

from tests.bad_input.bad import WEB_PAGE, Bad, Place, header, save

# Places in the header of NIfTI-1: (offset, kind).
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, UNITS, SFORM = 40, 70, 76, 108, 112, 123, 280
TILT = np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
NO_VOLUME = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0)


def remove(file: Path) -> None:
    file.unlink()


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def dead_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("gone.nii.gz")


def content(data: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(data)


def cut(kept: int) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(file.read_bytes()[:kept])


def bit_flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-6] ^= 4  # in the checksum: what a flip elsewhere breaks hangs on how the file was compressed
    file.write_bytes(bytes(data))


def unpacked(file: Path) -> None:
    file.write_bytes(gzip.decompress(file.read_bytes()))


def fields(*changed: tuple[int, str, object]) -> Callable[[Path], None]:
    return lambda file: header(file, *changed)


def sizes(*shape: int) -> Callable[[Path], None]:
    return fields(*((DIM + 2 * place, "h", size) for place, size in enumerate((len(shape), *shape))))


def array(make: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> Callable[[Path], None]:
    return lambda file: save(make(np.asarray(nibabel.load(file).dataobj)), file, affine)


def colours(values: np.ndarray) -> np.ndarray:
    return np.zeros(values.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


def of(part: Callable[[Place], Path], damage: Callable[[Path], object]) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        damage(part(place))

    return spoil


# What can be wrong with any file, be it an image or a label map.
ANY = (
    ("that is missing", remove, "m2.nii.gz is missing"),
    ("that is a folder", folder, "m2.nii.gz is a folder"),
    ("that is a dead link", dead_link, "m2.nii.gz is a link to gone.nii.gz, which is missing"),
    ("that is empty", content(b""), "m2.nii.gz is no NIfTI file: it is empty"),
    ("that is a web page", content(WEB_PAGE), "it is a web page (a download that went wrong)"),
    ("that is a text, compressed", content(gzip.compress(b"no image" * 99)), "does not begin with a NIfTI header"),
    ("that is not compressed", unpacked, "it is not compressed with gzip, as its name says"),
    ("cut off in its header", cut(12), "is damaged or cut off: its header cannot be read"),
    ("cut off in its checksum", cut(-6), "is damaged or cut off: its content does not match its checksum"),
    ("with a flipped bit", bit_flip, "is damaged or cut off: its content does not match its checksum"),
    ("with two axes", sizes(14, 12), "its header names 2 axes (14 x 12); three are needed"),
    ("with four axes", sizes(14, 12, 5, 2), "its header names 4 axes (14 x 12 x 5 x 2); three are needed"),
    ("with an empty axis", sizes(14, 0, 10), "3 axes (14 x 0 x 10); three are needed, none of them empty"),
    ("with a negative axis", sizes(14, 12, -10), "none of them empty"),
    ("whose header promises terabytes", sizes(32767, 32767, 32767), "its header promises 32767 x 32767 x 32767 voxels"),
    ("of complex numbers", array(lambda v: v.astype(np.complex64)), "it holds complex numbers"),
    ("of colours", array(colours), "it holds colours"),
    ("of an unknown type", fields((DATATYPE, "h", 77)), "the unknown type of numbers 77"),
    ("scaled by infinity", fields((SLOPE, "f", np.inf)), "its header scales the values by inf"),
    ("with a voxel size of 0", fields((PIXDIM + 8, "f", 0.0)), "gives the voxel sizes 1 x 0 x 2"),
    ("with a negative voxel size", fields((PIXDIM + 4, "f", -1.0)), "gives the voxel sizes -1 x 1 x 2"),
    ("with a voxel size of NaN", fields((PIXDIM + 12, "f", np.nan)), "gives the voxel sizes 1 x 1 x nan"),
    ("in metres", fields((UNITS, "B", 1)), "its header gives lengths in metres; millimetres are needed"),
    ("in micrometres", fields((UNITS, "B", 3)), "its header gives lengths in micrometres"),
    ("in metres, and it does not say so", array(lambda v: v, np.diag([1e-3, 1e-3, 2e-3, 1])), "(is it another unit?)"),
    ("with NaN in its affine", fields((SFORM, "f", np.nan)), "its affine holds NaN or infinity"),
    (
        "with an affine of zeros",
        fields(*((SFORM + 4 * k, "f", 0.0) for k in range(12))),
        "makes voxels of 0 x 0 x 0 mm; between 0.01 and 100 mm is needed",
    ),
    (
        "with an affine that is singular",
        fields(*((SFORM + 4 * k, "f", value) for k, value in enumerate(NO_VOLUME))),
        "its axes are 90 degrees off a right angle",
    ),
    ("with a gantry tilt", array(lambda v: v, TILT), "its axes are 14 degrees off a right angle (a gantry tilt"),
)


def flipped(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.astype(np.float32)
    changed[3, 4, 5] = value
    return changed


def one_voxel(value: float) -> Callable[[Path], None]:
    return array(partial(flipped, value=value))


def more_slices(place: Place) -> None:
    for file in (place.image(), place.label()):
        sizes(14, 12, 20)(file)


def several(place: Place) -> None:
    for case in ("m1", "m2", "m3", "m4"):
        sizes(14, 12)(place.label(case))
    fields((PIXDIM + 8, "f", 0.0))(place.image("m4"))


def several_with_nan(place: Place) -> None:
    for case in ("m1", "m3"):
        one_voxel(np.nan)(place.image(case))


def image_of(values: Callable[[np.ndarray], np.ndarray]) -> Callable[[Place], None]:
    return of(Place.image, array(values))


IMAGES = {
    "Images": [
        *(Bad(f"an image {what}", of(Place.image, damage), words) for what, damage, words in ANY),
        Bad("an image of NaN", image_of(lambda v: np.full(v.shape, np.nan, np.float32)), "in 1680 of its 1680 voxels"),
        Bad(
            "an image with one NaN", of(Place.image, one_voxel(np.nan)), "holds NaN or infinity in 1 of its 1680 voxels"
        ),
        Bad(
            "an image with infinity",
            of(Place.image, one_voxel(np.inf)),
            "holds NaN or infinity in 1 of its 1680 voxels",
        ),
        Bad("an image too large for its numbers", image_of(lambda v: v + 1e300), "holds NaN or infinity in 1680 of"),
        Bad("headers that promise more slices", more_slices, "not all of the 14 x 12 x 20 voxels that its header"),
        Bad("several bad files", several, "5 files of micro are wrong, first data/labels/m1.nii.gz cannot be used"),
        Bad(
            "several images with NaN", several_with_nan, "2 files of micro are wrong, first data/images/m1.nii.gz holds"
        ),
    ],
    "Labels": [
        *(Bad(f"a label map {what}", of(Place.label, damage), words) for what, damage, words in ANY),
        Bad("a label map of fractions", of(Place.label, one_voxel(0.5)), "is no label map: it holds 0.5"),
        Bad("a label map with NaN", of(Place.label, one_voxel(np.nan)), "is no label map: it holds nan"),
        Bad("a label map with a negative value", of(Place.label, one_voxel(-1)), "is no label map: it holds -1"),
        Bad("a label map beyond 16 bits", of(Place.label, one_voxel(70000)), "is no label map: it holds 70000"),
        Bad(
            "labels that the card does not know",
            of(Place.label, one_voxel(9)),
            "m2.nii.gz holds the values 9, which the card of micro does not know",
        ),
        Bad(
            "a label map of another shape",
            of(Place.label, array(lambda v: v[:-1])),
            "lie on different grids: 14 x 12 x 10 and 13 x 12 x 10 voxels",
        ),
        Bad(
            "a label map with another affine",
            of(Place.label, array(lambda v: v, np.diag([-1.0, -1.0, 2.5, 1.0]))),
            "lie on different grids: their affines lay the same voxel up to 4.5 mm apart",
        ),
    ],
}
