"""An archive is unpacked as a whole below its folder, or not at all and one sentence says why."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import pytest

from medquanbench.data import unpack as module
from medquanbench.data.archive import Archive, Member
from medquanbench.data.unpack import Limits, Unpacked, unpack
from medquanbench.progress import Progress
from medquanbench.values import RequestError
from tests.bad_input.bad import WEB_PAGE
from tests.data.hostile import (
    GOOD,
    WRITERS,
    special,
    tar_bytes,
    tar_gz_bomb,
    write_tar,
    write_tar_gz,
    write_zip,
    zip_bomb,
    zip_link,
)

KINDS = sorted(WRITERS)
LIMITS = Limits()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where it goes; `outside.txt` beside it is what attackers are after."""
    (tmp_path / "outside.txt").write_text("mine")
    (tmp_path / "in" / "here").mkdir(parents=True)
    return tmp_path / "in" / "here"


def open_up(archive: Path, folder: Path, limits: Limits = LIMITS) -> Unpacked:
    return unpack(archive, folder, Progress(lambda: None), limits)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(archive: Path, folder: Path, limits: Limits = LIMITS) -> str:
    """The sentence, after the name of the archive; nothing has changed anywhere."""
    top = folder.parent.parent
    before = contents(top), sorted(top.rglob("*"))
    with pytest.raises(RequestError) as told:
        open_up(archive, folder, limits)
    assert (contents(top), sorted(top.rglob("*"))) == before
    assert "\n" not in str(told.value) and str(told.value).isprintable()
    return str(told.value).removeprefix(f"{archive} is not unpacked: it ")


@pytest.mark.parametrize("kind", KINDS)
def test_all_files_come_whatever_the_archive_is_called(folder, tmp_path, kind):
    archive = WRITERS[kind](tmp_path / "download")
    told = open_up(archive, folder)
    assert contents(folder) == dict(GOOD)
    assert told == Unpacked(tuple((name, len(content)) for name, content in GOOD), 0)
    assert not [path for path in folder.iterdir() if path.name[0] == "."]


@pytest.mark.parametrize("kind", KINDS)
def test_twice_is_once(folder, tmp_path, kind):
    archive = WRITERS[kind](tmp_path / "a")
    assert open_up(archive, folder) == open_up(archive, folder)
    assert contents(folder) == dict(GOOD)


def test_two_archives_fill_one_folder(folder, tmp_path):
    open_up(write_zip(tmp_path / "1", GOOD[:2]), folder)
    open_up(write_zip(tmp_path / "2", GOOD[1:]), folder)
    assert contents(folder) == dict(GOOD)


