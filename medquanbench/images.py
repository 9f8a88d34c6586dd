"""Read a NIfTI label map with its grid, and write one (floor 2)."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from medquanbench.files import write_whole
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


def open_nifti(file: Path) -> nibabel.spatialimages.SpatialImage:
    """Open a NIfTI file and look at its header.

    Raises:
        RequestError: it is missing, unreadable, not three-dimensional, or empty.
    """
    try:
        image = nibabel.load(file)
    except FileNotFoundError:
        raise RequestError(f"no image file {file}") from None
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise RequestError(f"{file} cannot be read as an image: {error}") from error
    if len(image.shape) != 3 or 0 in image.shape:
        raise RequestError(f"{file} has shape {image.shape}; three axes are needed, none of them empty")
    return image


def _read(file: Path) -> tuple[np.ndarray, Grid]:
    image = open_nifti(file)
    try:
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RequestError(f"{file} is damaged: {error}") from error
    return values, Grid(image.shape, image.affine.astype(np.float64))


def read_image(file: Path) -> Image:
    """Read an image as it is on disk.

    Raises:
        RequestError: the file cannot be read.
    """
    values, grid = _read(file)
    return Image(values.astype(np.float32), grid)


def read_labels(file: Path) -> LabelMap:
    """Read a label map. Values stored as floats are taken where they are whole numbers.

    Raises:
        RequestError: the file cannot be read, or holds values that are no labels (fractions, negatives, NaN).
    """
    values, grid = _read(file)
    whole = np.rint(values) if values.dtype.kind == "f" else values
    if values.dtype.kind not in "fiu" or not np.array_equal(whole, values) or whole.min() < 0 or whole.max() > 65535:
        raise RequestError(f"{file} is no label map: its values must be whole numbers from 0 to 65535")
    return LabelMap(np.ascontiguousarray(whole.astype(np.uint16)), grid)


def grid_of(file: Path) -> Grid:
    """The grid of an image file, from its header alone."""
    image = open_nifti(file)
    return Grid(image.shape, image.affine.astype(np.float64))


def same_grid(one: Grid, other: Grid, tolerance_mm: float = 0.01) -> bool:
    """True where shapes are equal and no corner of the volume lies more than the tolerance apart."""
    if one.shape != other.shape:
        return False
    corners = np.array([[i * (n - 1) for i, n in zip(bits, one.shape)] + [1] for bits in np.ndindex(2, 2, 2)])
    return float(np.abs(corners @ (one.affine - other.affine).T).max()) <= tolerance_mm


def write_nifti(array: np.ndarray, affine: np.ndarray, file: Path) -> None:
    """Write a compressed NIfTI file, whole or not at all; the same array gives the same bytes."""
    write_whole(file, gzip.compress(nibabel.Nifti1Image(array, affine).to_bytes(), mtime=0))
