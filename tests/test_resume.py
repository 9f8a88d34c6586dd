"""A command that is killed and given again ends with the same files, and computes no finished case twice.

The eval door runs over the micro bundle in a child of a warm process (fork_server.py). SIGKILL ends it at random
moments of its whole life, and at each of the three moments of writing a file at which a disk holds something else than
before or after. Not covered: power cuts (what a disk has not yet flushed), and networks other than the micro one. On a
real bundle, with whole processes: `scripts/prove resume`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import write_bundle, write_dataset

ROOT = Path(__file__).resolve().parent.parent
N_CASES, N_RUNS = 6, 2
STOPPED = "stopped; what was finished is kept, and the same command goes on from there"


@dataclass(frozen=True)
class End:
    status: int
    seconds: float
    printed: str


class Server:
    """The warm process, and the one command that it is asked to run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds = folder, 0.0  # how long the command takes
        bundle, data = write_bundle(folder / "micro"), write_dataset(folder / "data")
        self.argv = [
            "--bundle", str(bundle), "--weights", "demo-micro", "--dataset", str(data / "micro.toml"),
            "--data-root", str(data), "--cases", str(N_CASES), "--w4a4", "adaptive", "--save-predictions",
        ]  # fmt: skip
        one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "fork_server.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | one | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(self, out: Path, **how: object) -> End:
        log = self.folder / "log"
        log.write_text("")
        order = {"argv": [*self.argv, "--out", str(out)], "log": str(log), **how}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return End(answer["status"], answer["seconds"], log.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("resume"))
    assert server.run(server.folder / "undisturbed", here=True).status == 0
    server.seconds = server.run(server.folder / "timed").seconds
    yield server
    server.process.stdin.close()
    server.process.wait(30)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """What is on disk of every finished case: its parts and its saved answer, with inode and time of writing."""
    files = [part for part in out.glob("parts/*/*.json") if part.name[0] != "."]
    cases = {(part.parent.name, part.stem) for part in files}
    files += [out / "parts" / run / f".answer.{case}.json" for run, case in cases]
    arrays = [file for kind in ("npy", "answer") for file in out.glob(f"parts/*/*.{kind}")]
    files += [array for array in arrays if (array.parent.name, array.stem) in cases]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def final(out: Path) -> dict[str, object]:
    """All that a run leaves, but for its parts, and without what a repeat may change."""
    files = [file for file in out.rglob("*") if file.is_file() and "parts" not in file.relative_to(out).parts]
    content: dict[str, object] = {str(file.relative_to(out)): file.read_bytes() for file in files}
    record = json.loads(content["record.json"])
    for section in ("times", "memory", "host"):
        assert record.pop(section)
    return content | {"record.json": record}


def assert_as_undisturbed(server: Server, out: Path) -> None:
    expected, found = final(server.folder / "undisturbed"), final(out)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not [file for file in out.rglob("*.tmp")]


def assert_kept(before: dict[str, tuple[int, int]], out: Path) -> dict[str, tuple[int, int]]:
    """What was finished is still there and was not written again. Returns what is finished now."""
    now = finished(out)
    assert {file: now.get(file) for file in before} == before
    return now


def n_cases(found: dict[str, tuple[int, int]]) -> int:
    return sum(Path(file).name[0] != "." and file.endswith(".json") for file in found)


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("MEDQUANBENCH_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"MEDQUANBENCH_TEST_SEED={seed}")  # pytest shows it where the test fails
    return random.Random(seed)


def test_kills_at_random_moments(server, chance, tmp_path):
    in_the_middle = 0
    for attempt in range(10):
        out, kept = tmp_path / f"attempt{attempt}", {}
        for _ in range(6):
            end = server.run(out, kill_after_s=chance.uniform(0, server.seconds / 3))
            assert end.status in (-signal.SIGKILL, 0), end.printed
            before, kept = kept, assert_kept(kept, out)
            in_the_middle += end.status != 0 and n_cases(before) < n_cases(kept) < N_CASES * N_RUNS
        assert server.run(out).status == 0
        assert_kept(kept, out)
        assert_as_undisturbed(server, out)
        if in_the_middle:
            return
    pytest.fail("no kill hit between the first case and the last")


def test_kills_while_a_file_is_written(server, chance, tmp_path):
    out, kept = tmp_path / "out", {}
    kills = [(moment, chance.randint(1, 6)) for _ in range(3) for moment in ("half", "whole", "renamed")]
    for moment, write in [("half", 1), ("whole", 1), *kills]:
        end = server.run(out, moment=moment, write=write)
        assert end.status == -signal.SIGKILL, end.printed
        kept = assert_kept(kept, out)
    assert server.run(out).status == 0
    kept = assert_kept(kept, out)
    for moment, write in (("half", 1), ("whole", 2), ("renamed", 3)):  # results.csv, cases.csv, labels.csv
        assert server.run(out, moment=moment, write=write).status == -signal.SIGKILL
    assert server.run(out).status == 0
    assert_kept(kept, out)
    assert_as_undisturbed(server, out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_is_a_sentence(server, chance, tmp_path, number):
    for attempt in range(9):
        end = server.run(tmp_path / f"{attempt}", kill_after_s=chance.uniform(0, server.seconds / 3), signal=number)
        if "report:" not in end.printed:
            break  # else the machine was faster than when it was timed, and the command was at its end
    assert end.status == 1, end.printed
    assert STOPPED in end.printed and "Traceback" not in end.printed, end.printed
    assert not list(tmp_path.rglob("*.tmp"))
