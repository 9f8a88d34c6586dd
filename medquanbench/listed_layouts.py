"""The layouts that every card knows: nnU-Net raw, and MONAI datalists (floor 2).

nnU-Net raw: MIC-DKFZ/nnUNet, documentation/reference/dataset-format.md. Datalists: MONAI's load_decathlon_datalist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from medquanbench.dataset_checks import leaves_root
from medquanbench.layouts import CASE, Found, Pair, Wanted

NNUNET_RAW = "nnU-Net raw"
_PARTS = ("Tr", "Ts")  # training and test, both with labels where the labels are public
_LISTS = ("training", "validation", "test")
_NIFTI = (".nii.gz", ".nii")
_LARGEST_LIST_BYTES = 64 * 2**20
_Key, _Value = TypeVar("_Key", bound=Hashable), TypeVar("_Value")


@dataclass(frozen=True)
class _Entry:
    """Files that a folder or a list names for one case, and the names that the case may have, likeliest first."""

    names: tuple[str, ...]
    image: str
    label: str


def nnunet_raw(root: Path, wanted: Wanted) -> Found:
    """imagesTr/CASE_0000 with labelsTr/CASE, imagesTs with labelsTs; dataset.json is read where it is there."""
    about = _json(root / "dataset.json") or {}
    ending = str(about.get("file_ending", _NIFTI[0]))
    sought = f"imagesTr/CASE_0000{ending} + labelsTr/CASE{ending}"
    entries = [entry for part in _PARTS for entry in _nnunet_entries(root, part, ending)]
    if not entries:
        return Found(NNUNET_RAW, sought)
    channels = about.get("channel_names", about.get("modality", {}))
    problem = ""
    if ending not in _NIFTI:
        problem = f"its files end in {ending}; NIfTI (.nii.gz, .nii) is needed"
    elif isinstance(channels, dict) and len(channels) > 1:
        problem = f"its images have {len(channels)} channels; one is needed"
    absent = Pair("", f"imagesTr/{CASE}_0000{ending}", f"labelsTr/{CASE}{ending}")
    return _listed(root, Found(NNUNET_RAW, sought, (absent,), problem=problem), entries, wanted, about)


def _nnunet_entries(root: Path, part: str, ending: str) -> Iterator[_Entry]:
    for image in sorted((root / f"images{part}").glob(f"*_0000{ending}")):
        name = image.name.removesuffix(f"_0000{ending}")
        yield _Entry((name,), f"images{part}/{image.name}", f"labels{part}/{name}{ending}")


def datalists(root: Path, wanted: Wanted) -> Iterator[Found]:
    """Every MONAI datalist in a folder."""
    for file in sorted(root.glob("*.json")):
        if _is_datalist(_json(file)):
            yield datalist(root, file, wanted)


def datalist(root: Path, file: Path, wanted: Wanted) -> Found:
    """The cases of one MONAI datalist, whose paths are relative to its folder."""
    layout, sought, content = f"MONAI datalist {file.name}", "the image and label of its lists", _json(file)
    absent = Pair("", f"{CASE} in {file.name}", f"{CASE} in {file.name}")
    if not _is_datalist(content):
        lists = ", ".join(f"'{name}'" for name in _LISTS)
        return Found(layout, sought, problem=f"{file.name} is no MONAI datalist: it has none of the lists {lists}")
    rows = [row for name in _LISTS for row in content.get(name, ()) if isinstance(row, dict)]
    entries, problem = [], ""
    for image, label in dict.fromkeys((_path(row.get("image")), _path(row.get("label"))) for row in rows):
        leaving = next((path for path in (image, label) if leaves_root(path)), "")
        if leaving and not problem:
            problem = f"'{leaving}' leaves the folder of {file.name}; its paths must be relative to that folder"
        elif image and label:
            entries.append(_Entry(_names(image), image, label))
    return _listed(root, Found(layout, sought, (absent,), problem=problem), entries, wanted, content)


def _is_datalist(content: dict[str, Any] | None) -> bool:
    return content is not None and any(isinstance(content.get(name), list) for name in _LISTS)


def _path(value: object) -> str:
    """A path as a datalist has it: a text, or a list of one; "" for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return str(PurePosixPath(value)) if isinstance(value, str) and value.strip() else ""


