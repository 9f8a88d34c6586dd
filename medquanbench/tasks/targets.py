"""What is scored: the structures of a dataset as outputs of a network, by name (floor 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medquanbench.bundle import Bundle
from medquanbench.dataset import Dataset, Label
from medquanbench.images import LabelMap
from medquanbench.values import RequestError, not_found


@dataclass(frozen=True)
class Targets:
    """The scored structures, and how the values of a reference become theirs.

    Attributes:
        labels: what is scored: index among the network's outputs, name, tolerance.
        values: (value in the reference, output) where the card maps names; None where both are the same.
        unmapped: structures of the dataset that stand for no output; their voxels count as background.
        unasked: outputs that no structure is mapped to; their voxels count as background.
    """

    labels: tuple[Label, ...]
    values: tuple[tuple[int, int], ...] | None = None
    unmapped: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    def renumber(self, reference: LabelMap) -> LabelMap:
        """A reference in the numbers of the network's outputs; several structures may become one."""
        if self.values is None:
            return reference
        outputs = np.zeros(2**16, np.uint16)  # a label map holds 16 bits
        for value, output in self.values:
            outputs[value] = output
        return LabelMap(outputs[reference.labels], reference.grid)


def match(bundle: Bundle, dataset: Dataset) -> Targets:
    """Match a dataset's structures with a bundle's outputs: as the card maps them, else equal by name and index.

    Raises:
        RequestError: they do not match, the card maps to something that is no output, or structures of one output
            have different tolerances.
    """
    if dataset.label_map:
        return _mapped(bundle, dataset)
    wanted = {label.index: label.name for label in dataset.labels}
    if {index: name for index, name in enumerate(bundle.labels) if index} != wanted:
        raise RequestError(
            f"the weights '{bundle.weights}' of {bundle.name} answer with {_listed(bundle.labels[1:])}; "
            f"{dataset.name} is labelled with {_listed(list(wanted.values()))}"
        )
    return Targets(dataset.labels)


def _mapped(bundle: Bundle, dataset: Dataset) -> Targets:
    outputs, mapped = list(bundle.labels[1:]), dict(dataset.label_map)
    for structure, output in mapped.items():
        if output not in outputs:
            where = f"the weights '{bundle.weights}' of {bundle.name}, to which {dataset.name} maps '{structure}'"
            raise not_found("output", output, where, outputs, near=True)
    parts = {name: [label for label in dataset.labels if mapped.get(label.name) == name] for name in outputs}
    labels = tuple(Label(i, name, _tolerance(dataset, name, parts[name])) for i, name in enumerate(outputs, 1)
                   if parts[name])  # fmt: skip
    return Targets(
        labels,
        tuple((part.index, label.index) for label in labels for part in parts[label.name]),
        tuple(label.name for label in dataset.labels if label.name not in mapped),
        tuple(name for name in outputs if not parts[name]),
    )


def _tolerance(dataset: Dataset, output: str, parts: Sequence[Label]) -> float:
    found = {part.tolerance_mm for part in parts}
    if len(found) > 1:
        told = ", ".join(f"{part.name} {part.tolerance_mm:g} mm" for part in parts)
        raise RequestError(f"{dataset.name} maps structures of different tolerances to '{output}': {told}")
    return found.pop()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")
