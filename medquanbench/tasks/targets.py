"""What is scored: the structures of a dataset as outputs of a network, by name (floor 2)."""

from __future__ import annotations

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset
from medquanbench.matching import Outputs, Targets, match_labels

__all__ = ["Targets", "match"]


def match(bundle: Bundle, dataset: Dataset) -> Targets:
    """Match a dataset's structures with a bundle's outputs, see :func:`medquanbench.matching.match_labels`.

    Raises:
        RequestError: they do not match.
    """
    what = f"the weights '{bundle.weights}' of {bundle.name}"
    return match_labels(Outputs(what, tuple(enumerate(bundle.labels))[1:]), dataset)
