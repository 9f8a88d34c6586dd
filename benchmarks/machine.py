"""What every benchmark says of where it ran, and the memory of the process that it runs in."""

from __future__ import annotations

import os
import platform
import resource
import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def machine() -> dict[str, str | int | None]:
    """Processor, its cores, and the system."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(), "system": platform.system()}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python, of this checkout, and of packages, installed or not."""
    found = {"python": platform.python_version(), "medquanbench": _own_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def environment() -> dict[str, str]:
    """For a process with the package of this checkout, whatever is installed."""
    paths = os.pathsep.join(filter(None, (str(FOLDER.parent), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": paths}


def resident_mb() -> float:
    """Memory of this process now, in units of 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Peak(threading.Thread):
    """While it is entered, looks at the resident memory all the time: the system's own peak is of all before, too.

    Attributes:
        mb: the largest so far, in units of 10^6 bytes.
    """

    def __enter__(self) -> Peak:
        self.mb, self.over = resident_mb(), threading.Event()
        self.start()
        return self

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.mb = max(self.mb, resident_mb())

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()


def _own_version() -> str:
    text = (FOLDER.parent / "medquanbench" / "__init__.py").read_text()
    return next(line.partition("=")[2].strip(' "') for line in text.splitlines() if line.startswith("__version__"))


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