def test_folders_and_the_names_that_tar_gives_them(folder, tmp_path):
    file = tmp_path / "a.tar"
    folders = [special(name, tarfile.DIRTYPE) for name in ("./", "./empty/", "./empty", "b/c/")]
    file.write_bytes(tar_bytes([("./d/e", b"1")], folders))
    assert open_up(file, folder).files == (("d/e", 1),)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["b", "b/c", "d", "d/e", "empty"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_macos_adds_is_left_out(folder, tmp_path, kind):
    added = [("._Task", b"x"), ("Task/imagesTr/._a.nii.gz", b"x"), ("__MACOSX/Task/a", b"x"), ("Task/.DS_Store", b"x")]
    told = open_up(WRITERS[kind](tmp_path / "a", [*added, *GOOD]), folder)
    assert contents(folder) == dict(GOOD)
    assert told.left_out == 4


def test_permissions_are_those_of_new_files(folder, tmp_path):
    info = special("run", tarfile.REGTYPE)
    info.mode, info.uid = 0o6777, 12345
    (tmp_path / "a.tar").write_bytes(tar_bytes((), [info]))
    open_up(tmp_path / "a.tar", folder)
    (folder / "plain").write_text("")
    assert stat.S_IMODE((folder / "run").stat().st_mode) == stat.S_IMODE((folder / "plain").stat().st_mode)
    assert (folder / "run").stat().st_uid == os.geteuid()


NAMES = {
    "../outside.txt": "leaves the folder",
    "a/../../outside.txt": "leaves the folder",
    "a/..": "leaves the folder",
    "/tmp/outside.txt": "leaves the folder",
    "//server/share": "leaves the folder",
    "C:/outside.txt": "leads elsewhere on other systems",
    "c:outside.txt": "leads elsewhere on other systems",
    "a.txt:stream": "leads elsewhere on other systems",
    "..\\outside.txt": "leads elsewhere on other systems",
    "\\\\server\\share": "leads elsewhere on other systems",
    "a//b": "is no name for a file",
    "a/./b": "is no name for a file",
    "a\nb": "is no name for a file",
    "a\x1b[2Jb": "is no name for a file",
    "a\u202egpj.exe": "is no name for a file",
    "con": "means something else on other systems",
    "a/NUL.nii.gz": "means something else on other systems",
    "a/com1": "means something else on other systems",
    "a./b": "means something else on other systems",
    "a /b": "means something else on other systems",
    "x" * 256: "is too long a name",
    "/".join(["x" * 100] * 11): "is too long a name",
    "..": "leaves the folder",
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_name_that_leads_astray(folder, tmp_path, kind, name):
    told = refused(WRITERS[kind](tmp_path / "a", [*GOOD, (name, b"hacked")]), folder)
    assert told.startswith("holds '") and told.endswith(NAMES[name])


def test_a_name_that_is_cut_at_a_zero(folder, tmp_path):
    """zipfile would make `good` of it."""
    archive = write_zip(tmp_path / "a", [("good0../outside.txt", b"hacked")])
    archive.write_bytes(archive.read_bytes().replace(b"good0", b"good\0"))
    assert refused(archive, folder) == "holds 'good\\x00../outside.txt', which is no name for a file"


def test_a_name_in_no_encoding(folder, tmp_path):
    (tmp_path / "a").write_bytes(tar_bytes([("a\udcff", b"")]))
    assert refused(tmp_path / "a", folder) == "holds 'a\\udcff', which is no name for a file"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names, words",
    [
        (["a/b", "a/b"], "holds 'a/b' twice"),
        (["a/b", "./a/b"], "holds 'a/b' twice"),
        (["a/b", "a/B"], "holds 'a/b' and 'a/B', which many systems take for the same"),
        (["A/x", "a/y"], "holds 'A' and 'a', which many systems take for the same"),
        (["\u00e9", "e\u0301"], "holds '\u00e9' and 'e\u0301', which many systems take for the same"),
        (["stra\u00dfe", "STRASSE"], "which many systems take for the same"),
        (["a", "a/b"], "holds 'a' as a file and as a folder"),
        (["a/b", "a"], "holds 'a' as a file and as a folder"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_names_that_get_in_each_others_way(folder, tmp_path, kind, names, words):
    assert refused(WRITERS[kind](tmp_path / "a", [(name, b"") for name in names]), folder).endswith(words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_there_is_never_overwritten(folder, tmp_path, kind):
    (folder / "Task" / "imagesTr").mkdir(parents=True)
    (folder / "Task" / "imagesTr" / "a.nii.gz").write_bytes(b"my image")
    told = refused(WRITERS[kind](tmp_path / "a"), folder)
    assert told.startswith("holds a.nii.gz, and ") and told.endswith("is there with other content; move that away")


@pytest.mark.parametrize("there", ["folder", "dead link"])
def test_what_is_there_may_be_no_file_at_all(folder, tmp_path, there):
    (folder / "Task").mkdir()
    place = folder / "Task" / "dataset.json"
    place.mkdir() if there == "folder" else place.symlink_to(tmp_path / "nowhere")
    assert "is there with other content" in refused(write_zip(tmp_path / "a"), folder)


LINKS = [
    special("link", tarfile.SYMTYPE, "../../outside.txt"),
    special("link", tarfile.SYMTYPE, "/etc"),
    special("link", tarfile.SYMTYPE, "Task"),
    special("link", tarfile.LNKTYPE, "../../outside.txt"),
    special("link", tarfile.LNKTYPE, "Task/dataset.json"),
]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: f"{link.type} {link.linkname}")
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_links_in_a_tar(folder, tmp_path, link, pack):
    through = special("link/outside.txt", tarfile.REGTYPE)
    (tmp_path / "a").write_bytes(pack(tar_bytes(GOOD, [link, through])))
    assert refused(tmp_path / "a", folder) == "holds 'link', which is a link"


@pytest.mark.parametrize("target", ["../../outside.txt", "/etc", "Task"])
def test_links_in_a_zip(folder, tmp_path, target):
    assert refused(zip_link(tmp_path / "a", target), folder) == "holds 'link', which is a link"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"Z"])
def test_devices_and_other_oddities(folder, tmp_path, kind):
    (tmp_path / "a").write_bytes(tar_bytes(GOOD, [special("odd", kind)]))
    assert refused(tmp_path / "a", folder).startswith("holds 'odd', which is no plain file")


BOMB = "holds more than 1.07 GB, as a bomb of zeros does"


@pytest.mark.parametrize("make", [zip_bomb, tar_gz_bomb])
def test_a_bomb_of_10_gb_writes_nothing(folder, tmp_path, make, monkeypatch):
    """Ten megabytes that become ten gigabytes: the headers are enough to refuse it."""
    archive = make(tmp_path / "bomb", 10 << 30)
    assert archive.stat().st_size < 11e6
    monkeypatch.setattr("builtins.open", only_reads(open))
    assert refused(archive, folder) == BOMB


def only_reads(plain):
    def guarded(file, mode="r", *given, **more):
        assert not set(mode) & set("wxa+"), f"{file} was written"
        return plain(file, mode, *given, **more)

    return guarded


def test_a_bomb_in_many_files_is_counted_as_it_comes(folder, tmp_path):
    archive = tar_gz_bomb(tmp_path / "bomb", 64 << 20, n_files=16)
    assert refused(archive, folder, Limits(least_bytes=16 << 20)) == "holds more than 16.8 MB, as a bomb of zeros does"


def test_a_zip_of_many_small_bombs_writes_nothing(folder, tmp_path, monkeypatch):
    """Each is allowed, all together are not: the directory of a zip tells before the first is unpacked."""
    archive = write_zip(tmp_path / "a", [(f"{number}", bytes(1 << 20)) for number in range(8)])
    monkeypatch.setattr("builtins.open", only_reads(open))
    assert refused(archive, folder, Limits(least_bytes=4 << 20)) == "holds more than 4.19 MB, as a bomb of zeros does"


@pytest.mark.parametrize("announced", [5, 100 << 20])
def test_a_bomb_that_announces_another_size(folder, tmp_path, announced):
    archive = zip_bomb(tmp_path / "bomb", 64 << 20, announced)
    told = refused(archive, folder, Limits(least_bytes=512 << 20))
    assert told == "is damaged or cut off: not all that it holds can be read"


def test_a_bomb_that_announces_nothing_gives_nothing(folder, tmp_path):
    assert open_up(zip_bomb(tmp_path / "bomb", 64 << 20, 0), folder).files == (("bomb", 0),)


def test_bytes_are_counted_whatever_is_announced(folder, tmp_path, monkeypatch):
    """A stand-in for a reader that can be fooled: it announces ten bytes and never ends."""

    @contextmanager
    def fooled(file: Path):
        yield Archive(None, iter([Member("a", False, 10, lambda: itertools.repeat(bytes(1 << 20)))]))

    monkeypatch.setattr(module, "open_archive", fooled)
    archive = write_zip(tmp_path / "a")
    assert refused(archive, folder, Limits(least_bytes=4 << 20)) == "holds more than 4.19 MB, as a bomb of zeros does"


def test_the_limit_grows_with_the_archive():
    assert Limits().content_bytes(10) == 1 << 30
    assert Limits().content_bytes(10**9) == 10**11


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [8 << 20, 1 << 40])
def test_a_header_that_would_fill_the_memory(folder, tmp_path, kind, size):
    info = special("x", kind)
    info.size = size
    (tmp_path / "a").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(16 << 20))
    assert refused(tmp_path / "a", folder) == "is damaged or hostile: it announces a header without end"


