"""What ``data score`` is asked for, and what came out (floor 5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medquanbench.data.score_case import Scored
from medquanbench.data.score_pairs import Pairing
from medquanbench.dataset import Dataset
from medquanbench.matching import Targets

INDEX, STORED = "index", "stored"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        labels: the predictions' own label set; "" where it is the dataset's.
        prediction_values, reference_values: ``index`` or ``stored``: which of a card's numbers the files hold.
        split: None for all cases that have a reference.
    """

    reference: Path
    prediction: Path
    dataset: str
    out: Path
    labels: str
    prediction_values: str
    reference_values: str
    split: str | None
    jobs: int


@dataclass(frozen=True)
class Evaluation:
    """A request, what was found, and the scores of every case. ``key`` hashes what was asked for, without the files."""

    request: Request
    key: str
    dataset: Dataset
    targets: Targets
    pairing: Pairing
    cases: tuple[Scored, ...]
