"""What the header of a NIfTI file tells, looked at before anything is computed (floor 2).

nibabel mends a header that breaks the standard (a voxel size of 0 becomes 1 mm) and says so in its log. A score must
not hang on a guess, so that the header is read here as it is, and what breaks the standard is refused.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from medquanbench.files import disguise, obstacle
from medquanbench.values import RequestError

# sizeof_hdr, the first number of the file -> the class that reads it, and the magic word of a single file
_KINDS = {348: (nibabel.Nifti1Header, b"n+1"), 540: (nibabel.Nifti2Header, b"n+2")}
_UNITS = {1: "metres", 3: "micrometres"}
# Between a tenth of a micro-CT's voxel and ten times a thick slice: beyond, lengths are in another unit.
_SPACING_MM = (0.01, 100.0)
_RIGHT_ANGLE_DEG = 0.01  # what rounding an orientation to four digits makes of a right angle is less
_DEFLATE_RATIO = 1032  # zlib's limit: a compressed byte stands for at most so many


@dataclass(frozen=True)
class Header:
    """What a header gives, found usable.

    Attributes:
        shape: (x, y, z); ``affine`` (4, 4): from voxel index to world millimetres.
        type: the numbers on disk, before the header scales them; ``n_bytes``: length of the file, unpacked.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    type: np.dtype
    n_bytes: int


def read_header(file: Path) -> Header:
    """Read the header of a NIfTI file and look at all that it tells.

    Raises:
        RequestError: the file is missing or no NIfTI; it has not three axes, one of them is empty, or it is too small
            for its header; a voxel is no real number; the grid has no size, no sane unit, or no right angles.
    """
    hidden = obstacle(file)
    if hidden:
        raise RequestError(f"no image file {file}: it {hidden}" if hidden != "is missing" else f"no image file {file}")
    header = _parse(file)
    try:
        problem = _wrong_shape(header) or _wrong_numbers(header) or _wrong_size(header, file) or _wrong_lengths(header)
        affine = np.eye(4) if problem else _as_nibabel(header).get_best_affine().astype(np.float64)
        problem = problem or _wrong_affine(affine)
    except (nibabel.spatialimages.HeaderDataError, ValueError, OverflowError):
        problem = "its header is damaged"
    if problem:
        raise RequestError(f"{file} cannot be used: {problem}")
    return Header(tuple(map(int, header.get_data_shape())), affine, header.get_data_dtype(), _n_bytes(header))


def _as_nibabel(header: nibabel.Nifti1Header) -> nibabel.Nifti1Header:
    # What of the standard is left to mend now (qfac 0 stands for 1) is mended as nibabel does for MONAI.
    return type(header)(header.binaryblock, endianness=header.endianness, check=True)


def by(numbers: tuple[int, ...]) -> str:
    """A shape in words: ``14 x 12 x 10``."""
    return " x ".join(map(str, numbers))


def _parse(file: Path) -> nibabel.Nifti1Header:
    block = _first_bytes(file)
    for order in ("little", "big"):
        kind, magic = _KINDS.get(int.from_bytes(block[:4], order), (None, b""))
        if kind is not None and len(block) >= kind.sizeof_hdr:
            header = kind(block[: kind.sizeof_hdr], endianness={"little": "<", "big": ">"}[order], check=False)
            if header["magic"].item()[:3] != magic:
                raise RequestError(
                    f"{file} is no NIfTI file, or the header of a pair; a single .nii or .nii.gz is needed"
                )
            return header
    raise RequestError(f"{file} is no NIfTI file: it does not begin with a NIfTI header")


def _first_bytes(file: Path) -> bytes:
    packed = file.name.lower().endswith(".gz")
    mask = disguise(file)
    if mask and not (packed and mask.startswith("compressed")):
        what = f"it is {mask}" + "; its name must end in .nii.gz" * mask.startswith("compressed")
        raise RequestError(f"{file} is no NIfTI file: {what}")
    try:
        with gzip.open(file) if packed else open(file, "rb") as stream:
            return stream.read(max(_KINDS))
    except gzip.BadGzipFile:
        raise RequestError(f"{file} is no NIfTI file: it is not compressed with gzip, as its name says") from None
    except (OSError, EOFError, zlib.error):
        raise RequestError(f"{file} is damaged or cut off: its header cannot be read") from None


def _wrong_shape(header: nibabel.Nifti1Header) -> str:
    n_axes = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : 1 + max(n_axes, 0)])
    if n_axes != 3 or min(shape) < 1:
        there = f"its header names {n_axes} axes" + f" ({by(shape)})" * (0 < n_axes < 8)
        return f"{there}; three are needed, none of them empty"
    return ""


def _wrong_numbers(header: nibabel.Nifti1Header) -> str:
    try:
        kind = header.get_data_dtype()
    except (nibabel.spatialimages.HeaderDataError, KeyError):
        return f"its header has the unknown type of numbers {int(header['datatype'])}"
    if kind.kind not in "fiu" or kind.itemsize > 8:
        names = {"c": "complex numbers", "V": "colours", "f": "floats of 128 bits"}
        return f"it holds {names.get(kind.kind, 'no numbers')}; one number of at most 64 bits a voxel is needed"
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if math.isinf(slope) or (slope != 0 and not math.isnan(slope) and not math.isfinite(intercept)):
        return f"its header scales the values by {slope:g} and shifts them by {intercept:g}"
    return ""


def _wrong_size(header: nibabel.Nifti1Header, file: Path) -> str:
    shape, size = _shape(header), file.stat().st_size
    promised, packed = _n_bytes(header), file.name.lower().endswith(".gz")
    if promised > (size * _DEFLATE_RATIO if packed else size):
        return f"its header promises {by(shape)} voxels, {promised} bytes, and the file is too small for them"
    return ""


def _shape(header: nibabel.Nifti1Header) -> tuple[int, ...]:
    return tuple(int(n) for n in header["dim"][1:4])


def _n_bytes(header: nibabel.Nifti1Header) -> int:
    return int(header["vox_offset"]) + math.prod(_shape(header)) * header.get_data_dtype().itemsize


def _wrong_lengths(header: nibabel.Nifti1Header) -> str:
    sizes = [float(size) for size in header["pixdim"][1:4]]
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        return f"its header gives the voxel sizes {' x '.join(f'{size:g}' for size in sizes)} (pixdim)"
    unit = _UNITS.get(int(header["xyzt_units"]) & 7)
    return f"its header gives lengths in {unit}; millimetres are needed" if unit else ""


def _wrong_affine(affine: np.ndarray) -> str:
    if not np.isfinite(affine).all():
        return "its affine holds NaN or infinity"
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if edges.min() < _SPACING_MM[0] or edges.max() > _SPACING_MM[1]:
        there, (low, high) = " x ".join(f"{edge:.3g}" for edge in edges), _SPACING_MM
        return f"its affine makes voxels of {there} mm; between {low:g} and {high:g} mm is needed (is it another unit?)"
    cosines = (affine[:3, :3] / edges).T @ (affine[:3, :3] / edges) - np.eye(3)
    tilt = math.degrees(math.asin(min(1.0, float(np.abs(cosines).max()))))
    if tilt > _RIGHT_ANGLE_DEG:
        return (
            f"its axes are {tilt:.3g} degrees off a right angle (a gantry tilt, or a singular affine); "
            "resample it to a grid with right angles"
        )
    return ""