def test_headers_upon_headers(folder, tmp_path):
    info = special("x", tarfile.XHDTYPE)
    info.size = 12
    one = info.tobuf() + b"12 path=abc\n".ljust(512, b"\0")
    (tmp_path / "a").write_bytes(one * 3000 + tar_bytes())
    assert "is damaged" in refused(tmp_path / "a", folder)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_entries(folder, tmp_path, kind):
    archive = WRITERS[kind](tmp_path / "a", [(f"{number}", b"") for number in range(11)])
    assert refused(archive, folder, Limits(entries=10)) == "holds more than 10 files and folders"


def test_folders_are_entries_too(folder, tmp_path):
    archive = write_zip(tmp_path / "a", [("a/" * 20 + "b", b"")])
    assert refused(archive, folder, Limits(entries=10)) == "holds more than 10 files and folders"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_an_archive_that_is_cut_off(folder, tmp_path, kind, share):
    noise = random.Random(0).randbytes(50_000)
    whole = WRITERS[kind](tmp_path / "a", [(f"{number}", noise) for number in range(4)]).read_bytes()
    (tmp_path / "a").write_bytes(whole[: int(len(whole) * share)])
    assert refused(tmp_path / "a", folder) == "is damaged or cut off: not all that it holds can be read"


def test_a_tar_that_is_cut_off_between_two_files(folder, tmp_path):
    """tarfile itself takes that for the end."""
    (tmp_path / "a").write_bytes(write_tar(tmp_path / "a").read_bytes()[: 2 * 1024])
    assert "damaged or cut off" in refused(tmp_path / "a", folder)


