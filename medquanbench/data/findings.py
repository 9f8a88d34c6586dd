"""What can be found against a dataset's files, and how bad it is (floor 5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: an error makes scores wrong or impossible, a warning must be looked at, a note is told."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
KINDS: dict[str, tuple[Severity, str]] = {
    "missing": (_E, "cases that the card names and of which no file is there"),
    "unpaired": (_E, "cases of which a part of the files is there: an image without its label map, or the reverse"),
    "header": (_E, "files whose header cannot be used: no NIfTI, a voxel size of 0, a wrong unit"),
    "voxels": (_E, "files whose voxels cannot be used: cut off, damaged, NaN, fractions in a label map"),
    "grid": (_E, "label maps that lie on another grid than their image: shape, spacing or position"),
    "orientation": (_E, "label maps whose axes point elsewhere than their image's"),
    "values": (_E, "label maps with values that the card does not know"),
    "swapped": (_E, "images and label maps that stand in each other's place"),
    "constant": (_E, "images of one single value"),
    "duplicate": (_E, "one image under several names"),
    "contradiction": (_E, "one image under several names, with different label maps"),
    "leak": (_E, "patients on both sides of a split"),
    "split": (_E, "cases that the dataset's own table puts into another split than the card"),
    "extra": (_W, "files that belong to no case of the card"),
    "label-like": (_W, "images that look like a label map"),
    "empty": (_W, "label maps that hold no structure of the card"),
    "same-labels": (_W, "one label map under several names, with different images"),
    "sides": (_W, "label maps whose left structures lie to the right: the orientation may be wrong"),
    "thick": (_W, "voxels of more than 20 mm"),
    "rescanned": (_N, "patients with several cases in one split"),
    "overlap": (_N, "masks that share voxels: the one painted last has them"),
    "background": (_N, "values that the card counts as background"),
    "orientations": (_N, "images whose axes point elsewhere than those of most"),
    "spacings": (_N, "images whose voxels are four times larger or smaller than those of most"),
    "types": (_N, "files that hold another type of numbers than most"),
}
"""kind of finding -> (severity, what it is), in the order of the report."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: its kind (a key of ``KINDS``), case and file ("" where it is of no single one)."""

    kind: str
    case: str
    file: str
    sentence: str

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind][0]


@dataclass(frozen=True)
class CaseFacts:
    """What the files of one case are like.

    Attributes:
        shape, spacing_mm, orientation: of the image; empty where its header cannot be used.
        image_type, label_type: the numbers on disk, like ``int16``; a mask's for a folder of masks.
        n_bytes: of all files.
        image_sha256, reference_sha256: of the voxels; "" where they were not read, or could not be.
        n_voxels: (label index, voxels) of every label of the card; empty where they were not read.
        findings: what is wrong with the case by itself.
    """

    case: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    orientation: str
    image_type: str
    label_type: str
    n_bytes: int
    image_sha256: str
    reference_sha256: str
    n_voxels: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
