"""Where the shelves stand: beside the package in a checkout, inside it in a wheel (floor 0)."""

from __future__ import annotations

import os
from pathlib import Path

from medquanbench.values import RequestError, not_found

_PACKAGE = Path(__file__).resolve().parent
BUNDLES, DATASETS, STUDIES = "bundles", "datasets", "sensitivity"


def shelf(name: str) -> Path:
    """The folder of a shelf: ``bundles``, ``datasets`` or ``sensitivity``.

    Raises:
        RequestError: the installation has lost it.
    """
    # A wheel carries its own shelves. Looking there first keeps a stranger's top-level `datasets` folder in
    # site-packages from being taken for ours.
    candidates = (_PACKAGE / "shelves" / name, _PACKAGE.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise RequestError(f"the shelf '{name}' is not installed; sought in {' and '.join(map(str, candidates))}")


def find(shelf_name: str, what: str, ref: str | Path, suffix: str = "") -> Path:
    """A thing on a shelf by its name, or anywhere by its path.

    A reference that has a path separator or names something that exists is a path; else ``<shelf>/<ref><suffix>``.

    Raises:
        RequestError: neither is there; the message lists the names on the shelf.
    """
    folder, text = shelf(shelf_name), os.fspath(ref)
    if is_on(shelf_name, ref, suffix):
        return folder / f"{text}{suffix}"
    path = Path(text).expanduser()
    if (os.sep in text or path.suffix == suffix) and path.exists():
        return path.resolve()
    raise not_found(what, text, f"{folder} or as a path", names(shelf_name, suffix))


def is_on(shelf_name: str, ref: str | Path, suffix: str = "") -> bool:
    """True where a reference is the name of a thing on a shelf, and no path of the user's own."""
    return os.sep not in os.fspath(ref) and (shelf(shelf_name) / f"{os.fspath(ref)}{suffix}").exists()


def names(shelf_name: str, suffix: str = "") -> tuple[str, ...]:
    """What stands on a shelf: the files with a suffix, or the folders where there is none."""
    entries = shelf(shelf_name).iterdir()
    chosen = [p for p in entries if (p.suffix == suffix if suffix else p.is_dir()) and p.name[0] not in "._"]
    return tuple(sorted(p.name.removesuffix(suffix) if suffix else p.name for p in chosen))


def cache() -> Path:
    """The folder for made and fetched files: ``MEDQUANBENCH_CACHE``, or the user's cache folder. Made when missing.

    Raises:
        RequestError: it cannot be made.
    """
    given = os.environ.get("MEDQUANBENCH_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given).expanduser() if given else base / "medquanbench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the cache folder {folder} cannot be made: {error.strerror}"
        raise RequestError(f"{what}; MEDQUANBENCH_CACHE names another") from error
    return folder
