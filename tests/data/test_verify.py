"""verify: a clean dataset has no finding; each damage has its own, in one sentence; processes change nothing."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench.data.__main__ import main
from medquanbench.data.findings import KINDS, Severity
from tests.bad_input.bad import header, save
from tests.bad_input.images import PIXDIM, flipped
from tests.conftest import write_dataset

LAS = np.diag([-1.0, 1.0, 2.0, 1.0])  # the micro dataset's is diag(-1, -1, 2)


@dataclass(frozen=True)
class Damage:
    """One thing done to the micro dataset.

    Attributes:
        kind: the one kind of finding that it makes, and the only one.
        words: what the sentence says.
        deep: whether only the voxels tell it.
    """

    what: str
    spoil: Callable[[Path], object]
    kind: str
    words: str
    deep: bool = False


def image(case: str = "m2") -> str:
    return f"images/{case}.nii.gz"


def label(case: str = "m2") -> str:
    return f"labels/{case}.nii.gz"


def gone(*files: str) -> Callable[[Path], None]:
    return lambda data: [(data / file).unlink() for file in files] and None


def copied(*pairs: tuple[str, str]) -> Callable[[Path], None]:
    return lambda data: [shutil.copy(data / one, data / other) for one, other in pairs] and None


def packed_again(one: str, other: str) -> Callable[[Path], object]:
    """The same voxels in other bytes."""
    return lambda data: (data / other).write_bytes(gzip.compress(gzip.decompress((data / one).read_bytes()), 1))


def swapped(data: Path) -> None:
    (data / image()).rename(data / "kept")
    (data / label()).rename(data / image())
    (data / "kept").rename(data / label())


def cut(file: str, kept: int) -> Callable[[Path], object]:
    return lambda data: (data / file).write_bytes((data / file).read_bytes()[:kept])


def bit_flip(file: str) -> Callable[[Path], object]:
    """A wrong bit in the checksum; the length that follows it is as it was."""

    def spoil(data: Path) -> None:
        content = bytearray((data / file).read_bytes())
        content[-6] ^= 4
        (data / file).write_bytes(bytes(content))

    return spoil


def voxels(file: str, make: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> Callable:
    return lambda data: save(make(np.asarray(nibabel.load(data / file).dataobj)), data / file, affine)


def same(values: np.ndarray) -> np.ndarray:
    return values


def both(one: Callable[[Path], object], other: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda data: [one(data), other(data)] and None


def rename(text: str, new: str) -> Callable[[Path], object]:
    return lambda data: (data / "micro.toml").write_text((data / "micro.toml").read_text().replace(text, new))


def table(data: Path) -> None:
    (data / "meta.csv").write_text("\ufeffimage_id;age;split\nm1;60;test\nm2;61;train\nc1;;calibration\n", "utf-8")


DAMAGES = [
    Damage("a case that is missing", gone(image(), label()), "missing", "split 'test' names m2, and neither images/m2"),
    Damage(
        "a split that names cases that are not there",
        rename('"m7"]', '"m7", "m8"]'),
        "missing",
        "split 'test' names m8, and neither images/m8.nii.gz nor labels/m8.nii.gz is there",
    ),
    Damage("an image without its label map", gone(label()), "unpaired", "is there without its label map labels/m2"),
    Damage("a label map without its image", gone(image()), "unpaired", "labels/m2.nii.gz is there without its image"),
    Damage(
        "an extra image and label map",
        copied((image("t1"), image("x1")), (label("t1"), label("x1"))),
        "extra",
        "images/x1.nii.gz belongs to no case of the card",
    ),
    Damage("an image that is no image", cut(image(), 0), "header", "images/m2.nii.gz is no NIfTI file: it is empty"),
    Damage("a voxel size of 0", lambda d: header(d / image(), (PIXDIM + 8, "f", 0.0)), "header", "sizes 1 x 0 x 2"),
    Damage("a truncated image", cut(image(), -9), "voxels", "images/m2.nii.gz is damaged or cut off"),
    Damage("a truncated label map", cut(label(), -9), "voxels", "labels/m2.nii.gz is damaged or cut off"),
    Damage("a flipped bit", bit_flip(image()), "voxels", "does not match its checksum", deep=True),
    Damage("NaN", voxels(image(), lambda v: flipped(v, np.nan)), "voxels", "holds NaN or infinity in 1 of", deep=True),
    Damage("infinity", voxels(image(), lambda v: flipped(v, np.inf)), "voxels", "holds NaN or infinity", deep=True),
    Damage(
        "float labels",
        voxels(label(), lambda v: v * 0.9999),
        "voxels",
        "labels/m2.nii.gz is no label map: it holds 0.9999",
        deep=True,
    ),
    Damage(
        "another shape", voxels(label(), lambda v: v[:-1]), "grid", "different grids: 14 x 12 x 10 and 13 x 12 x 10"
    ),
    Damage(
        "another affine",
        voxels(label(), same, np.diag([-1.0, -1.0, 2.5, 1.0])),
        "grid",
        "lie on different grids: their affines lay the same voxel up to 4.5 mm apart",
    ),
    Damage(
        "another orientation of the label map",
        voxels(label(), same, LAS),
        "orientation",
        "its axes point to LAS and those of images/m2.nii.gz to LPS: patients would be mirrored or turned",
    ),
    Damage(
        "another orientation of image and label map",
        both(voxels(image(), same, LAS), voxels(label(), same, LAS)),
        "orientations",
        "the axes of images/m2.nii.gz point to LAS, those of 8 to LPS",
    ),
    Damage(
        "labels beyond the card",
        voxels(label(), lambda v: flipped(v, 9).astype(np.uint8)),
        "values",
        "labels/m2.nii.gz holds the value 9, which the card does not know",
        deep=True,
    ),
    Damage("a constant image", voxels(image(), np.zeros_like), "constant", "nothing but the value 0", deep=True),
    Damage("an empty label map", voxels(label(), np.zeros_like), "empty", "no structure of the card", deep=True),
    Damage(
        "an image twice", copied((image("m1"), image("m2"))), "contradiction", "m1 and m2 are the same image with diff"
    ),
    Damage(
        "a case twice",
        copied((image("m1"), image("m2")), (label("m1"), label("m2"))),
        "duplicate",
        "m1 and m2 are the same image",
    ),
    Damage("a label map twice", copied((label("m1"), label("m2"))), "same-labels", "m1 and m2 have the same label map"),
    Damage(
        "a case of the test in the training",
        copied((image("m1"), image("t1")), (label("m1"), label("t1"))),
        "duplicate",
        "m1 and t1 (splits test and train) are the same image",
    ),
    Damage(
        "an image twice, packed otherwise",
        packed_again(image("m1"), image("m2")),
        "contradiction",
        "m1 and m2 are the same image",
        deep=True,
    ),
    Damage("a table with another split", table, "split", "meta.csv puts m2 into 'train', the card into 'test'"),
    Damage(
        "thick slices",
        both(voxels(image(), same, np.diag([-1, -1, 25.0, 1])), voxels(label(), same, np.diag([-1, -1, 25.0, 1]))),
        "thick",
        "images/m2.nii.gz has voxels of 1 x 1 x 25 mm",
    ),
    Damage(
        "much larger voxels",
        both(voxels(image(), same, np.diag([-9.0, -9, 9, 1])), voxels(label(), same, np.diag([-9.0, -9, 9, 1]))),
        "spacings",
        "the voxels of images/m2.nii.gz have an edge of 9 mm, those of most 1 mm",
    ),
    Damage(
        "an image of floats",
        voxels(image(), lambda v: v.astype(np.float32)),
        "types",
        "the images are of several types: float32 (1), int16 (8)",
    ),
]
BESIDE = {  # damages that are seen from two sides
    "NaN": {"types"}, "infinity": {"types"}, "float labels": {"types"}, "thick slices": {"spacings"},
}  # fmt: skip


def verify(data: Path, *flags: object, card: str = "micro.toml") -> int:
    return main(["verify", str(data / card), "--data-root", str(data), "--jobs", "1", *map(str, flags)])


def findings(data: Path, tmp_path: Path, *flags: object) -> tuple[int, list[dict[str, str]]]:
    """Exit code and the rows of verify.csv."""
    code = verify(data, *flags, "--out", tmp_path / "report")
    with open(tmp_path / "report" / "verify.csv", newline="") as handle:
        return code, list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """The micro dataset with label maps that all differ."""
    folder = write_dataset(tmp_path_factory.mktemp("good") / "data")
    for number, file in enumerate(sorted((folder / "labels").iterdir())):
        values = np.asarray(nibabel.load(file).dataobj).copy()
        values[number, 0, 0] = 1
        save(values, file)
    return folder


@pytest.fixture
def data(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "data"))


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["headers", "deep"])
def test_a_clean_dataset_has_no_finding(data, tmp_path, capsys, deep):
    assert findings(data, tmp_path, *deep) == (0, [])
    told = capsys.readouterr().out
    assert "result: nothing wrong" in told and re.search(r"^test +7 +7$", told, re.MULTILINE)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_each_damage_is_found_and_nothing_else(damage, data, tmp_path, capsys):
    damage.spoil(data)
    code, rows = findings(data, tmp_path, "--deep")
    assert {row["kind"] for row in rows} - BESIDE.get(damage.what, set()) == {damage.kind}
    row = next(row for row in rows if row["kind"] == damage.kind)
    assert damage.words in row["sentence"] and str(tmp_path) not in row["sentence"]
    severity = KINDS[damage.kind][0]
    assert row["severity"] == severity and code == (1 if severity is Severity.ERROR else 0)
    told = capsys.readouterr().out
    assert row["sentence"] in told
    assert re.search(rf"^result: .*{severity}", told, re.MULTILINE)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_headers_alone_tell_what_they_can(damage, data, tmp_path):
    damage.spoil(data)
    _, rows = findings(data, tmp_path)
    assert (damage.kind in {row["kind"] for row in rows}) is not damage.deep


def test_an_image_is_read_where_its_label_map_cannot_be(data, tmp_path):
    cut(label(), -9)(data)
    voxels(image(), lambda v: flipped(v, np.nan))(data)
    _, rows = findings(data, tmp_path, "--deep")
    assert [row["file"] for row in rows if row["kind"] == "voxels"] == [label(), image()]


def test_swapped_files_are_named(data, tmp_path):
    swapped(data)
    code, rows = findings(data, tmp_path, "--deep")
    told = {row["kind"]: row["sentence"] for row in rows}
    assert code == 1 and set(told) == {"swapped", "label-like", "voxels", "types"}
    assert told["swapped"] == (
        "images/m2.nii.gz looks like a label map and labels/m2.nii.gz does not: they may be swapped"
    )


def test_grey_values_that_could_be_labels_are_known_by_their_number(data, tmp_path):
    """An image without negative values in the place of a label map, whose own place holds the label map."""
    grey = np.asarray(nibabel.load(data / image()).dataobj)
    voxels(image(), lambda v: np.asarray(nibabel.load(data / label()).dataobj))(data)
    voxels(label(), lambda v: (grey - grey.min()).astype(np.int16))(data)
    _, rows = findings(data, tmp_path, "--deep")
    assert {row["kind"] for row in rows} - {"types"} == {"values", "swapped", "label-like"}


def test_every_kind_of_finding_is_made_by_a_test():
    elsewhere = {"swapped", "label-like", "leak", "rescanned", "overlap", "background", "sides"}
    assert {damage.kind for damage in DAMAGES} | elsewhere == set(KINDS)
    assert not {damage.kind for damage in DAMAGES} & elsewhere


@pytest.fixture
def damaged(data) -> Path:
    """A dataset in which much is wrong."""
    for damage in (gone(image("m1")), cut(label("m3"), -9), bit_flip(image("m4")), swapped, table):
        damage(data)
    copied((image("m5"), image("m6")), (image("c1"), image("x1")))(data)
    return data


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["headers", "deep"])
def test_two_processes_report_what_one_does(damaged, tmp_path, capsys, deep):
    told = []
    for jobs in (1, 2):
        out = tmp_path / f"report-{jobs}"
        assert verify(damaged, "--jobs", jobs, "--out", out, *deep) == 1
        told.append((capsys.readouterr().out, *(file.read_bytes() for file in sorted(out.iterdir()))))
    assert told[0] == told[1]
    assert len(told[0]) == 3 and "contradiction" in told[0][0]


def test_many_findings_of_a_kind_are_counted_and_all_are_in_the_table(data, tmp_path, capsys):
    for number in range(8):
        copied((image("t1"), image(f"x{number}")))(data)
    _, rows = findings(data, tmp_path)
    assert len(rows) == 8 and "... and 3 more" in capsys.readouterr().out


def test_a_split_can_be_looked_at_alone(data, tmp_path, capsys):
    gone(image("t1"), label("t1"))(data)
    assert verify(data) == 1
    assert verify(data, "--split", "test", "calibration") == 0
    told = capsys.readouterr().out.split("result: 1 error")[1]
    assert "calibration  1      1" in told and "train" not in told


def test_what_is_written_tells_every_case(data, tmp_path):
    verify(data, "--deep", "--out", tmp_path / "report")
    content = json.loads((tmp_path / "report" / "verify.json").read_text())
    assert content["splits"][2] == {"split": "test", "cases": 7, "found": 7}
    assert content["n_cases_with"] == {"low": 9, "high": 9}
    case = next(case for case in content["cases"] if case["case"] == "m1")
    reference = np.asarray(nibabel.load(data / label("m1")).dataobj)
    assert case["shape"] == [14, 12, 10] and case["spacing_mm"] == [1, 1, 2] and case["orientation"] == "LPS"
    assert case["n_voxels"] == {"1": int((reference == 1).sum()), "2": int((reference == 2).sum())}
    assert case["n_bytes"] == sum((data / file("m1")).stat().st_size for file in (image, label))


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--split", "tset"], "no split 'tset' in the card of micro; there is: calibration, test, train"),
        (["--jobs", "0"], "--jobs 0: at least one process is needed"),
        (["--jobs", "two"], "--jobs: 'two' is no whole number"),
        (["--data-root", "nowhere"], "the data root 'nowhere' of micro is no folder"),
        (["--depe"], "no flag '--depe'"),
    ],
)
def test_a_wrong_request_is_one_sentence(data, capsys, flags, words):
    assert verify(data, *flags) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and words in told.err


def test_a_folder_without_the_dataset_is_a_wrong_request(data, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert verify(data, "--data-root", tmp_path / "empty") == 2
    told = capsys.readouterr().err
    assert "no file of micro is in" in told and "images/" in told
