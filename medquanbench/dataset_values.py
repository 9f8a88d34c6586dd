"""Values about a dataset: its labels, how it is got, what is on disk of it (floor 2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench.values import Case

_AS_INDEX = -1


@dataclass(frozen=True)
class Label:
    """One structure.

    Attributes:
        index: its number in every label map that this package makes.
        tolerance_mm: NSD: surfaces that lie closer than this agree.
        stored: its value in the dataset's label files; its index where nothing else is said.
        tolerance_source: where its tolerance comes from, where that differs from the card's; empty else.
    """

    index: int
    name: str
    tolerance_mm: float
    stored: int = _AS_INDEX
    tolerance_source: str = ""

    def __post_init__(self) -> None:
        if self.stored == _AS_INDEX:
            object.__setattr__(self, "stored", self.index)


@dataclass(frozen=True)
class Download:
    """One file to download, from ``url`` or from the Zenodo record ``zenodo``; "" or None where nothing is known."""

    file: str
    url: str
    zenodo: str
    bytes: int | None
    md5: str
    sha256: str


@dataclass(frozen=True)
class Access:
    """How the data is got: steps for people, and files that anybody may download (none: only by the steps)."""

    steps: str
    downloads: tuple[Download, ...]


@dataclass(frozen=True)
class Missing:
    """A file of a case that is not there, and the first split that names the case."""

    split: str
    case: str
    file: Path


@dataclass(frozen=True)
class Census:
    """What is on disk of a dataset.

    Attributes:
        cases: all whose files are all there, in the order of the splits; each once.
        missing: every file that is not there.
        extra: files that fit the layout but belong to no case of the card.
    """

    layout: str
    cases: tuple[Case, ...]
    missing: tuple[Missing, ...]
    extra: tuple[Path, ...]


def labels_of(card: dict[str, Any]) -> tuple[Label, ...]:
    """The labels of a checked card."""
    return tuple(
        Label(
            row["index"],
            row["name"],
            float(row["tolerance_mm"]),
            row.get("stored", row["index"]),
            " ".join(row.get("tolerance_source", "").split()),
        )
        for row in card["label"]
    )


def access_of(card: dict[str, Any]) -> Access:
    """How the data of a checked card is got."""
    downloads = tuple(
        Download(
            row["file"],
            row.get("url", ""),
            str(row.get("zenodo", "")),
            row.get("bytes"),
            row.get("md5", ""),
            row.get("sha256", ""),
        )
        for row in card.get("download", ())
    )
    return Access(card.get("access", {}).get("steps", "").strip(), downloads)