def test_a_tar_with_a_damaged_header_in_the_middle(folder, tmp_path):
    """tarfile itself takes that for the end, too."""
    data = bytearray(write_tar(tmp_path / "a").read_bytes())
    data[1024] ^= 1
    (tmp_path / "a").write_bytes(data)
    assert "damaged or cut off" in refused(tmp_path / "a", folder)


def test_a_flipped_bit(folder, tmp_path):
    for write in (write_zip, write_tar_gz):
        data = bytearray(write(tmp_path / "a", [("a", random.Random(0).randbytes(5000))]).read_bytes())
        data[2500] ^= 1
        (tmp_path / "a").write_bytes(data)
        assert "damaged or cut off" in refused(tmp_path / "a", folder)


def test_a_locked_zip(folder, tmp_path):
    data = write_zip(tmp_path / "a", [("a", b"1")]).read_bytes()
    data = data.replace(b"PK\x03\x04\x14\0\0\0", b"PK\x03\x04\x14\0\1\0").replace(
        b"\x14\3\x14\0\0\0", b"\x14\3\x14\0\1\0"
    )
    (tmp_path / "a").write_bytes(data)
    assert refused(tmp_path / "a", folder) == "is locked with a password ('a')"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_in_another_method(folder, tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("a", bytes(1000))
    assert refused(tmp_path / "a", folder).endswith(
        "compressed in a way that is not read here (stored and deflated are)"
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (WEB_PAGE, "is no zip, tar or tar.gz archive: it is a web page (a download that went wrong)"),
        (b"", "is no zip, tar or tar.gz archive: it is empty"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is no zip, tar or tar.gz archive: it is something else"),
        (
            gzip.compress(WEB_PAGE, mtime=0),
            "is no zip, tar or tar.gz archive: what it holds compressed is no tar archive",
        ),
        (
            gzip.compress(bytes(range(256)) * 10, mtime=0),
            "is no zip, tar or tar.gz archive: what it holds compressed is no tar archive",
        ),
        (b"PK\x03\x04" + bytes(600), "is damaged or cut off: not all that it holds can be read"),
        (b"\x1f\x8b" + bytes(600), "is damaged or cut off: not all that it holds can be read"),
        (tar_bytes(())[:512], None),
    ],
)
def test_what_is_no_archive(folder, tmp_path, content, words):
    (tmp_path / "a.zip").write_bytes(content)
    if words is None:
        assert open_up(tmp_path / "a.zip", folder).files == ()
    else:
        assert refused(tmp_path / "a.zip", folder) == words


def test_an_archive_that_is_not_there(folder, tmp_path):
    assert refused(tmp_path / "a.zip", folder) == f"{tmp_path / 'a.zip'} is missing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_without_room_is_told_before_it_is_full(folder, tmp_path, kind, monkeypatch):
    archive = WRITERS[kind](tmp_path / "a", [("a", bytes(5000))])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 0, 4000))
    assert refused(archive, folder) == f"needs 5 kB in {folder}, where 4 kB are free"


