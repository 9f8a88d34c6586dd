"""`data fetch`, from a card to cases that can be opened; the server is on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from medquanbench.data.__main__ import main
from medquanbench.data.connection import Patience
from medquanbench.data.fetch import fetch
from medquanbench.data.meter import in_words
from medquanbench.dataset import open_dataset
from medquanbench.doorway import answer
from tests.bad_input.bad import WEB_PAGE
from tests.conftest import CARD, write_dataset
from tests.data import server as answers
from tests.data.hostile import write_tar, write_tar_gz, write_zip

PATIENCE = Patience(tries=2, wait_s=0.0, timeout_s=5.0)
ROOT = Path(__file__).resolve().parent.parent.parent


class Place:
    """A card whose downloads lie on the server: the images in a zip, the labels in a tar.gz, and a table."""

    def __init__(self, folder: Path, server) -> None:
        self.folder, self.server, self.root = folder, server, folder / "root"
        data = write_dataset(folder / "made")
        files = [
            (f"{kind}/{file.name}", file.read_bytes())
            for kind in ("images", "labels")
            for file in (data / kind).iterdir()
        ]
        images, labels = files[: len(files) // 2], files[len(files) // 2 :]
        self.files = dict(files)
        self.card = folder / "micro.toml"
        self.offer(
            {
                "images.zip": write_zip(folder / "1", images).read_bytes(),
                "labels.tar.gz": write_tar_gz(folder / "2", [("./._labels", b"x"), *labels]).read_bytes(),
                "meta.csv": b"case,age\n",
            }
        )

    def offer(self, files: dict[str, bytes], steps: str = "") -> None:
        text = CARD.replace("[layout]", f'[access]\nsteps = "{steps}"\n[layout]') if steps else CARD
        for name, content in files.items():
            self.server.files[f"/{name}"] = content
            text += f'[[download]]\nfile = "{name}"\nurl = "{self.server.base}{name}"\n'
            text += f'bytes = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        self.card.write_text(text)

    @property
    def argv(self) -> list[str]:
        return [str(self.card), "--data-root", str(self.root)]

    def fetch(self, *more: str) -> int:
        return answer(lambda progress: fetch([*self.argv, *more], progress, patience=PATIENCE))

    def contents(self) -> dict[str, bytes]:
        return {str(file.relative_to(self.root)): file.read_bytes() for file in self.root.rglob("*") if file.is_file()}

    def there(self) -> dict[str, bytes]:
        """What is there, without what fetch notes for itself."""
        return {name: content for name, content in self.contents().items() if not name.startswith(".")}


@pytest.fixture
def place(tmp_path, server) -> Place:
    return Place(tmp_path, server)


def test_from_a_card_to_cases(place, capsys):
    assert place.fetch() == 0
    assert place.there() == place.files | {"meta.csv": b"case,age\n"}
    dataset = open_dataset(place.card, root=place.root)
    assert [case.name for case in dataset.cases("test")] == [f"m{number}" for number in range(1, 8)]
    told = capsys.readouterr().out
    assert told == (
        "Micro\nlicence: CC0\nsource: made by the tests\n\n"
        "images.zip: fetched and is unpacked, 9 files; size and checksum are right\n"
        "labels.tar.gz: fetched and is unpacked, 9 files; size and checksum are right; 1 file that macOS added is left "
        "out\n"
        "meta.csv: fetched; size and checksum are right\n"
        f"\n9 of the 9 cases of micro are in {place.root}, as {dataset.layout}; next:\n"
        f"  python -m medquanbench.data verify {place.card} --data-root {place.root}\n"
    )


def test_what_it_says_to_run_next_runs(place, capsys):
    assert place.fetch() == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:3] == ["python", "-m", "medquanbench.data"]
    assert main(command[3:]) == 0


def test_the_same_command_again_fetches_nothing(place, capsys):
    assert place.fetch() == 0
    before, asked = place.contents(), len(place.server.asked)
    capsys.readouterr()
    assert place.fetch() == 0
    assert place.contents() == before and len(place.server.asked) == asked == 3
    told = capsys.readouterr().out
    assert "images.zip: was unpacked before, and its files are there\n" in told
    assert "meta.csv: was there; size and checksum are right\n" in told


def test_what_was_lost_is_fetched_again(place):
    assert place.fetch() == 0
    before = place.contents()
    (place.root / "images" / "m2.nii.gz").unlink()
    assert place.fetch() == 0
    assert place.contents() == before
    assert [path for path, _ in place.server.asked[3:]] == ["/images.zip"]


def test_what_was_changed_is_told_and_left_alone(place, capsys):
    assert place.fetch() == 0
    mine = place.root / "images" / "m2.nii.gz"
    mine.write_bytes(b"mine")
    assert place.fetch() == 2
    assert f"{mine} is there with other content; move that away" in capsys.readouterr().err
    assert mine.read_bytes() == b"mine"


def test_an_archive_needs_room_twice(place, capsys, monkeypatch):
    size = len(place.server.files["/images.zip"])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 0, 2 * size - 1))
    assert place.fetch() == 2
    assert capsys.readouterr().err.startswith(f"error: images.zip needs {in_words(2 * size)} in {place.root}, where ")
    assert not place.there()


def test_a_card_that_names_another_file_is_heeded(place):
    assert place.fetch() == 0
    place.offer({"images.zip": write_zip(place.folder / "1", [("more/a", b"1")]).read_bytes()})
    assert place.fetch() == 0
    assert place.there()["more/a"] == b"1"


def test_archives_can_be_kept(place):
    assert place.fetch("--keep-archives") == 0
    names = {name for name in place.there() if "/" not in name}
    assert names == {"images.zip", "labels.tar.gz", "meta.csv"}
    place.server.asked.clear()
    for file in place.root.glob("images/*"):
        file.unlink()
    assert place.fetch() == 0
    assert not place.server.asked, "a kept archive is unpacked again"
    assert place.files.items() <= place.there().items()


def test_through_zenodo(place, capsys):
    content = place.server.files["/images.zip"]
    links = {"self": f"{place.server.base}images.zip"}
    row = {
        "key": "images.zip",
        "size": len(content),
        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
        "links": links,
    }
    place.server.files["/api/records/42"] = json.dumps({"files": [row]}).encode()
    place.card.write_text(CARD + '[[download]]\nfile = "images.zip"\nzenodo = "42"\n')
    records = f"{place.server.base}api/records/"
    for asked in (2, 2):
        assert answer(lambda progress: fetch(place.argv, progress, records=records, patience=PATIENCE)) == 0
        assert len(place.server.asked) == asked
    assert "size and checksum are right" in capsys.readouterr().out


def test_without_a_checksum_it_is_said(place, capsys):
    lines = place.card.read_text().splitlines()
    place.card.write_text("\n".join(line for line in lines if not line.startswith("sha256")))
    assert place.fetch() == 0
    assert capsys.readouterr().out.count("no checksum of it is known") == 3


def test_where_the_licence_forbids_it_the_steps_are_printed(place, capsys):
    place.offer({}, "Register at the registry, sign, unzip.")
    assert place.fetch() == 2
    told = capsys.readouterr()
    assert "Register at the registry, sign, unzip." in told.out
    assert told.err == "error: micro cannot be fetched by a program (CC0); the steps to get it are printed\n"
    assert not place.root.exists()


def test_a_card_without_any_way(place, capsys):
    place.offer({})
    assert place.fetch() == 2
    assert capsys.readouterr().err.endswith("(CC0); its card names no steps to get it either\n")


def test_a_phantom_needs_no_fetching(place, capsys):
    assert main(["fetch", "btcv-phantom", "--data-root", str(place.root)]) == 2
    assert capsys.readouterr().err == (
        "error: btcv-phantom is a phantom, made where it is used; there is nothing to fetch\n"
    )


@pytest.mark.parametrize(
    "argv, words",
    [
        (["nosuch", "--data-root", "FOLDER/root"], "no dataset 'nosuch' in "),
        (["CARD"], "the following arguments are required: --data-root"),
        (["CARD", "--data-root"], "--data-root: a value is needed"),
        (["CARD", "--data-root", "FOLDER/micro.toml"], "micro.toml' is no folder"),
        (["CARD", "--data-root", "FOLDER/micro.toml/x"], "cannot be written: Not a directory"),
        (["CARD", "--data-root", "FOLDER/root", "--force"], "no flag '--force' in data fetch"),
    ],
)
def test_bad_requests(place, capsys, argv, words):
    argv = [one.replace("CARD", str(place.card)).replace("FOLDER", str(place.folder)) for one in argv]
    assert main(["fetch", *argv]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and words in told
    assert not place.server.asked


@pytest.mark.parametrize(
    "content, words",
    [
        (WEB_PAGE, "images.zip is not unpacked: it is no zip, tar or tar.gz archive: it is a web page"),
        (
            [("../outside.txt", b"hacked")],
            "images.zip is not unpacked: it holds '../outside.txt', which leaves the folder",
        ),
        ([("images/m1.nii.gz", b"1"), ("images/M1.nii.gz", b"1")], "which many systems take for the same"),
    ],
)
def test_a_hostile_server_costs_nothing_of_what_is_there(place, capsys, content, words):
    place.root.mkdir()
    (place.root / "mine.txt").write_text("mine")
    hostile = content if isinstance(content, bytes) else write_tar(place.folder / "3", content).read_bytes()
    place.offer({"images.zip": hostile})
    assert place.fetch() == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and words in told
    assert place.there() == {"mine.txt": b"mine", "images.zip": hostile}
    assert not (place.folder / "outside.txt").exists()


def test_a_failure_keeps_what_was_finished_and_the_next_command_goes_on(place, capsys):
    place.server.answers = [answers.good, answers.breaks_off(100), answers.breaks_off(100)]
    assert place.fetch() == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("failed: labels.tar.gz: it broke off at 100 of 6")
    place.server.asked.clear()
    assert place.fetch() == 0
    assert [path for path, _ in place.server.asked] == ["/labels.tar.gz", "/meta.csv"]
    assert place.server.ranges[0] == "bytes=100-"
    assert place.there() == place.files | {"meta.csv": b"case,age\n"}


def test_one_command_at_a_time(place, capsys):
    """The second finds the first at work."""
    over, second = threading.Event(), []

    def slow(handler) -> None:
        second.append(place.fetch())
        over.set()
        answers.good(handler)

    place.server.answers = [slow]
    assert place.fetch() == 0
    assert second == [2] and over.is_set()
    assert f"another command fetches into {place.root}" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_stopped_command_goes_on(place, how):
    """SIGKILL asks nobody; SIGTERM ends with a sentence. Either way the same command ends as undisturbed."""
    over, content = threading.Event(), place.server.files["/images.zip"]

    def slow(handler) -> None:
        handler.start(200, len(content), ETag='"1"')
        handler.wfile.write(content[:5000])
        over.wait(60)

    place.server.answers = [slow]
    command = [sys.executable, "-m", "medquanbench.data", "fetch", *place.argv]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    part = place.root / "images.zip.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size == 5000):
        time.sleep(0.01)
    getattr(process, how)()
    told = process.communicate(timeout=60)[1]
    over.set()
    if how == "terminate":
        assert process.returncode == 1 and "stopped; what was finished is kept" in told and "Traceback" not in told
    assert part.stat().st_size == 5000
    assert place.fetch() == 0
    assert place.server.ranges[1] == "bytes=5000-"
    assert place.there() == place.files | {"meta.csv": b"case,age\n"}


@pytest.mark.parametrize("receipt", [b"", b"[]", b"{}", b'{"download": null, "files": []}'])
def test_a_damaged_receipt_is_none(place, receipt):
    assert place.fetch() == 0
    (place.root / ".images.zip.unpacked").write_bytes(receipt)
    assert place.fetch() == 0
    assert [path for path, _ in place.server.asked[3:]] == ["/images.zip"]


def test_a_folder_without_permission(place, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    place.root.mkdir(mode=0o555)
    assert place.fetch() == 2
    assert "cannot be written: Permission denied" in capsys.readouterr().err
