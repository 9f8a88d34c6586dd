"""A good request, and how it is spoiled: the frame of the tables beside this file."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from medquanbench import shelf

WEB_PAGE = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Place:
    """A folder with the micro bundle, the micro dataset and a finished study of a good request."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "micro"

    @property
    def config(self) -> Path:
        return self.bundle / "configs" / "inference.json"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def card(self) -> Path:
        return self.data / "micro.toml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def image(self, case: str = "m2") -> Path:
        return self.data / "images" / f"{case}.nii.gz"

    def label(self, case: str = "m2") -> Path:
        return self.data / "labels" / f"{case}.nii.gz"

    @property
    def argv(self) -> list[str]:
        """The good request; a flag that comes after it counts."""
        return [
            "--bundle", str(self.bundle), "--weights", "demo-micro", "--dataset", str(self.card),
            "--data-root", str(self.data), "--out", str(self.out), "--cases", "4", "--w4a4", "adaptive",
        ]  # fmt: skip

    def shortened(self, text: str) -> str:
        """A sentence without what differs between machines: folders, what stands on the shelves, free space."""
        for name, suffix in ((shelf.BUNDLES, ""), (shelf.DATASETS, ".toml")):
            text = text.replace(f"there is: {', '.join(shelf.names(name, suffix))}", f"there is: (the {name})")
            text = text.replace(str(shelf.shelf(name)), name)
        text = re.sub(r"\(\d+ MB free\)", "(0 MB free)", text)
        text = re.sub("x{50,}", "xxx...", text)
        return text.replace(f"{self.folder}/", "").replace(f"{ROOT}/", "")


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        what: what is wrong, for the page.
        spoil: does it; returns flags that come after the good ones.
        words: what the sentence must say.
        library: the sentence ends, after these words, in a library's own, which differ between its versions.
        possible: whether this machine can have it.
    """

    what: str
    spoil: Callable[[Place], list[str] | None]
    words: str
    library: bool = False
    possible: Callable[[], bool] = lambda: True

    def argv(self, place: Place) -> list[str]:
        return [*place.argv, *(self.spoil(place) or ())]


def flags(*given: str) -> Callable[[Place], list[str]]:
    """Spoil nothing on disk; FOLDER in a flag stands for the place."""
    return lambda place: [flag.replace("FOLDER", str(place.folder)) for flag in given]


def edit(file: Callable[[Place], Path], old: str, new: str) -> Callable[[Place], None]:
    """Replace a part of a text file, which must be there."""

    def spoil(place: Place) -> None:
        text = file(place).read_text()
        assert old in text, f"the good file has no {old}"
        file(place).write_text(text.replace(old, new, 1))

    return spoil


def config(**changed: object) -> Callable[[Place], None]:
    """Change keys of the bundle's config; None takes one out, `a__b` is the key b in a."""

    def spoil(place: Place) -> None:
        content = json.loads(place.config.read_text())
        for path, value in changed.items():
            *parents, key = path.split("__")
            inner = content
            for parent in parents:
                inner = inner[parent]
            inner.pop(key, None)
            if value is not None:
                inner[key] = value
        place.config.write_text(json.dumps(content))

    return spoil


def header(file: Path, *fields: tuple[int, str, object]) -> None:
    """Write numbers into the header of a compressed NIfTI-1 file: (offset, struct format, value), little endian."""
    data = bytearray(gzip.decompress(file.read_bytes()))
    for offset, kind, value in fields:
        struct.pack_into(f"<{kind}", data, offset, value)
    file.write_bytes(gzip.compress(bytes(data)))


def save(array: np.ndarray, file: Path, affine: np.ndarray | None = None) -> None:
    """Replace an image by an array, on the grid that it had."""
    grid = nibabel.load(file).affine if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, grid), file)
