"""A dataset's structures and the outputs of another label set, matched: what is scored, in which numbers (floor 2).

Outputs are what a network answers with, or what the labels of a folder of predictions mean.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medquanbench.dataset import Dataset, Label
from medquanbench.images import LabelMap
from medquanbench.structures import Match, canonical, matches
from medquanbench.values import RequestError, not_found

_N_VALUES = 2**16  # a label map holds 16 bits


@dataclass(frozen=True)
class Outputs:
    """What a label set other than the dataset's knows.

    Attributes:
        what: whose they are, as the subject of a sentence: "the weights 'a' of b".
        names: (value, name) of each output, without the background.
    """

    what: str
    names: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Targets:
    """The scored structures, and how the values of a reference and of a prediction become theirs.

    Attributes:
        labels: what is scored: number, name, tolerance.
        values: (label index in the reference, target's number); None where both are the same.
        answers: (output, target's number); None where both are the same.
        unmapped: structures of the dataset that stand for no output; their voxels count as background.
        unasked: outputs that no structure is mapped to; their voxels count as background.
        pairs: (structures, outputs) of each target, names joined with ``+``; empty where both sets are equal.
    """

    labels: tuple[Label, ...]
    values: tuple[tuple[int, int], ...] | None = None
    unmapped: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    answers: tuple[tuple[int, int], ...] | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """For each target the outputs whose union it is: their probabilities add."""
        if self.answers is None:
            return tuple((label.index,) for label in self.labels)
        return tuple(tuple(out for out, number in self.answers if number == label.index) for label in self.labels)

    def renumber(self, reference: LabelMap) -> LabelMap:
        """A reference in the targets' numbers; several structures may become one, the others become background."""
        return _renumbered(reference, self.values)

    def renumber_prediction(self, predicted: LabelMap) -> LabelMap:
        """An answer in the targets' numbers; several outputs may become one, the others become background."""
        return _renumbered(predicted, self.answers)


def match_labels(outputs: Outputs, dataset: Dataset, *, numbered_by_structure: bool = False) -> Targets:
    """Match a dataset's structures with outputs: equal tables, else as the card maps them, else by what names mean.

    Names mean the same as :mod:`medquanbench.structures` says. Incomplete matches are told in the answer.

    Args:
        numbered_by_structure: targets have the dataset's numbers and names; else the outputs'. Of several the first.

    Raises:
        RequestError: nothing matches, the card maps to something that is no output, or structures that become one
            target have different tolerances.
    """
    if set(outputs.names) == {(label.index, label.name) for label in dataset.labels}:
        return Targets(dataset.labels)
    names = [name for _, name in outputs.names]
    structures = [label.name for label in dataset.labels]
    found = _by_card(outputs, dataset) if dataset.label_map else matches(structures, names)
    if not found:
        raise RequestError(
            f"{outputs.what} answer with {_listed(names)}; {dataset.name} is labelled with {_listed(structures)}"
            + _near(structures, names)
        )
    return _targets(found, outputs, dataset, _as_structure if numbered_by_structure else _as_output)


def near_names(unmapped: Sequence[str], unasked: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names without a partner that are spelt almost alike, perhaps by mistake: (structure, output).

    Where both are names of known structures, they are no mistake: ``vertebrae_L5`` is not meant for ``vertebrae_L6``.
    """
    lower = {name.lower(): name for name in unasked}
    alike = ((name, difflib.get_close_matches(name.lower(), lower, 1, 0.8)) for name in unmapped)
    pairs = ((name, lower[found[0]]) for name, found in alike if found)
    return tuple((one, other) for one, other in pairs if canonical(one) is None or canonical(other) is None)


def _by_card(outputs: Outputs, dataset: Dataset) -> tuple[Match, ...]:
    names, mapped = [name for _, name in outputs.names], dict(dataset.label_map)
    for structure, output in mapped.items():
        if output not in names:
            where = f"{outputs.what}, to which {dataset.name} maps '{structure}'"
            raise not_found("output", output, where, names, near=True)
    parts = {name: [x.name for x in dataset.labels if mapped.get(x.name) == name] for name in names}
    return tuple(Match(tuple(made_of), (name,)) for name, made_of in parts.items() if made_of)


def _targets(
    found: Sequence[Match], outputs: Outputs, dataset: Dataset, naming: Callable[[Match, Label, int], Label]
) -> Targets:
    known, numbers = {x.name: x for x in dataset.labels}, {name: number for number, name in outputs.names}
    labels, values, answers = [], [], []
    for match in found:
        parts = [known[name] for name in match.structures]
        label = naming(match, parts[0], numbers[match.outputs[0]])
        labels.append(replace(label, tolerance_mm=_tolerance(dataset, label.name, parts)))
        values += [(part.index, label.index) for part in parts]
        answers += [(numbers[name], label.index) for name in match.outputs]
    structures = {name for match in found for name in match.structures}
    asked = {name for match in found for name in match.outputs}
    return Targets(
        tuple(sorted(labels, key=lambda label: label.index)),
        tuple(values),
        tuple(name for name in known if name not in structures),
        tuple(name for name in numbers if name not in asked),
        tuple(answers),
        tuple((" + ".join(match.structures), " + ".join(match.outputs)) for match in found),
    )


def _as_output(match: Match, first: Label, number: int) -> Label:
    return replace(first, index=number, name=match.outputs[0] if len(match.outputs) == 1 else match.structures[0])


def _as_structure(match: Match, first: Label, number: int) -> Label:
    return first if len(match.structures) == 1 else replace(first, name=match.outputs[0])


def _tolerance(dataset: Dataset, target: str, parts: Sequence[Label]) -> float:
    found = {part.tolerance_mm for part in parts}
    if len(found) > 1:
        told = ", ".join(f"{part.name} {part.tolerance_mm:g} mm" for part in parts)
        raise RequestError(f"{dataset.name} maps structures of different tolerances to '{target}': {told}")
    return found.pop()


def _near(structures: Sequence[str], outputs: Sequence[str]) -> str:
    alike = near_names(structures, outputs)[:3]
    return "".join(f"; '{structure}' is near '{output}'" for structure, output in alike)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")


def _renumbered(label_map: LabelMap, numbers: tuple[tuple[int, int], ...] | None) -> LabelMap:
    if numbers is None:
        return label_map
    table = np.zeros(_N_VALUES, np.uint16)
    for value, number in numbers:
        table[value] = number
    return LabelMap(_looked_up(label_map.labels, table), label_map.grid)


def _looked_up(labels: NDArray, table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    found = np.empty(labels.shape, np.uint16)
    for place, slab in enumerate(labels):  # numpy makes 8 bytes of each index: not of the whole volume at once
        found[place] = table[slab]
    return found
