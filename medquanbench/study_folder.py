"""A study's folder: whose it is, and that one command at a time works in it (floor 4)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medquanbench import __version__
from medquanbench.files import clear_temporaries, write_whole
from medquanbench.run import config_in_key
from medquanbench.study_plan import Plan
from medquanbench.values import RequestError

OUTPUTS = (
    "results.csv", "cases.csv", "labels.csv", "draws.csv", "record.json", "report.html", "figures", "parts",
    "predictions",
)  # fmt: skip


@contextmanager
def claimed(folder: Path | None, plan: Plan) -> Iterator[None]:
    """Hold a folder for a study while it runs. ``study.json`` says whose it is; None is no folder and holds nothing.

    Raises:
        RequestError: the folder belongs to another study, holds outputs that nothing is known of, cannot be written,
            or another command is at work in it.
    """
    if folder is None:
        yield
        return
    file = folder / "study.json"
    try:
        _check_owner(folder, file, plan)
        if not file.exists():
            write_whole(file, json.dumps({"study": plan.key, **_ingredients(plan)}, indent=1).encode())
        stream = open(file, "r+b")  # locks over a network need a file that is open for writing
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error.strerror}") from error
    with stream:
        if _lock(stream, folder, file):
            _check_owner(folder, file, plan)  # two commands may have found the folder empty
            for part in (folder, folder / "figures", *folder.glob("parts/*"), *folder.glob("predictions/*")):
                clear_temporaries(part)
        yield


def _lock(stream: IO[bytes], folder: Path, file: Path) -> bool:
    """Take the lock, which ends with the process, however it ends. False where the file system has no locks."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestError(f"another command is at work in {folder}; wait for it, or choose another --out") from None
    except OSError:
        return False  # two commands at once then compute some cases twice; every file is whole all the same
    if not os.path.samestat(os.fstat(stream.fileno()), file.stat()):
        raise RequestError(f"another command has just begun in {folder}; choose another --out")
    return True


def _check_owner(folder: Path, file: Path, plan: Plan) -> None:
    if not file.is_file():
        found = [name for name in OUTPUTS if (folder / name).exists()]
        if found:
            raise RequestError(
                f"{folder} holds {', '.join(found)}, but no study.json that says what they come from; "
                "choose another --out"
            )
        return
    try:
        there = json.loads(file.read_text())
        if there["study"] == plan.key:
            return
        told = _differences(there, _ingredients(plan))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(f"{file} is damaged, so that it cannot be told whose folder this is") from None
    raise RequestError(f"{folder} belongs to another study ({told}); choose another --out")


def _ingredients(plan: Plan) -> dict:
    """What a study's key hashes, readable, so that a refusal can say what differs."""
    bundle, dataset = plan.bundle, plan.dataset
    config = json.dumps(config_in_key(bundle), sort_keys=True)
    return {
        "package": __version__,
        "bundle": bundle.name,
        "variant": bundle.variant,
        "weights": bundle.weights,
        "weights_sha256": bundle.weights_sha256,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "dataset": dataset.name,
        "card_sha256": dataset.card_sha256,
        "split": plan.split,
        "cases": [name for name, _ in plan.sums],
        "images_sha256": {name: list(sums) for name, sums in plan.sums},
        "recipes": [str(run.recipe) for run in plan.runs],
        "calibration_sha256": {name: list(sums) for name, sums in plan.calibration.sums},
        "draws": plan.calibration.draws,
        "seed": plan.seed,
        **{f"{metric} margin": dict(plan.margins).get(metric) for metric in plan.task.metrics},
    }


def _differences(there: dict, here: dict) -> str:
    """The ingredients that differ, with both values. An older study.json names some of them only."""
    both = [name for name in here if name in there]
    told = [_TELL.get(name, _values)(name, there[name], here[name]) for name in both if there[name] != here[name]]
    return "; ".join(text for text in told if text) or "its study.json does not say what differs"


def _values(name: str, there: object, here: object) -> str:
    return f"{name}: {_short(there)} there, {_short(here)} here"


def _short(value: object) -> str:
    return "default" if value is None else str(value)[:40]


def _checksums(name: str, there: str, here: str) -> str:
    return f"{name}: {there[:12]}... there, {here[:12]}... here"


def _counts(name: str, there: Sequence[str], here: Sequence[str]) -> str:
    if len(there) != len(here):
        return f"{name}: {len(there)} there, {len(here)} here"
    return _lists(name, there, here)


def _lists(name: str, there: Sequence[str], here: Sequence[str]) -> str:
    gone, new = [item for item in there if item not in here], [item for item in here if item not in there]
    if not gone and not new:
        return f"{name}: in another order"
    return f"{name}: {_quoted(gone)} there, {_quoted(new)} here"


def _quoted(items: Sequence[str]) -> str:
    shown = ", ".join(f"'{item}'" for item in items[:3]) or "no other"
    return shown + (f", ... ({len(items)})" if len(items) > 3 else "")


def _images(name: str, there: dict, here: dict) -> str:
    other = [case for case in here if case in there and there[case] != here[case]]
    return f"files of the cases: {_quoted(other)} changed" if other else ""


_TELL: dict[str, Callable[..., str]] = {
    "weights_sha256": _checksums,
    "config_sha256": _checksums,
    "card_sha256": _checksums,
    "cases": _counts,
    "images_sha256": _images,
    "calibration_sha256": _images,
    "recipes": _lists,
}
