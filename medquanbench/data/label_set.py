"""What the values of a folder of predictions mean: a card's labels, a set of the shelf, or a table of one's own."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medquanbench import shelf
from medquanbench.dataset import Dataset, open_card
from medquanbench.files import obstacle
from medquanbench.values import RequestError, not_found

SHELF = f"{shelf.DATASETS}/labels"
_MAX_VALUE = 65535  # a label map holds 16 bits


@dataclass(frozen=True)
class LabelSet:
    """(value, name) of every structure, and values beside 0 that count as background."""

    names: tuple[tuple[int, str], ...]
    background: tuple[int, ...] = ()

    @property
    def values(self) -> frozenset[int]:
        """All values that a label map may hold."""
        return frozenset((0, *self.background, *(value for value, _ in self.names)))


def of_card(card: Dataset, stored: bool) -> LabelSet:
    """What the values of a card's label maps mean: as its files have them, or by its indices."""
    names = tuple((label.stored if stored else label.index, label.name) for label in card.labels)
    return LabelSet(names, card.background if stored else ())


def label_set(ref: str, stored: bool) -> LabelSet:
    """The values and names of a label set.

    Args:
        ref: a name among the label sets or the dataset cards on the shelf, or a file: a card, a TOML table
            ``[labels]`` (value = name), an nnU-Net ``dataset.json``, or a JSON object (value to name or back).
        stored: take a card's stored values, not its indices.

    Raises:
        RequestError: there is no such label set, or the file holds none that can be used.
    """
    file = _file(ref)
    hidden = obstacle(file)
    if hidden:
        raise RequestError(f"the label set {file} {hidden}")
    content = _content(file)
    if isinstance(content.get("label"), list):  # a card
        return of_card(open_card(file), stored)
    return LabelSet(_checked(content.get("labels", content), file))


def _file(ref: str) -> Path:
    path = Path(ref).expanduser()
    if os.sep in ref or path.suffix in (".json", ".toml"):
        return path
    for folder in (SHELF, shelf.DATASETS):
        if ref in shelf.names(folder, ".toml"):
            return shelf.shelf(folder) / f"{ref}.toml"
    known = [*shelf.names(SHELF, ".toml"), *shelf.names(shelf.DATASETS, ".toml")]
    raise not_found("label set", ref, f"{shelf.shelf(SHELF)}, {shelf.shelf(shelf.DATASETS)} or as a file", known)


def _content(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text()
        content = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError) as error:
        raise RequestError(f"{file} is no label set: it is no {file.suffix[1:].upper() or 'TOML'} ({error})") from None
    if not isinstance(content, dict):
        raise RequestError(f"{file} is no label set: a table of values and names is needed")
    return content


def _checked(table: Any, file: Path) -> tuple[tuple[int, str], ...]:
    if not isinstance(table, dict) or not table:
        raise RequestError(f"{file} is no label set: it has no table of labels")
    rows = [_row(key, value, file) for key, value in table.items()]
    labels = tuple((value, name) for value, name in rows if value)  # 0 is the background, whatever it is called
    for place, what in enumerate(("value", "name")):
        given = [row[place] for row in labels]
        double = next((one for one in given if given.count(one) > 1), None)
        if double is not None:
            raise RequestError(f"the label set {file} has the {what} '{double}' twice")
    if not labels:
        raise RequestError(f"the label set {file} has no labels but the background")
    return labels


def _row(key: str, value: Any, file: Path) -> tuple[int, str]:
    """A row is ``"1": "liver"``, or as nnU-Net has it ``"liver": 1``."""
    number, name = (value, key) if isinstance(value, int) else (key, value)
    try:
        number = int(number)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or not isinstance(name, str) or not name.strip() or not 0 <= number <= _MAX_VALUE:
        raise RequestError(
            f"the label set {file}: '{key}' = {json.dumps(value, default=str)[:60]} is no label; a whole number from 0 "
            f"to {_MAX_VALUE} and a name are needed (regions of several labels cannot be scored)"
        )
    return number, name
