"""Look at the files of one case: their headers, and their voxels where that is asked (floor 5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from medquanbench.data.findings import CaseFacts, Finding
from medquanbench.data.voxel_check import content_sha256, looks_like_labels, side_pairs, wrong_sides
from medquanbench.dataset import Dataset
from medquanbench.images import Grid, LabelMap, check_whole, grid_difference, read_image, read_labels
from medquanbench.nifti_header import Header, read_header
from medquanbench.values import Case, RequestError

_THICK_MM = 20.0
_N_TOLD = 5  # of many values or files, so many are named


def look_at(case: Case, dataset: Dataset, deep: bool) -> CaseFacts:
    """Read the headers of a case's files; with ``deep``, where they are usable, all voxels, one file at a time.

    Nothing raises for bad data: what is wrong is in the findings.
    """
    look = _Look(case, dataset)
    headers = {file: header for file in case.files if (header := look.header(file))}
    image = headers.get(case.inputs[0])
    facts = CaseFacts(case.name, (), (), "", "", "", _n_bytes(case), "", "", (), ())
    if image is not None:
        grids = {file: Grid(header.shape, header.affine) for file, header in headers.items()}
        look.other_grids(case.inputs[0], grids)
        look.thick(grids[case.inputs[0]])
        label = next((header for file, header in headers.items() if file not in case.inputs), None)
        facts = replace(
            facts,
            shape=image.shape,
            spacing_mm=grids[case.inputs[0]].spacing_mm,
            orientation=_axes(image),
            image_type=image.type.name,
            label_type=label.type.name if label else "",
        )
    if deep:
        facts = look.voxels(facts, headers)
    return replace(facts, findings=tuple(look.findings))


def _n_bytes(case: Case) -> int:
    return sum(file.stat().st_size for file in case.files if file.is_file())


def _axes(grid: Grid | Header) -> str:
    return "".join(nibabel.aff2axcodes(grid.affine))


class _Look:
    """One look at a case: it goes from file to file and collects what is wrong."""

    def __init__(self, case: Case, dataset: Dataset) -> None:
        self.case, self.dataset = case, dataset
        self.findings: list[Finding] = []

    def tell(self, kind: str, file: Path, sentence: str) -> None:
        root = f"{self.dataset.root}/"
        name = str(file).removeprefix(root)
        self.findings.append(Finding(kind, self.case.name, name, sentence.replace(root, "")))

    def header(self, file: Path) -> Header | None:
        """The header of a file; None where it, or the length that it promises, is wrong."""
        try:
            header = read_header(file)
            if _may_be_cut_off(file, header):
                check_whole(file)
            return header
        except RequestError as error:
            self.tell("voxels" if "damaged or cut off" in str(error) else "header", file, str(error))
            return None

    def other_grids(self, image: Path, grids: dict[Path, Grid]) -> None:
        """Files that do not lie on the image's grid; one finding for all masks of a case."""
        others = [(file, grid, grid_difference(grids[image], grid)) for file, grid in grids.items()]
        others = [(file, grid, differs) for file, grid, differs in others if differs]
        if not others:
            return
        file, grid, differs = others[0]
        more = f" (and {len(others) - 1} more files of this case)" * (len(others) > 1)
        here, there = _axes(grids[image]), _axes(grid)
        if here != there:
            differs = f"its axes point to {there} and those of {image} to {here}: patients would be mirrored or turned"
            self.tell("orientation", file, f"{file} lies otherwise than its image: {differs}{more}")
        else:
            self.tell("grid", file, f"{file} and {image} lie on different grids: {differs}{more}")

    def thick(self, grid: Grid) -> None:
        if max(grid.spacing_mm) > _THICK_MM:
            edges = " x ".join(f"{edge:g}" for edge in grid.spacing_mm)
            file = self.case.inputs[0]
            self.tell("thick", file, f"{file} has voxels of {edges} mm; is that another unit?")

    def voxels(self, facts: CaseFacts, headers: dict[Path, Header]) -> CaseFacts:
        """Read the voxels of all files whose headers are usable, and add what they tell to the facts."""
        images = [self.image(file) if file in headers else ("", False) for file in self.case.inputs]
        image_sha256, like_labels = images[0]
        reference = (
            self.reference(like_labels) if set(self.case.files) - set(self.case.inputs) <= set(headers) else None
        )
        if reference is None:
            return replace(facts, image_sha256=image_sha256)
        counts = _histogram(reference.labels)
        n_voxels = tuple((label.index, int(counts[label.index])) for label in self.dataset.labels)
        if not any(n for _, n in n_voxels):
            self.tell("empty", self.case.target, f"{self.case.target} holds no structure of the card")
        self.sides(reference)
        checksum = content_sha256(reference.labels)
        return replace(facts, image_sha256=image_sha256, reference_sha256=checksum, n_voxels=n_voxels)

    def reference(self, image_like_labels: bool) -> LabelMap | None:
        """The reference in the card's indices; None where there is none, or none that can be used."""
        if self.case.target is None:
            return None
        return self.masks() if self.case.masks else self.label_map(image_like_labels)

    def image(self, file: Path) -> tuple[str, bool]:
        """The checksum of an image's voxels ("" where they cannot be used), and whether it looks like a label map."""
        try:
            check_whole(file)
            values = read_image(file).values
        except RequestError as error:
            self.tell("voxels", file, str(error))
            return "", False
        if values.min() == values.max():
            self.tell("constant", file, f"{file} holds nothing but the value {values.flat[0]:g}")
            return content_sha256(values), False
        like_labels = looks_like_labels(values)
        if like_labels:
            self.tell("label-like", file, f"{file} holds few values in large pieces, like a label map")
        return content_sha256(values), like_labels

    def label_map(self, image_like_labels: bool) -> LabelMap | None:
        """The label map in the card's indices; None where it is none."""
        file = self.case.target
        try:
            check_whole(file)
            stored = read_labels(file)
        except RequestError as error:
            self.tell("voxels", file, str(error))
            self.swapped(image_like_labels)
            return None
        counts = _histogram(stored.labels)
        index_of = {label.stored: label.index for label in self.dataset.labels}
        seen = np.flatnonzero(counts).tolist()
        background = [value for value in seen if value in self.dataset.background and value]
        unknown = [value for value in seen if value and value not in index_of and value not in background]
        if background:
            voxels = int(counts[background].sum())
            self.tell("background", file, f"{file}: {_listed(background)} in {voxels} voxels count as background")
        if unknown:
            what = f"the value{'s' * (len(unknown) > 1)} {_listed(unknown)}, which the card does not know"
            self.tell("values", file, f"{file} holds {what}")
            if len(unknown) > len(index_of):  # grey values: what else it holds means nothing
                return self.swapped(image_like_labels)
        table = np.zeros(counts.size, np.uint16)
        for value, index in index_of.items():
            table[value] = index
        for slab in stored.labels:
            slab[:] = table[slab]
        return stored

    def swapped(self, image_like_labels: bool) -> None:
        if image_like_labels:
            image, file = self.case.inputs[0], self.case.target
            self.tell("swapped", file, f"{image} looks like a label map and {file} does not: they may be swapped")

    def masks(self) -> LabelMap | None:
        """The masks of a case as one label map, painted in their order; None where one of them is no mask."""
        painted: LabelMap | None = None
        n_over, bad = 0, False
        for index, file in self.case.masks:
            mask = self.mask(file)
            if mask is None or (painted is not None and mask.labels.shape != painted.labels.shape):
                bad = True  # another shape has been told from the headers
                continue
            painted = painted or LabelMap(np.zeros_like(mask.labels), mask.grid)
            inside = mask.labels == 1
            n_over += int(np.count_nonzero(painted.labels[inside]))
            painted.labels[inside] = index
        if n_over:
            self.tell("overlap", self.case.target, f"masks share {n_over} voxels; the one painted last has them")
        return None if bad else painted

    def mask(self, file: Path) -> LabelMap | None:
        try:
            check_whole(file)
            mask = read_labels(file)
        except RequestError as error:
            self.tell("voxels", file, str(error))
            return None
        if mask.labels.max() > 1:
            seen = np.flatnonzero(_histogram(mask.labels)).tolist()
            self.tell("values", file, f"{file} holds the values {_listed(seen)}; a mask holds 0 and 1")
            return None
        return mask

    def sides(self, reference: LabelMap) -> None:
        wrong, there = wrong_sides(reference.labels, reference.grid.affine, side_pairs(self.dataset.labels))
        if wrong * 2 > there:
            pairs = f"in {wrong} of the {there} pairs of left and right structures"
            target = self.case.target
            self.tell("sides", target, f"{pairs} of {target} the left one lies to the patient's right")


def _listed(values: Sequence[int]) -> str:
    more = len(values) - _N_TOLD
    return ", ".join(map(str, values[:_N_TOLD])) + f" and {more} more" * (more > 0)


def _histogram(labels: np.ndarray) -> np.ndarray:
    """Voxels of each value from 0 to 65535."""
    counts = np.zeros(2**16, np.int64)
    for slab in labels:  # numpy makes 8 bytes of each index: not of the whole volume at once
        counts += np.bincount(slab.ravel(), minlength=counts.size)
    return counts


def _may_be_cut_off(file: Path, header: Header) -> bool:
    """Whether a compressed file's last four bytes, its length unpacked, differ from what its header promises.

    That costs nothing, and is not proof: a file may be made of several compressed pieces.
    """
    if not file.name.lower().endswith(".gz"):
        return False
    with open(file, "rb") as stream:
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little") != header.n_bytes % 2**32