def _names(image: str) -> tuple[str, ...]:
    """Names that the case of an image may have: the file's, without nnU-Net's channel, then those of its folders."""
    path = PurePosixPath(image)
    stem = next((path.name.removesuffix(end) for end in _NIFTI if path.name.endswith(end)), path.name)
    return (stem, stem.removesuffix("_0000"), *(part.name for part in path.parents if part.name))


def _listed(root: Path, empty: Found, entries: Sequence[_Entry], wanted: Wanted, about: Mapping[str, Any]) -> Found:
    """An empty Found, whose one pair tells in what words a case is missed, with what the entries name."""
    of_case, (absent,) = matched(entries, wanted.cases), empty.pairs
    pairs = tuple(
        Pair(case, of_case[case].image, of_case[case].label) if case in of_case else _filled(absent, case)
        for case in wanted.cases
    )
    known = {entry.image for entry in of_case.values()}
    strays = tuple(entry.image for entry in entries if entry.image not in known)
    by_index, clash = _numbering(about.get("labels"), wanted)
    return replace(empty, pairs=pairs, strays=strays, by_index=by_index, problem=empty.problem or clash).counted(root)


def _filled(pair: Pair, case: str) -> Pair:
    return Pair(case, pair.image.replace(CASE, case), pair.label.replace(CASE, case))


def matched(entries: Sequence[_Entry], cases: Iterable[str]) -> dict[str, _Entry]:
    """The entry of each case: with an equal name, or, where no name at all is equal, an equal number at its end.

    A case for which there are two entries, or a number that two cases have, stays without.
    """
    cases = tuple(cases)
    exact = _unique((name, entry) for entry in entries for name in dict.fromkeys(entry.names))
    equal = {case: exact[case] for case in cases if case in exact}
    if equal:
        return equal
    numbered = _unique((_number(entry.names), entry) for entry in entries)
    case_of = _unique((_number((case,)), case) for case in cases)
    return {case: numbered[number] for number, case in case_of.items() if number is not None and number in numbered}


def _number(names: Iterable[str]) -> int | None:
    ends = (re.search(r"\d+$", name) for name in names)
    return next((int(end[0]) for end in ends if end), None)


def _unique(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, _Value]:
    """The keys that have one value."""
    values: dict[_Key, list[_Value]] = {}
    for key, value in pairs:
        if value not in values.setdefault(key, []):
            values[key].append(value)
    return {key: there[0] for key, there in values.items() if len(there) == 1}


def _numbering(labels: object, wanted: Wanted) -> tuple[bool, str]:
    """Whether the files hold the card's indices instead of its stored values; and where they hold neither, how."""
    told = {_plain(name): number for name, number in _label_numbers(labels)}
    shared = [(*row, told[_plain(row[0])]) for row in wanted.labels if _plain(row[0]) in told]
    if all(number == stored for _, _, stored, number in shared):
        return False, ""
    if all(number == index for _, index, _, number in shared):
        return True, ""
    name, _, stored, number = next(row for row in shared if row[3] != row[2])
    return False, f"it numbers '{name}' {number}, the card {stored}"


def _label_numbers(labels: object) -> Iterator[tuple[str, int]]:
    """(name, number), of nnU-Net's {name: number} or of the Decathlon's {"number": name}; regions are left out."""
    for one, other in labels.items() if isinstance(labels, dict) else ():
        if isinstance(other, int) and not isinstance(other, bool):
            yield one, other
        elif isinstance(other, str) and one.isdecimal():
            yield other, int(one)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def _json(file: Path) -> dict[str, Any] | None:
    """The content of a JSON file that holds an object; None for anything else."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_LIST_BYTES:
            return None
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
