"""The proof behind `scripts/prove resume`: a real run is killed and given again, and ends as if never disturbed."""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import re
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

CLAIM = "a run that is killed at random moments and given again ends with the same files and computes nothing twice"
ROOT = Path(__file__).resolve().parent.parent
Stamps = dict[Path, tuple[int, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this proof."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--bundle", default="swinunetr")
    parser.add_argument("--cases", type=int, help="only the first cases of the split")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="an empty folder for the runs (default: a temporary one)")


def prove(args: argparse.Namespace) -> bool:
    """Kill, give again, compare; a line for each kill."""
    base = args.out or Path(tempfile.mkdtemp(prefix="prove-resume-"))
    command = ["--bundle", args.bundle, "--w4a4", "adaptive", "--save-predictions"]
    command += ["--cases", str(args.cases)] if args.cases else []
    print(f"python -m medquanbench.eval {' '.join(command)}; runs in {base}; seed {args.seed}", flush=True)
    with Watched([*command, "--out", str(base / "undisturbed")]) as run:
        run.until_begun()
        began = time.monotonic()
        run.watch(None)
        seconds = time.monotonic() - began
    n_cases = len(_finished(base / "undisturbed"))
    if run.process.returncode or not n_cases:
        print(f"the undisturbed run failed: {run.said}")
        return False
    print(f"undisturbed: {n_cases} cases of all runs in {seconds:.1f} s, not counting imports", flush=True)
    # Long enough for a case or two: were it shorter, the run would stay at its first case.
    longest = max(2 * seconds / (args.kills + 1), 3 * seconds / n_cases)
    moments, finished_at, verdicts = random.Random(args.seed), [], []
    while len(finished_at) < args.kills:  # a run that ends before all kills: the next, in a new folder
        out = base / f"killed{len(verdicts) + 1}"
        finished_at += _kill_until_done(command, out, moments, longest, args.kills - len(finished_at))
        verdicts.append(_same(base / "undisturbed", out))
    in_the_middle = sum(0 < n < n_cases for n in finished_at)
    print(
        f"{len(finished_at)} kills in {len(verdicts)} folders, {in_the_middle} after the first case and before the last"
    )
    return all(verdicts) and in_the_middle > 0


def _kill_until_done(command: list[str], out: Path, moments: random.Random, longest: float, n_kills: int) -> list[int]:
    """Give the command until it ends by itself; kill it so often at most. Returns the cases finished at each kill."""
    kept: Stamps = {}
    finished_at: list[int] = []
    while True:
        with Watched([*command, "--out", str(out)]) as run:
            run.until_begun()
            wait = moments.uniform(0, longest) if len(finished_at) < n_kills else None
            run.watch(wait)
            killed = run.process.poll() is None
            if killed:
                run.process.kill()
                run.process.wait()
        now = _finished(out)
        again = [file for file, stamp in kept.items() if now.get(file) != stamp]
        if again or (not killed and run.process.returncode):
            raise SystemExit(f"REFUTED: written twice: {again[:3]}; exit code {run.process.returncode}: {run.said}")
        kept = now
        if not killed:
            return finished_at
        finished_at.append(len(now))
        unfinished = ", ".join(sorted(file.name for file in out.rglob(".*.tmp")))
        what = f"{run.said}{', writing ' + unfinished if unfinished else ''}"
        when = f"{wait:5.2f} s after its first line, {len(now):2} cases finished"
        print(f"{out.name}, kill {len(finished_at):2}: {when}; {what}", flush=True)


def _finished(out: Path) -> Stamps:
    """The parts of finished cases, with inode and time of writing."""
    parts = [part for part in out.glob("parts/*/*.json") if part.name[0] != "."]
    return {part: (part.stat().st_ino, part.stat().st_mtime_ns) for part in parts}


def _same(undisturbed: Path, out: Path) -> bool:
    """Compare all final files byte for byte; record.json and parts without times, memory and host."""
    expected, found = _content(undisturbed), _content(out)
    other = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    print(f"{out.name}: {len(expected)} files, {len(other)} differ from the undisturbed run {other[:5] or ''}".rstrip())
    return not other


def _content(out: Path) -> dict[str, object]:
    return {str(file.relative_to(out)): _compared(file) for file in out.rglob("*") if file.is_file()}


def _compared(file: Path) -> object:
    if file.name == "record.json":
        record = json.loads(file.read_text())
        return {key: value for key, value in record.items() if key not in ("times", "memory", "host")}
    if file.parent.parent.name == "parts" and file.suffix == ".json":
        content = json.loads(file.read_text())["content"]
        return {key: value for key, value in content.items() if key != "seconds"}
    return file.read_bytes()


@dataclass
class Watched:
    """The eval door in a process of its own, whose stderr is a terminal, so that it tells of every case."""

    arguments: list[str]
    said: str = "nothing yet"
    process: subprocess.Popen = field(init=False)

    def __enter__(self) -> Watched:
        self.terminal, theirs = pty.openpty()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "medquanbench.eval", *self.arguments],
            stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        os.close(self.terminal)

    def until_begun(self) -> None:
        """Wait for the first line on stdout, which ends loading and checking."""
        while not self._listen(0.01) and self.process.poll() is None:
            pass

    def watch(self, seconds: float | None) -> None:
        """Listen for so long, or until it ends (None)."""
        end = time.monotonic() + (seconds if seconds is not None else 1e9)
        while self.process.poll() is None and (left := end - time.monotonic()) > 0:
            self._listen(min(left, 0.05))

    def _listen(self, seconds: float) -> bool:
        """Take in what was said within a time; True where something came on stdout."""
        ready, _, _ = select.select([self.terminal, self.process.stdout], [], [], seconds)
        if self.terminal in ready:
            try:
                lines = [line.strip() for line in re.split(r"[\r\n]|\033\[K", os.read(self.terminal, 65536).decode())]
                self.said = ([self.said] + [line for line in lines if line])[-1]
            except OSError:
                pass  # the other end is closed
        if self.process.stdout in ready:
            return bool(os.read(self.process.stdout.fileno(), 65536))
        return False
