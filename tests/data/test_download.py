"""Whatever a server does, the file is whole and right in the end, or one sentence says why it is not there."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from medquanbench.data import download as module
from medquanbench.data.connection import Patience, shown
from medquanbench.data.download import download
from medquanbench.dataset import Download
from medquanbench.progress import Progress
from medquanbench.values import RequestError, RunError
from tests.bad_input.page import FULL_DISK
from tests.data import server as answers

CONTENT = bytes(i * 7 % 251 for i in range(300_000))
PATIENCE = Patience(tries=3, wait_s=0.0, timeout_s=5.0, redirects=4)
ROOT = Path(__file__).resolve().parent.parent.parent


def wanted(server, **known) -> Download:
    server.files["/a.zip"] = CONTENT
    given = {"url": f"{server.base}a.zip", "md5": hashlib.md5(CONTENT).hexdigest(), "bytes": None, "sha256": ""} | known
    return Download(file="a.zip", zenodo="", **given)


def fetch(one: Download, folder: Path, patience: Patience = PATIENCE, room: float = 1.0) -> Path:
    return download(one, folder, Progress(lambda: None), room=room, patience=patience)


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def refused(one: Download, folder: Path, kind: type[Exception] = RunError, patience: Patience = PATIENCE) -> str:
    with pytest.raises(kind) as told:
        fetch(one, folder, patience)
    return str(told.value)


def test_a_good_server(server, tmp_path):
    file = fetch(wanted(server, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()), tmp_path)
    assert file.read_bytes() == CONTENT
    assert left(tmp_path) == {"a.zip"}


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    one = wanted(server)
    assert fetch(one, tmp_path) == fetch(one, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("known, words", [({"bytes": 5}, "4 bytes, and 5 are right"), ({}, "with the md5 .* is right")])
def test_another_file_in_its_place_is_left_alone(server, tmp_path, known, words):
    (tmp_path / "a.zip").write_bytes(b"mine")
    assert re.search(words, refused(wanted(server, **known), tmp_path, RequestError))
    assert (tmp_path / "a.zip").read_bytes() == b"mine" and not server.asked


def test_a_server_that_breaks_off_is_asked_for_the_rest(server, tmp_path):
    server.answers = [answers.breaks_off(100_000), answers.breaks_off(200_000)]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert [headers.get("If-Range") for _, headers in server.asked[1:]] == ['"1"', '"1"']


def test_the_next_command_goes_on(server, tmp_path):
    server.answers = [answers.breaks_off(100_000)] * 3
    told = refused(wanted(server), tmp_path)
    assert told == (
        "a.zip: it broke off at 100000 of 300000 bytes, 3 times; 100 kB of it are kept, and the same command goes on "
        "from there"
    )
    assert left(tmp_path) == {"a.zip.part", "a.zip.part.json"}
    server.asked.clear()
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=100000-"]
    assert left(tmp_path) == {"a.zip"}


def test_patience_begins_anew_with_what_comes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PROGRESS_BYTES", 40_000)
    server.answers = [answers.breaks_off(at) for at in range(50_000, 300_000, 50_000)]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 6 > PATIENCE.tries


def test_all_but_the_name_was_there(server, tmp_path):
    """Killed between the last byte and the renaming: nothing is asked for again."""
    one = wanted(server)
    server.answers = [answers.breaks_off(100_000)] * 3
    refused(one, tmp_path)
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    server.asked.clear()
    assert fetch(one, tmp_path).read_bytes() == CONTENT
    assert not server.asked


def test_all_of_another_size_was_there(server, tmp_path):
    """The card has changed since: what is whole by the old one is not even compared."""
    test_all_but_the_name_was_there(server, tmp_path)
    (tmp_path / "a.zip").rename(tmp_path / "a.zip.part")
    (tmp_path / "a.zip.part.json").write_text('{"total_bytes": 300000, "etag": "", "last_modified": ""}')
    one = wanted(server)
    server.files["/a.zip"] = CONTENT + b"more"
    new = replace(one, bytes=300_004, md5=hashlib.md5(CONTENT + b"more").hexdigest())
    assert fetch(new, tmp_path).read_bytes() == CONTENT + b"more"


@pytest.mark.parametrize("etag, condition", [('"1"', '"1"'), ('W/"1"', "Sat, 01 Jan 2022 00:00:00 GMT")])
def test_the_condition_is_a_strong_one(server, tmp_path, etag, condition):
    """RFC 9110, 13.1.5: a weak ETag cannot be one; the date is then."""

    def breaks_off(handler) -> None:
        handler.start(200, 300_000, ETag=etag, Last_Modified="Sat, 01 Jan 2022 00:00:00 GMT")
        handler.wfile.write(CONTENT[:100_000])

    server.answers = [breaks_off]
    fetch(wanted(server), tmp_path)
    assert server.asked[1][1]["If-Range"] == condition


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', ""], ids=["strong", "weak", "none"])
def test_another_version_is_fetched_from_its_beginning(server, tmp_path, etag):
    """The server has a newer file when the rest is asked for. Without any word on the version, the checksum tells."""
    server.etag, old = etag, CONTENT[::-1]
    one = wanted(server)
    server.files["/a.zip"] = old
    server.answers = [answers.breaks_off(100_000)] * 3
    refused(one, tmp_path)
    server.files["/a.zip"], server.etag = CONTENT, etag.replace("1", "2")
    if not etag:
        assert "came with the md5" in refused(one, tmp_path)
    assert fetch(one, tmp_path).read_bytes() == CONTENT


def test_a_server_that_ignores_the_condition_is_found_out(server, tmp_path):
    server.answers = [answers.breaks_off(100_000)]

    def rest_of_another(handler) -> None:
        handler.start(206, 200_000, ETag='"2"', Content_Range="bytes 100000-299999/300000")
        handler.wfile.write(bytes(200_000))

    server.answers.append(rest_of_another)
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize(
    "span", ["bytes 0-199999/300000", "bytes 100000-299999/300001", "bytes */300000", "bytes 100000-299999/*", ""]
)
def test_a_rest_that_is_not_the_rest_is_not_taken(server, tmp_path, span):
    def wrong(handler) -> None:
        handler.start(206, 200_000, ETag='"1"', Content_Range=span)
        handler.wfile.write(CONTENT[:200_000])

    server.answers = [answers.breaks_off(100_000), wrong]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    server.answers = [answers.breaks_off(100_000), answers.without_ranges]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_part_that_nothing_is_known_of_is_fetched_anew(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b'{"total_bytes": "x", "etag": 1, "last_modified": null}', b"\xff"]
)
def test_a_damaged_note_is_no_traceback(server, tmp_path, note):
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    (tmp_path / "a.zip.part.json").write_bytes(note)
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT


def test_without_version_and_checksum_nothing_is_stitched(server, tmp_path):
    server.etag = ""
    server.answers = [answers.breaks_off(100_000)] * 3
    one = wanted(server, md5="")
    refused(one, tmp_path)
    server.asked.clear()
    assert fetch(one, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None]


@pytest.mark.parametrize("length", [299_999, 300_001])
def test_another_length_than_the_card_says(server, tmp_path, length):
    server.answers = [lambda handler: handler.start(200, length)]
    told = refused(wanted(server, bytes=300_000), tmp_path)
    assert told.endswith(f"a.zip offers a.zip with {length} bytes, and 300000 are right; it is not fetched")
    assert len(server.asked) == 1


def test_a_length_that_is_too_long_never_comes(server, tmp_path):
    def lies(handler) -> None:
        handler.start(200, 400_000)
        handler.wfile.write(CONTENT)

    server.answers = [lies] * 3
    assert "it broke off at 300000 of 400000 bytes, 3 times" in refused(wanted(server), tmp_path)
    assert "a.zip" not in left(tmp_path)


def test_a_length_that_is_too_short_has_the_wrong_checksum(server, tmp_path):
    def lies(handler) -> None:
        handler.start(200, 200_000)
        handler.wfile.write(CONTENT)

    server.answers = [lies]
    assert "a.zip came with the md5" in refused(wanted(server), tmp_path)
    assert left(tmp_path) == set(), "a file that is whole and wrong would be wrong forever"


def test_a_length_that_nobody_says(server, tmp_path):
    server.answers = [answers.endless]
    assert refused(wanted(server), tmp_path).endswith("nor the card says how many bytes a.zip has")


def test_a_stream_without_an_end(server, tmp_path):
    server.answers = [answers.endless]
    told = refused(wanted(server, bytes=300_000), tmp_path)
    assert told.endswith("a.zip sends more than the 300000 bytes that were promised; what came is removed")
    assert left(tmp_path) == set()


@pytest.mark.parametrize("code, words", [(404, "404 (Not Found)"), (403, "403 (Forbidden)"), (204, "204 (No Content)")])
def test_a_refusal_is_not_asked_again(server, tmp_path, code, words):
    server.answers = [answers.status(code)]
    assert refused(wanted(server), tmp_path) == f"127.0.0.1 answers {words} for {server.base}a.zip"
    assert len(server.asked) == 1


def test_a_failure_that_passes(server, tmp_path):
    server.answers = [answers.status(500), answers.status(429, Retry_After="0")]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT


def test_a_failure_that_stays(server, tmp_path):
    server.answers = [answers.status(503)] * 3
    told = "a.zip: 127.0.0.1 answers 503 (Service Unavailable), 3 times; nothing of it came"
    assert refused(wanted(server), tmp_path) == told


def test_the_wait_doubles_and_the_server_may_set_it(server, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.answers = [answers.status(500)] * 2 + [
        answers.status(503, Retry_After="7"),
        answers.status(503, Retry_After="9999"),
    ]
    fetch(wanted(server), tmp_path, Patience(tries=6, wait_s=2.0))
    assert waits == [2.0, 4.0, 7.0, 60.0]


def test_a_silent_server(server, tmp_path):
    over = threading.Event()
    server.answers = [answers.silent(over)] * 2
    told = refused(wanted(server), tmp_path, patience=Patience(tries=2, wait_s=0.0, timeout_s=0.2))
    over.set()
    assert told == "a.zip: 127.0.0.1 was silent for 0.2 s, 2 times; nothing of it came"


def test_nobody_there(server, tmp_path):
    one = wanted(server)
    server.server_close()
    assert "the connection to 127.0.0.1 failed: Connection refused, 3 times" in refused(one, tmp_path)


def test_no_answer_in_http(server, tmp_path):
    server.answers = [lambda handler: handler.wfile.write(b"220 mail.example\r\n")] * 3
    assert "a.zip: the connection to 127.0.0.1 failed: BadStatusLine, 3 times" in refused(wanted(server), tmp_path)


def test_a_redirect_is_followed(server, tmp_path):
    server.files["/b"] = CONTENT
    server.answers = [answers.redirect("/b"), answers.breaks_off(100_000), answers.redirect("b", 308)]
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/a.zip", "/b", "/a.zip", "/b"]
    assert server.ranges[2:] == ["bytes=100000-"] * 2


def test_redirects_in_a_circle(server, tmp_path):
    server.answers = [answers.redirect("/a.zip")] * 9
    assert refused(wanted(server), tmp_path).endswith("a.zip leads from redirect to redirect, more than 4 times")
    assert len(server.asked) == 5


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,hello", "gopher://x/1"])
def test_a_redirect_elsewhere(server, tmp_path, to):
    server.answers = [answers.redirect(to)]
    assert refused(wanted(server), tmp_path).endswith(": only http and https are fetched")
    assert left(tmp_path) == set()


def test_a_redirect_to_nowhere(server, tmp_path):
    server.answers = [answers.status(302)]
    assert refused(wanted(server), tmp_path).endswith("a.zip redirects, and does not say where to")


def test_no_way_from_https_to_http(server, tmp_path, monkeypatch):
    """A stand-in for the opener: a real https server would need a certificate."""
    from email.message import Message

    from medquanbench.data import connection

    class Redirect:
        status, headers = 302, Message()

        def __enter__(self):
            return self

        def __exit__(self, *given):
            pass

    Redirect.headers["Location"] = f"{server.base}a.zip"
    monkeypatch.setattr(connection, "_open", lambda *given: Redirect())
    told = refused(wanted(server, url="https://example.org/a.zip"), tmp_path)
    assert told.startswith("https://example.org/a.zip leads from https to http://127.0.0.1")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "/etc/passwd", "http://", "http://a:b/"])
def test_only_the_web(server, tmp_path, url):
    assert refused(wanted(server, url=url), tmp_path).endswith(": only http and https are fetched")


def test_passwords_are_neither_sent_nor_told(server, tmp_path):
    secret = wanted(server, url=server.base.replace("//", "//me:secret@") + "a.zip?token=secret")
    assert "secret" not in refused(secret, tmp_path)
    server.answers = [answers.redirect(secret.url)]
    assert "secret" not in refused(wanted(server), tmp_path)
    assert len(server.asked) == 1
    server.answers = [answers.status(403)]
    assert "secret" not in refused(wanted(server, url=f"{server.base}a.zip?token=secret"), tmp_path)
    assert shown("https://me:secret@example.org:444/a?token=secret#x") == "https://example.org:444/a"


def test_a_wrong_checksum(server, tmp_path):
    told = refused(wanted(server, md5="0" * 32), tmp_path)
    right = hashlib.md5(CONTENT).hexdigest()
    zeros = "0" * 32
    assert told == f"a.zip came with the md5 {right}, and {zeros} is right; it was removed, nothing is unpacked"
    assert left(tmp_path) == set()


def test_a_flipped_bit_in_what_was_kept(server, tmp_path):
    server.answers = [answers.breaks_off(100_000)] * 3
    refused(wanted(server), tmp_path)
    part = tmp_path / "a.zip.part"
    part.write_bytes(b"\0\0" + part.read_bytes()[2:])
    assert "a.zip came with the md5" in refused(wanted(server), tmp_path)
    assert fetch(wanted(server), tmp_path).read_bytes() == CONTENT


def test_a_disk_without_room_is_told_before_anything_comes(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 0, 450_000))
    one = wanted(server)
    with pytest.raises(RequestError, match=r"a.zip needs 600 kB in .*, where 450 kB are free; make room"):
        fetch(one, tmp_path, room=2.0)
    assert left(tmp_path) == set()
    assert fetch(one, tmp_path, room=1.0).read_bytes() == CONTENT


def test_a_disk_that_is_full_keeps_what_came(server, tmp_path):
    """A real disk, with room that others take while the file comes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(disk)]).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:

        def fills(handler) -> None:
            handler.start(200, 300_000, ETag='"1"')
            handler.wfile.write(CONTENT[:50_000])
            while not (disk / "a.zip.part").stat().st_size:
                time.sleep(0.005)
            with open(disk / "other", "wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
                while stream.write(bytes(4096)):
                    pass
            handler.wfile.write(CONTENT[50_000:])

        server.answers = [fills]
        told = refused(wanted(server), disk, RequestError)
        assert told == FULL_DISK.replace("of out", f"of {disk}")
        assert (disk / "a.zip.part").stat().st_size >= 50_000
        (disk / "other").unlink()
        assert fetch(wanted(server), disk).read_bytes() == CONTENT
        assert server.ranges[1].startswith("bytes=")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    def refuse(*given: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    assert refused(wanted(server), tmp_path, RequestError) == f"{tmp_path} cannot be written: Read-only file system"


KILLED = """
import sys
from pathlib import Path
from medquanbench.data.download import download
from medquanbench.dataset import Download
from medquanbench.progress import Progress
download(Download("a.zip", sys.argv[1], "", None, sys.argv[2], ""), Path(sys.argv[3]), Progress(lambda: None))
"""


def test_a_killed_process_goes_on(server, tmp_path):
    over = threading.Event()

    def slow(handler) -> None:
        handler.start(200, len(CONTENT), ETag='"1"')
        handler.wfile.write(CONTENT[:150_000])
        over.wait(60)

    one = wanted(server)
    server.answers = [slow]
    process = subprocess.Popen([sys.executable, "-c", KILLED, one.url, one.md5, str(tmp_path)], cwd=ROOT)
    part = tmp_path / "a.zip.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size == 150_000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    over.set()
    assert part.stat().st_size == 150_000
    assert fetch(one, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=150000-"]


def test_a_stop_is_heeded_and_keeps_what_came(server, tmp_path):
    one = wanted(server)

    def stop() -> None:
        if (tmp_path / "a.zip.part").exists() and (tmp_path / "a.zip.part").stat().st_size > 60_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(one, tmp_path, Progress(stop), patience=PATIENCE)
    assert 60_000 < (tmp_path / "a.zip.part").stat().st_size < 300_000
    assert fetch(one, tmp_path).read_bytes() == CONTENT
