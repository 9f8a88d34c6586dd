"""A full disk: one sentence, exit code 2, nothing half-written; with room the same command ends as undisturbed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medquanbench.eval import __main__ as door
from tests.bad_input.bad import Place
from tests.bad_input.page import FULL_DISK, sentence_of
from tests.conftest import write_bundle, write_dataset

CSVS = ("results.csv", "cases.csv", "labels.csv", "figures/per_label.csv")
LITTLE = 24 * 1024  # bytes: some finished cases, not all


@pytest.fixture
def place(tmp_path) -> Place:
    place = Place(tmp_path)
    write_bundle(place.bundle)
    write_dataset(place.data)
    return place


def csvs(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in CSVS]


def undisturbed(place: Place) -> list[bytes]:
    out = place.folder / "undisturbed"
    assert door.main([*place.argv, "--out", str(out)]) == 0
    return csvs(out)


def parts(out: Path) -> dict[str, int]:
    """Finished cases, and when they were written."""
    return {str(file): file.stat().st_mtime_ns for file in out.glob("parts/*/*.json") if file.name[0] != "."}


def test_the_disk_is_full_at_any_write(place, monkeypatch, capsys):
    """A stand-in that every machine can have: each write in turn finds the disk full, and the next command goes on."""
    expected, flush = undisturbed(place), os.fsync
    room, left = 0, [0]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    kept: dict[str, int] = {}
    while True:
        left[0] = room = room + 3
        capsys.readouterr()
        code = door.main(place.argv)
        assert kept.items() <= parts(place.out).items(), "a finished case was lost, or computed again"
        if code == 0:
            break
        kept = parts(place.out)
        assert code == 2
        assert re.fullmatch(r"the disk of out\S* is full.*", sentence_of(capsys.readouterr().err, place))
        assert not list(place.folder.rglob("*.tmp"))
    assert room > 12, "the stand-in was met a few times only"
    assert csvs(place.out) == expected


@pytest.fixture
def little_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own with little room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={LITTLE}", "tmpfs", str(disk)]
    try:
        made = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_real_disk_that_is_full(place, little_disk, capsys):
    expected = undisturbed(place)
    argv = [*place.argv, "--out", str(little_disk / "out")]
    capsys.readouterr()
    assert door.main(argv) == 2
    sentence = sentence_of(capsys.readouterr().err, place)
    assert re.sub("of .* is full", "of out is full", sentence) == FULL_DISK
    assert not list(little_disk.rglob("*.tmp"))
    kept = parts(little_disk / "out")
    assert kept
    subprocess.run(["mount", "-o", "remount,size=8m", str(little_disk)], check=True)
    assert door.main(argv) == 0
    assert kept.items() <= parts(little_disk / "out").items()
    assert csvs(little_disk / "out") == expected


@pytest.mark.parametrize("number, words", [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file system")])
def test_a_folder_that_cannot_be_written(place, monkeypatch, capsys, number, words):
    """A stand-in: root may write everywhere."""

    def refuse(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    assert door.main(place.argv) == 2
    assert sentence_of(capsys.readouterr().err, place) == f"out cannot be written: {words}"
    assert not list(place.out.iterdir())


def test_a_folder_without_permission(place, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    place.out.mkdir(mode=0o555)
    assert door.main(place.argv) == 2
    assert sentence_of(capsys.readouterr().err, place) == "out cannot be written: Permission denied"


def test_an_image_without_permission(place, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    place.image().chmod(0)
    assert door.main(place.argv) == 2
    assert "m2.nii.gz cannot be read: Permission denied" in sentence_of(capsys.readouterr().err, place)
