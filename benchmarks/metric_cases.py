"""The label maps that benchmarks/metrics.py measures: `python metric_cases.py DATA|- EDGE FOLDER`.

Written by a process of its own, so that the memory it needs is nobody else's: reference.npy, prediction.npy and
case.json for each case, in a folder of its own. A case whose data are not there is told instead.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

CT = "totalsegmentator-samples/example_seg_fast_force_split.nii.gz"
BRAIN = "wholebrain-oasis/labels/1000.nii.gz"
CT_EDGE, CT_LABELS, CT_SPACING_MM, CT_TOLERANCE_MM = 256, 117, 1.5, 3.0
BRAIN_SPACING_MM, BRAIN_TOLERANCE_MM = 1.0, 1.0
WIDE_TOLERANCE_MM = 7.0
SHIFT, ISLANDS = 20, 60


@dataclass(frozen=True)
class Case:
    """What is measured: a name, what it shows, isotropic spacing, tolerance, and the metrics that are timed on it."""

    name: str
    about: str
    spacing_mm: float
    tolerance_mm: float
    metrics: tuple[str, ...]
    collapsed: bool = False
    """Whether the prediction is one as a network gives that has lost its way."""


def main(data: str, edge: str, folder: str) -> None:
    missing = {}
    if data == "-":
        cases = _ct_cases(synthetic(int(edge)), "synthetic map")
    else:
        cases = _real_cases(Path(data), missing)
    for case, reference, prediction in cases:
        own = Path(folder) / case.name
        own.mkdir(parents=True)
        np.save(own / "reference.npy", reference)
        np.save(own / "prediction.npy", prediction)
        labels = np.unique(reference[reference > 0]).tolist()
        shared = np.intersect1d(labels, prediction).tolist()
        about = {"shape": reference.shape, "labels": labels, "labels_in_both": shared}
        (own / "case.json").write_text(json.dumps(asdict(case) | about))
        print(f"  {case.name}: {reference.shape}, {len(labels)} labels, {len(shared)} in both maps", flush=True)
    (Path(folder) / "missing.json").write_text(json.dumps(missing))


def _real_cases(data: Path, missing: dict[str, str]) -> Iterator[tuple[Case, np.ndarray, np.ndarray]]:
    if (data / CT).is_file():
        yield from _ct_cases(_ct(data / CT), f"{CT_LABELS}-label CT, {CT_EDGE}^3 at {CT_SPACING_MM} mm")
    else:
        missing["ct117"] = f"there is no {CT} in the data folder"
    if (data / BRAIN).is_file():
        reference = _brain(data / BRAIN)
        about = "whole brain, 132 regions at 1 mm"
        case = Case("brain", about, BRAIN_SPACING_MM, BRAIN_TOLERANCE_MM, ("nsd", "hd95"))
        yield case, reference, warped(reference, 0.8)
    else:
        missing["brain"] = f"there is no {BRAIN} in the data folder"


def _ct_cases(reference: np.ndarray, about: str) -> Iterator[tuple[Case, np.ndarray, np.ndarray]]:
    prediction = warped(reference, 1.2)
    both, nsd = ("nsd", "hd95"), ("nsd",)
    spacing, tolerance = CT_SPACING_MM, CT_TOLERANCE_MM
    yield Case("ct117", about, spacing, tolerance, both), reference, prediction
    noisy = f"the same, and {ISLANDS} islands where there is nothing"
    yield Case("ct117noisy", noisy, spacing, tolerance, both), reference, with_islands(prediction)
    shifted, away = np.roll(reference, SHIFT, 0), f"the same, shifted by {SHIFT} voxels"
    yield Case("shifted", away, spacing, tolerance, both, collapsed=True), reference, shifted
    yield Case("shifted7mm", away, spacing, WIDE_TOLERANCE_MM, nsd, collapsed=True), reference, shifted
    rest = f"nineteen blocks in twenty lost, {ISLANDS} islands"
    yield (
        Case("fragments", rest, spacing, tolerance, both, collapsed=True),
        reference,
        with_islands(fragments(reference)),
    )


def _ct(file: Path) -> np.ndarray:
    """A real label map at 3 mm, doubled, in a cube; its largest structures halved until there are enough."""
    import nibabel

    fine = np.asarray(nibabel.load(file).dataobj).round().astype(np.uint8).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    cube = np.zeros((CT_EDGE,) * 3, np.uint8)
    low = [(CT_EDGE - n) // 2 for n in fine.shape]
    cube[tuple(slice(a, a + n) for a, n in zip(low, fine.shape))] = fine
    return halved(cube, CT_LABELS)


def _brain(file: Path) -> np.ndarray:
    """A real label map of 132 regions; the card says which other values count as background."""
    import nibabel

    card = tomllib.loads((Path(__file__).resolve().parents[1] / "datasets" / "wholebrain.toml").read_text())
    labels = np.asarray(nibabel.load(file).dataobj).round().astype(np.uint8)
    labels[np.isin(labels, card["background"])] = 0
    return np.ascontiguousarray(labels)


def synthetic(edge: int) -> np.ndarray:
    """A ball in a cube, cut into eight structures of which some are halved."""
    place = np.indices((edge,) * 3) - (edge - 1) / 2
    octant = ((place > 0) * np.array([4, 2, 1])[:, None, None, None]).sum(axis=0) + 1
    return halved(np.where((place**2).sum(axis=0) < (0.4 * edge) ** 2, octant, 0).astype(np.uint8), 12)


def halved(label_map: np.ndarray, n_labels: int) -> np.ndarray:
    """Cut the largest structure across its longest axis into two, again and again."""
    label_map = label_map.copy()
    free = iter(np.setdiff1d(np.arange(1, 256), label_map).tolist())
    while np.count_nonzero(sizes := np.bincount(label_map.ravel(), minlength=256)[1:]) < n_labels:
        places = np.nonzero(label_map == sizes.argmax() + 1)
        axis = int(np.argmax([np.ptp(place) for place in places]))
        upper = places[axis] > np.median(places[axis])
        label_map[tuple(place[upper] for place in places)] = next(free)
    return label_map


def warped(label_map: np.ndarray, std_voxels: float, smooth: int = 8) -> np.ndarray:
    """The map, displaced by a smooth random field: what a good network gets wrong."""
    generator = np.random.default_rng(0)
    places = np.indices(label_map.shape, dtype=np.float32)
    for axis in range(3):
        coarse = ndimage.gaussian_filter(generator.normal(size=[max(4, n // smooth) for n in label_map.shape]), 1)
        zoom = [n / m for n, m in zip(label_map.shape, coarse.shape)]
        places[axis] += ndimage.zoom(coarse / coarse.std() * std_voxels, zoom, order=1)
    return ndimage.map_coordinates(label_map, places, order=0, mode="nearest")


def with_islands(label_map: np.ndarray) -> np.ndarray:
    """Small boxes of labels where they do not belong, which stretch the boxes that hold whole structures."""
    generator, label_map = np.random.default_rng(1), label_map.copy()
    labels = np.unique(label_map[label_map > 0])
    for _ in range(ISLANDS):
        low, size = generator.integers(0, np.array(label_map.shape) - 8), generator.integers(2, 8, 3)
        label_map[tuple(slice(a, a + n) for a, n in zip(low, size))] = generator.choice(labels)
    return label_map


def fragments(label_map: np.ndarray, block: int = 8) -> np.ndarray:
    """One block of voxels in twenty; background for the rest."""
    kept = np.random.default_rng(2).random([-(-n // block) for n in label_map.shape]) < 0.05
    for axis in range(3):
        kept = kept.repeat(block, axis)
    return label_map * kept[tuple(slice(n) for n in label_map.shape)]


if __name__ == "__main__":
    main(*sys.argv[1:])
