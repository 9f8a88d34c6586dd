"""``data fetch``: download a dataset where its licence allows it, and unpack it; else say how to get it (floor 5)."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from medquanbench.data.connection import PATIENCE, Patience
from medquanbench.data.download import download
from medquanbench.data.unpack import unpack
from medquanbench.data.zenodo import RECORDS, locate
from medquanbench.dataset import Dataset, Download, open_card, open_dataset
from medquanbench.doorway import Parser
from medquanbench.files import unwritable, write_whole
from medquanbench.progress import Progress
from medquanbench.values import RequestError

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def parser() -> Parser:
    """The arguments of the command."""
    p = Parser(
        prog="python -m medquanbench.data fetch",
        description="Download a dataset where its licence allows it, check and unpack it; else show how to get it. "
        "The same command goes on where it was stopped.",
        allow_abbrev=False,
    )
    p.add_argument("name", metavar="NAME|PATH", help="a dataset on the shelf, or a card's file")
    p.add_argument("--data-root", required=True, metavar="DIR", help="folder that the files go to; made where missing")
    p.add_argument("--keep-archives", action="store_true", help="keep the archives when they are unpacked")
    return p


def fetch(argv: Sequence[str], progress: Progress, *, records: str = RECORDS, patience: Patience = PATIENCE) -> int:
    """Bring all files that a card names into a folder. Returns the exit code 0.

    Args:
        records: URL of Zenodo's records, which a record number is added to.

    Raises:
        RequestError: the dataset may not be downloaded by a program (its steps are printed), or cannot be put there.
        RunError: a server failed or sent something else; what came is kept, and the same command goes on.
    """
    args = parser().parse_args(argv)
    card = open_card(args.name)
    _expect_downloads(card)
    root = Path(args.data_root).expanduser()
    with _held(root):
        print(f"{card.title}\nlicence: {card.licence}\nsource: {card.source}\n", flush=True)
        for wanted in card.access.downloads:
            told = _bring(wanted, root, args.keep_archives, progress, records, patience)
            progress.clear()
            print(f"{wanted.file}: {told}", flush=True)
    _tell_cases(card, args.name, root)
    return 0


def _expect_downloads(card: Dataset) -> None:
    if card.phantom is not None:
        raise RequestError(f"{card.name} is a phantom, made where it is used; there is nothing to fetch")
    if not card.access.downloads:
        print(f"{card.title}\nlicence: {card.licence}\nsource: {card.source}\n\n{card.access.steps}\n", flush=True)
        steps = "the steps to get it are printed" if card.access.steps else "its card names no steps to get it either"
        raise RequestError(f"{card.name} cannot be fetched by a program ({card.licence}); {steps}")


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """Make the folder, and keep other commands that fetch out of it until the block or the process ends."""
    if root.exists() and not root.is_dir():
        raise RequestError(f"the data root '{root}' is no folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise RequestError(unwritable(root, error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RequestError(f"another command fetches into {root}; wait for it, or choose another folder") from None
    except OSError:
        pass  # a file system without locks; two commands at once end with a wrong checksum at worst
    try:
        yield
    finally:
        os.close(handle)


def _bring(wanted: Download, root: Path, keep: bool, progress: Progress, records: str, patience: Patience) -> str:
    """Fetch a file, unpack it where it is an archive; what was done."""
    is_archive, receipt = wanted.file.endswith(_ARCHIVES), root / f".{wanted.file}.unpacked"
    if is_archive and _still_there(wanted, root, receipt):
        return "was unpacked before, and its files are there"
    found = locate(wanted, records, patience) if wanted.zenodo else wanted
    come = "was there" if (root / wanted.file).is_file() else "fetched"
    # What is in an archive of images is compressed already: unpacked it needs as much room again, at least.
    file = download(found, root, progress, room=2.0 if is_archive else 1.0, patience=patience)
    checked = "size and checksum are right" if found.md5 or found.sha256 else "no checksum of it is known"
    if not is_archive:
        return f"{come}; {checked}"
    unpacked = unpack(file, root, progress)
    text = json.dumps({"download": asdict(wanted), "files": unpacked.files})
    write_whole(receipt, text.encode())
    if not keep:
        file.unlink()
    one = unpacked.left_out == 1
    what = "1 file that macOS added is" if one else f"{unpacked.left_out} files that macOS added are"
    left_out = f"; {what} left out" * (unpacked.left_out > 0)
    return f"{come} and is unpacked, {len(unpacked.files)} files; {checked}{left_out}"


def _still_there(wanted: Download, root: Path, receipt: Path) -> bool:
    """Whether this download was unpacked here before, and all its files are there with their sizes."""
    try:
        noted = json.loads(receipt.read_bytes())
        if noted["download"] != asdict(wanted):
            return False
        return all((root / path).stat().st_size == size for path, size in noted["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # never unpacked, or not as a whole


def _tell_cases(card: Dataset, name: str, root: Path) -> None:
    census = open_dataset(name, root=root).census()
    everyone = {case for _, names in card.split for case in names}
    layout = f", as {census.layout}" if census.layout else ""
    print(f"\n{len(census.cases)} of the {len(everyone)} cases of {card.name} are in {root}{layout}; next:")
    print(f"  python -m medquanbench.data verify {shlex.quote(name)} --data-root {shlex.quote(str(root))}")