def test_a_disk_that_is_full_is_as_it_was(folder, tmp_path, monkeypatch):
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        usage = namedtuple("usage", "total used free")
        archive = write_tar_gz(tmp_path / "a", [(f"{number}", bytes(300_000)) for number in range(2)])
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 0, 10**9))  # others write at the same time
            assert refused(archive, folder).startswith(f"the disk of {folder} is full (1000 MB free)")
        assert shutil.disk_usage(folder).free > 390_000
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_a_killed_command_left_is_cleared(folder, tmp_path):
    archive = write_zip(tmp_path / "a")
    left = folder / ".a.unpacking" / "Task"
    left.mkdir(parents=True)
    (left / "dataset.json").write_text("half of it")
    open_up(archive, folder)
    assert contents(folder) == dict(GOOD)


@pytest.mark.parametrize("left", ["file", "link", "dead link"])
def test_whatever_stands_where_it_unpacks_goes_and_what_it_links_to_stays(folder, tmp_path, left):
    archive, place = write_zip(tmp_path / "a"), folder / ".a.unpacking"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    place.write_text("x") if left == "file" else place.symlink_to(tmp_path / ("other" if left == "link" else "nowhere"))
    open_up(archive, folder)
    assert contents(folder) == dict(GOOD) and contents(tmp_path / "other") == {"mine": b"mine"}


def test_a_stop_while_files_are_moved_into_place(folder, tmp_path, monkeypatch):
    """Those that are in place are whole; the same command again ends as undisturbed."""
    archive, moves, replace = write_zip(tmp_path / "a"), [0], os.replace
    for part in ("imagesTr", "labelsTr"):
        (folder / "Task" / part).mkdir(parents=True)  # so that files are moved one by one

    def stop_at_the_third(source: object, target: object) -> None:
        moves[0] += 1
        if moves[0] == 3:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            open_up(archive, folder)
    assert len(contents(folder)) == 2 and contents(folder).items() <= dict(GOOD).items()
    open_up(archive, folder)
    assert contents(folder) == dict(GOOD)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_leaves_nothing(folder, tmp_path, kind):
    archive, calls = WRITERS[kind](tmp_path / "a"), [0]

    def stop() -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder, Progress(stop))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_is_a_sentence_or_does_no_harm(folder, tmp_path, kind):
    """Bytes changed at random: what is unpacked all the same lies below the folder, and has no file twice its size."""
    rng = random.Random(1)
    whole = WRITERS[kind](tmp_path / "a", [*GOOD, ("b/c", rng.randbytes(600))]).read_bytes()
    told = set()
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 10))):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x2E, 0x2F, 0xFF, rng.randrange(256)))
        (tmp_path / "a").write_bytes(data)
        try:
            open_up(tmp_path / "a", folder)
        except RequestError as error:
            assert str(error).isprintable()
            told.add(str(error))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "in", "outside.txt"]
        assert sum(map(len, contents(folder).values())) < 5000
        shutil.rmtree(folder)
        folder.mkdir()
    assert told


@pytest.mark.parametrize("field", [16, 24, 42])
def test_a_zip_whose_directory_lies(folder, tmp_path, field):
    """Size, checksum and place of a file, as the directory at the end of a zip tells them."""
    data = bytearray(write_zip(tmp_path / "a").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + field, 77)
    (tmp_path / "a").write_bytes(data)
    assert refused(tmp_path / "a", folder)


def test_old_and_new_kinds_of_tar(folder, tmp_path):
    long = "/".join(["x" * 60] * 4)
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (tmp_path / "a").write_bytes(
            tar_bytes([*GOOD, (long[:200] if kind == tarfile.USTAR_FORMAT else long, b"1")], (), kind)
        )
        assert len(open_up(tmp_path / "a", folder).files) == 4


def test_a_tar_of_the_seventies(folder, tmp_path):
    """Without the word `ustar`."""
    data = bytearray(tar_bytes([("a", b"1")]))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "a").write_bytes(data)
    assert open_up(tmp_path / "a", folder).files == (("a", 1),)


def test_a_stream_of_several_gzips(folder, tmp_path):
    data = tar_bytes()
    (tmp_path / "a").write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    open_up(tmp_path / "a", folder)
    assert contents(folder) == dict(GOOD)


def test_a_gzip_that_goes_on_behind_the_end_of_its_tar(folder, tmp_path):
    stream = io.BytesIO()
    with gzip.open(stream, "wb", 1) as packed:
        packed.write(tar_bytes())
        for _ in range(80):
            packed.write(bytes(1 << 20))
    (tmp_path / "a").write_bytes(stream.getvalue())
    assert refused(tmp_path / "a", folder) == "is damaged or hostile: it goes on behind its end"
