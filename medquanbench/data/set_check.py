"""What only many cases together tell: missing and extra files, duplicates, leaks, outliers (floor 5)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import median

from medquanbench.data.findings import CaseFacts, Finding
from medquanbench.dataset import Census, Dataset
from medquanbench.layouts import STRUCTURE, Pair

_FAR_FACTOR = 4.0
_FEW = 5  # of fewer cases none is like "most"
_CALIBRATION, _TEST = "calibration", "test"
_TABLE = "meta.csv"  # TotalSegmentator's, which names the split of a case


def census_findings(dataset: Dataset, census: Census, chosen: Iterable[str]) -> Iterator[Finding]:
    """Cases of which all or some files are missing, and files that belong to no case."""
    lacking: dict[str, list[Path]] = {}
    for missing in census.missing:
        lacking.setdefault(missing.case, []).append(missing.file)
    pairs = {pair.case: pair for pair in dataset.pairs}
    part_of = {case: part for part, cases in reversed(dataset.split) for case in cases}
    for case in chosen:
        if case in lacking:
            yield _missing(dataset, part_of[case], pairs[case], lacking[case])
    yield from _extra(dataset, census.extra)


def _extra(dataset: Dataset, files: Sequence[Path]) -> Iterator[Finding]:
    """Files that belong to no case; a folder of such files and no others is one finding."""
    folders = {(dataset.root / path).parent for pair in dataset.pairs for path in (pair.image, pair.label)}
    for folder, group in groupby(files, key=lambda file: file.parent):
        names = [_relative(file, dataset) for file in group]
        if len(names) > 1 and folder not in folders:
            name = _relative(folder, dataset)
            yield Finding("extra", "", name, f"{name} holds {len(names)} files that belong to no case of the card")
            continue
        for name in names:
            yield Finding("extra", "", name, f"{name} belongs to no case of the card")


def _missing(dataset: Dataset, part: str, pair: Pair, files: Sequence[Path]) -> Finding:
    case, masks = pair.case, STRUCTURE in pair.label
    label = str(Path(pair.label).parent) if masks else pair.label
    no_image = dataset.root / pair.image in files
    n_gone = len(files) - no_image
    # Where the folder of the masks is missing, it stands for all of them.
    no_label = n_gone == (len(dataset.labels) if masks else 1) or dataset.root / label in files
    if no_image and no_label:
        text = f"split '{part}' names {case}, and neither {pair.image} nor {label} is there"
        return Finding("missing", case, pair.image, text)
    if no_image:
        return Finding("unpaired", case, pair.image, f"{label} is there without its image {pair.image}")
    if no_label:
        return Finding("unpaired", case, label, f"{pair.image} is there without its label map {label}")
    first = _relative(files[0], dataset)
    told = f"{n_gone} of the {len(dataset.labels)} masks of {case} are missing, first {first}"
    return Finding("unpaired", case, first, told)


@dataclass(frozen=True)
class Checksums:
    """Of a case's image and reference; "" where it is not known, or known that no other case has the same."""

    case: str
    image: str
    reference: str


def twins(checksums: Sequence[Checksums], dataset: Dataset) -> Iterator[Finding]:
    """One image under several names, and one label map under several names with different images."""
    pairs = {pair.case: pair for pair in dataset.pairs}
    for group in _alike(checksums, "image"):
        told = _told([row.case for row in group], dataset)
        if len({row.reference for row in group} - {""}) > 1:
            told, kind = f"{told} are the same image with different label maps", "contradiction"
        else:
            told, kind = f"{told} are the same image", "duplicate"
        yield Finding(kind, group[0].case, pairs[group[0].case].image, told)
    for group in _alike(checksums, "reference"):
        if len({row.image or row.case for row in group}) > 1:
            told = _told([row.case for row in group], dataset)
            yield Finding("same-labels", group[0].case, pairs[group[0].case].label, f"{told} have the same label map")


def _alike(checksums: Sequence[Checksums], what: str) -> Iterator[list[Checksums]]:
    key = attrgetter(what)
    for checksum, group in groupby(sorted(checksums, key=lambda row: (key(row), row.case)), key=key):
        rows = list(group)
        if checksum and len(rows) > 1:
            yield rows


