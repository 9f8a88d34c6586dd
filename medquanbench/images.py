"""Read a NIfTI label map with its grid, and write one (floor 2)."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from medquanbench.files import is_whole_gzip, write_whole
from medquanbench.nifti_header import by, read_header
from medquanbench.values import RequestError


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (x, y, z) and affine (4, 4) from voxel index to world millimetres."""

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Voxel edge lengths in the order of the array's axes."""
        return tuple(float(v) for v in np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)))


@dataclass(frozen=True)
class LabelMap:
    """Labels (x, y, z) as integers, on their grid."""

    labels: np.ndarray
    grid: Grid


@dataclass(frozen=True)
class Image:
    """Grey values (x, y, z) as float32, on their grid."""

    values: np.ndarray
    grid: Grid


def _read(file: Path) -> tuple[np.ndarray, Grid]:
    header = read_header(file)
    try:
        values = np.asarray(nibabel.load(file).dataobj)
    except MemoryError:
        raise RequestError(f"{file} with its {by(header.shape)} voxels needs more memory than there is") from None
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        promise = f"not all of the {by(header.shape)} voxels that its header promises can be read"
        raise RequestError(f"{file} is damaged or cut off: {promise}") from error
    return values, Grid(header.shape, header.affine)


def check_whole(file: Path) -> None:
    """Compare a compressed file with its own checksum, which no reader of images does.

    Raises:
        RequestError: it is damaged or cut off.
    """
    if file.name.lower().endswith(".gz") and not is_whole_gzip(file):
        raise RequestError(f"{file} is damaged or cut off: its content does not match its checksum")


def read_image(file: Path) -> Image:
    """Read an image as it is on disk.

    Raises:
        RequestError: the file cannot be read, or holds NaN or infinity.
    """
    values, grid = _read(file)
    with np.errstate(over="ignore"):  # told below
        grey = values.astype(np.float32)
    n_bad = grey.size - int(np.isfinite(grey).sum()) if values.dtype.kind == "f" else 0
    if n_bad:
        raise RequestError(f"{file} holds NaN or infinity in {n_bad} of its {grey.size} voxels")
    return Image(grey, grid)


def read_labels(file: Path) -> LabelMap:
    """Read a label map. Values stored as floats are taken where they are whole numbers.

    Raises:
        RequestError: the file cannot be read, or holds values that are no labels (fractions, negatives, NaN).
    """
    values, grid = _read(file)
    whole = np.rint(values) if values.dtype.kind == "f" else values
    # NaN equals nothing, itself included.
    if not np.array_equal(whole, values) or whole.min() < 0 or whole.max() > 65535:
        first = str(values[(whole != values) | (values < 0) | (values > 65535)][0]).removesuffix(".0")
        raise RequestError(
            f"{file} is no label map: it holds {first}; its values must be whole numbers from 0 to 65535"
        )
    return LabelMap(np.ascontiguousarray(whole.astype(np.uint16)), grid)


def grid_of(file: Path) -> Grid:
    """The grid of an image file, from its header alone.

    Raises:
        RequestError: see :func:`medquanbench.nifti_header.read_header`.
    """
    header = read_header(file)
    return Grid(header.shape, header.affine)


def grid_difference(one: Grid, other: Grid, tolerance_mm: float = 0.01) -> str:
    """In what two grids differ, in words; empty where shapes are equal and no corner lies further apart than that."""
    if one.shape != other.shape:
        return f"{by(one.shape)} and {by(other.shape)} voxels"
    corners = np.array([[i * (n - 1) for i, n in zip(bits, one.shape)] + [1] for bits in np.ndindex(2, 2, 2)])
    apart_mm = float(np.abs(corners @ (one.affine - other.affine).T).max())
    return "" if apart_mm <= tolerance_mm else f"their affines lay the same voxel up to {apart_mm:.3g} mm apart"


def same_grid(one: Grid, other: Grid) -> bool:
    """True where two grids do not differ."""
    return not grid_difference(one, other)


def write_nifti(array: np.ndarray, affine: np.ndarray, file: Path) -> None:
    """Write a compressed NIfTI file, whole or not at all; the same array gives the same bytes."""
    write_whole(file, gzip.compress(nibabel.Nifti1Image(array, affine).to_bytes(), mtime=0))
