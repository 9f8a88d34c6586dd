"""Files as wholes."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os

import pytest

from medquanbench.files import clear_temporaries, disguise, file_sha256, is_whole_gzip, obstacle, write_whole
from medquanbench.values import RequestError


def test_checksum_is_that_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    file = tmp_path / "f"
    write_whole(file, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RequestError, match=r"the disk of .* is full \(\d+ MB free\): what was finished is kept; make"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_writer_left_is_cleared(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(source, target):
        os.link(source, source.with_name("kept"))
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        write_whole(tmp_path / "f", b"new")
    temporary = tmp_path / f".f.{os.getpid()}.tmp"
    (tmp_path / "kept").rename(temporary)  # as after SIGKILL, which runs no `finally`
    clear_temporaries(tmp_path)
    clear_temporaries(tmp_path / "nosuch")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage, whole",
    [
        (lambda b: b, True),
        (lambda b: b[:-1], False),
        (lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:], False),
        (lambda b: b"", False),
        (lambda b: b"no gzip", False),
    ],
)
def test_a_gzip_file_is_whole_or_not(tmp_path, damage, whole):
    (tmp_path / "f").write_bytes(damage(gzip.compress(bytes(range(256)))))
    assert is_whole_gzip(tmp_path / "f") == whole
    assert not is_whole_gzip(tmp_path / "nosuch")


def test_why_a_file_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dead").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    told = {
        name: obstacle(tmp_path / name) for name in ("file", "link", "folder", "dead", "gone", "pipe", "file/below")
    }
    assert told == {
        "file": "",
        "link": "",
        "folder": "is a folder",
        "dead": "is a link to gone, which is missing",
        "gone": "is missing",
        "pipe": "is no file",
        "file/below": "is missing",
    }
    assert "cannot be read: File name too long" in obstacle(tmp_path / ("x" * 300))
    with pytest.raises(RequestError, match="folder is a folder"):
        file_sha256(tmp_path / "folder")


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "empty"),
        (b"  \n<!DOCTYPE HTML>", "a web page (a download that went wrong)"),
        (b"<?xml version", "a web page (a download that went wrong)"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS, not the file that it points to"),
        (b"PK\3\4", "a zip archive"),
        (gzip.compress(b"", mtime=0), "compressed with gzip"),
        (b"\x5c\x01\0\0", ""),
    ],
)
def test_what_stands_in_a_files_place(tmp_path, content, what):
    (tmp_path / "f").write_bytes(content)
    assert disguise(tmp_path / "f") == what


def test_a_full_quota_and_a_dead_link_are_told(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(RequestError, match="link cannot be written: it is a link to gone, which is missing"):
        write_whole(tmp_path / "link" / "f", b"")

    def full(descriptor):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RequestError, match=r"the quota on the disk of .*new is full \(\d+ MB free\)"):
        write_whole(tmp_path / "new" / "f", b"new")