def _told(cases: Sequence[str], dataset: Dataset) -> str:
    parts = list(dict.fromkeys(map(dataset.split_of, cases)))
    return " and ".join(cases) + f" (splits {' and '.join(parts)})" * (len(parts) > 1)


def patients(dataset: Dataset, chosen: Collection[str]) -> Iterator[Finding]:
    """Patients who are on both sides of one split, and patients with several cases on one side, if it is chosen."""
    part_of: dict[tuple[str, str], dict[str, list[str]]] = {}
    for part, cases in dataset.split:
        family = part.rpartition("-")[0]  # the parts of a split with a name of its own begin with it
        for case in cases:
            part_of.setdefault((family, dataset.patient_of(case)), {}).setdefault(part, []).append(case)
    for (_, patient), parts in part_of.items():
        apart = _kept_apart(tuple(parts))
        several = next((cases for part, cases in parts.items() if len(cases) > 1 and part in chosen), None)
        if set(apart) & set(chosen):
            told = " and ".join(f"'{part}' ({', '.join(parts[part])})" for part in apart)
            yield Finding("leak", parts[apart[0]][0], "", f"patient {patient} is in {told}")
        elif several:
            told = f"{' and '.join(several)} are scans of one patient, {patient}: they count as one in the statistics"
            yield Finding("rescanned", several[0], "", told)


def _kept_apart(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some parts of a split that may not share a patient; empty where all of them may."""
    last = {part: part.rpartition("-")[2] for part in parts}
    own = tuple(part for part in parts if last[part] != _CALIBRATION)
    if len(own) > 1:
        return own
    # What a network is calibrated on may be taken from its training, not from its test.
    return parts if len(parts) > 1 and _TEST in last.values() else ()


def table_findings(dataset: Dataset) -> Iterator[Finding]:
    """Cases that a table beside them (TotalSegmentator's) puts into another split than the card."""
    first = dataset.root / dataset.pairs[0].image
    for folder in dict.fromkeys((dataset.root, *first.parents[:2])):
        if (folder / _TABLE).is_file():
            yield from _splits_of_table(dataset, folder / _TABLE)


def _splits_of_table(dataset: Dataset, file: Path) -> Iterator[Finding]:
    name = _relative(file, dataset)
    try:
        text = file.read_text("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ","))
    except (UnicodeDecodeError, csv.Error):
        yield Finding("split", "", name, f"{name} is no table of text")
        return
    named = {row["image_id"]: row["split"] for row in rows if row.get("image_id") and row.get("split")}
    part_of = {case: part for part, cases in reversed(dataset.split) for case in cases}
    for case, part in part_of.items():
        # "val" here is "validation" there.
        if case in named and named[case][:3] != part[:3]:
            yield Finding("split", case, name, f"{name} puts {case} into '{named[case]}', the card into '{part}'")


def outliers(facts: Sequence[CaseFacts], dataset: Dataset) -> Iterator[Finding]:
    """Images unlike most others: their axes, their voxels; and files of several types of numbers."""
    usable = [fact for fact in facts if fact.shape]
    image = {pair.case: pair.image for pair in dataset.pairs}
    axes = Counter(fact.orientation for fact in usable).most_common()
    for fact in usable if len(axes) > 1 else ():
        if fact.orientation != axes[0][0]:
            told = f"the axes of {image[fact.case]} point to {fact.orientation}, those of {axes[0][1]} to {axes[0][0]}"
            yield Finding("orientations", fact.case, image[fact.case], told)
    for fact in usable if len(usable) >= _FEW else ():
        for own, all_mm in zip(sorted(fact.spacing_mm), zip(*(sorted(other.spacing_mm) for other in usable))):
            usual = median(all_mm)
            if not usual / _FAR_FACTOR < own < usual * _FAR_FACTOR:
                told = f"the voxels of {image[fact.case]} have an edge of {own:g} mm, those of most {usual:g} mm"
                yield Finding("spacings", fact.case, image[fact.case], told)
                break
    for what, types in (("images", [f.image_type for f in usable]), ("label maps", [f.label_type for f in usable])):
        counts = Counter(filter(None, types)).most_common()
        if len(counts) > 1:
            told = ", ".join(f"{kind} ({n})" for kind, n in sorted(counts))
            yield Finding("types", "", "", f"the {what} are of several types: {told}")


def _relative(file: Path, dataset: Dataset) -> str:
    return str(file).removeprefix(f"{dataset.root}/")
