"""StudyCard: a question to networks as a TOML file on the shelf ``sensitivity/``, a row a recipe (floor 4)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from medquanbench import quant, shelf
from medquanbench.dataset_checks import (
    FILE_NAME,
    TEXT,
    Kind,
    check_keys,
    first_double,
    is_length,
    is_rows,
    is_whole,
    matching,
)
from medquanbench.search import BEST, Terms
from medquanbench.values import Recipe, RequestError

SUFFIX = ".toml"
LAYER = "{layer}"
"""In a row's recipe it stands for the path of the most sensitive layer."""
_ANY_PATH = "layer"
Found = TypeVar("Found")


@dataclass(frozen=True)
class LayerRule:
    """How the most sensitive layer is found: see :func:`medquanbench.analysis.blame.blame`.

    Attributes:
        recipe: in which every layer in turn is released.
        cases, windows: calibration cases, and windows of each, on which networks are compared.
    """

    recipe: Recipe
    cases: int
    windows: int


@dataclass(frozen=True)
class CardRow:
    """One row of a study.

    Attributes:
        text: the recipe; ``{layer}`` stands for the most sensitive layer.
        variant: of the bundle, where the row is about another one than was asked for.
        at_most: a number of calibration cases that the dataset does not have becomes the number that it has.
        paper_dsc, paper_nsd: what the paper prints.
    """

    name: str
    text: str
    variant: str | None = None
    at_most: bool = False
    paper_dsc: float | None = None
    paper_nsd: float | None = None

    @property
    def needs_layer(self) -> bool:
        """Whether it acts on the most sensitive layer."""
        return LAYER in self.text

    def recipe(self, layer: str | None) -> Recipe:
        """The recipe, on this layer where it needs one."""
        return Recipe.parse(self.text.replace(LAYER, layer or _ANY_PATH))


@dataclass(frozen=True)
class StudyCard:
    """A study as its card tells it.

    Attributes:
        paper, reading: what is taken from the paper, and what is this project's reading of it.
        baseline: name of the row with which the others are compared; "" for none.
        draws: how often each row that calibrates is carried out.
        rule: how the most sensitive layer is found, where a row needs it.
        search: what the searches of rows with ``best`` may take; split, seed and device are those of a request.
    """

    name: str
    title: str
    question: str
    source: str
    paper: str
    reading: str
    baseline: str
    draws: int
    rule: LayerRule | None
    search: Terms
    rows: tuple[CardRow, ...]
    sha256: str


def open_card(ref: str | Path) -> StudyCard:
    """A study by its name on the shelf, or by the path of its card.

    Raises:
        RequestError: there is none; or it cannot be read, lacks something, or holds a key, a name or a kind of value
            that nothing knows.
    """
    file = shelf.find(shelf.STUDIES, "study", ref, SUFFIX)
    where = f"the study card {file}"
    try:
        content = file.read_bytes()
        card = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    check_keys(card, _NEEDED, _OPTIONAL, where)
    rows = tuple(_row(row, f"{where}, row {number}") for number, row in enumerate(card["row"], 1))
    made = StudyCard(
        card["name"], *(_words(card.get(key, "")) for key in ("title", "question", "source", "paper", "reading")),
        card.get("baseline", ""), card.get("draws", 1), _rule(card.get("layer"), where),
        _search(card.get("search"), where), rows, hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    _check(made, where)
    return made


def _row(row: dict[str, Any], where: str) -> CardRow:
    check_keys(row, _ROW_NEEDED, _ROW, where)
    scores = (float(row[key]) if key in row else None for key in ("paper_dsc", "paper_nsd"))
    made = CardRow(row["name"], row["recipe"], row.get("variant"), row.get("at_most", False), *scores)
    _placed(lambda: _check_recipe(made.recipe(None)), where)
    if made.at_most and made.recipe(None).calibration is None:
        raise RequestError(f"{where}: 'at_most' is about calib(N), which '{made.text}' does not have")
    return made


def _rule(rule: dict[str, Any] | None, where: str) -> LayerRule | None:
    if rule is None:
        return None
    where = f"{where}, layer"
    check_keys(rule, {"recipe": TEXT, "cases": _COUNT, "windows": _COUNT}, {}, where)
    recipe = _placed(lambda: Recipe.parse(rule["recipe"]), where)
    _placed(lambda: _check_recipe(recipe), where)
    if recipe.policy == BEST or recipe.is_reference or recipe.keep or quant.needs_calibration(recipe):
        raise RequestError(f"{where}: a recipe with dynamic scales that keeps no layer is needed, not '{recipe}'")
    return LayerRule(recipe, rule["cases"], rule["windows"])


def _search(rule: dict[str, Any] | None, where: str) -> Terms:
    if rule is None:
        return Terms()
    check_keys(rule, {"minutes": _ABOVE_ZERO, "float_budget_percent": _PERCENT}, {}, f"{where}, search")
    return Terms(float(rule["minutes"]), rule["float_budget_percent"] / 100)


def _check_recipe(recipe: Recipe) -> None:
    if recipe.policy != BEST:  # which stands for a recipe that is searched
        quant.needs_calibration(recipe)  # knows all names


def _check(card: StudyCard, where: str) -> None:
    names = [row.name for row in card.rows]
    if double := first_double(names):
        raise RequestError(f"{where}: two rows have the name '{double}'")
    if card.baseline and card.baseline not in names:
        raise RequestError(f"{where}: the baseline '{card.baseline}' is none of its rows: {', '.join(names)}")
    if card.rule is None and any(row.needs_layer for row in card.rows):
        raise RequestError(f"{where}: a row says {LAYER}, and no table [layer] says how the layer is found")


def _placed(read: Callable[[], Found], where: str) -> Found:
    """What a function returns; its RequestError with the place in front."""
    try:
        return read()
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error


def _words(text: str) -> str:
    return " ".join(text.split())


_COUNT: Kind = (lambda value: is_whole(value) and value > 0, "a whole number above 0")
_ABOVE_ZERO: Kind = (is_length, "a number above 0")
_PERCENT: Kind = (lambda value: (is_whole(value) or isinstance(value, float)) and 0 <= value <= 100, "0 to 100")
_SCORE: Kind = (lambda value: isinstance(value, float) and 0 <= value <= 1, "a number from 0 to 1, like 0.654")
_TABLE: Kind = (lambda value: isinstance(value, dict), "a table")
_NEEDED: dict[str, Kind] = {
    "name": matching(FILE_NAME.pattern, "a name for files, of letters, digits, _ - and ."),
    "title": TEXT,
    "question": TEXT,
    "source": TEXT,
    "row": (is_rows, "a list of tables, [[row]]"),
}
_OPTIONAL: dict[str, Kind] = {
    "paper": TEXT,
    "reading": TEXT,
    "baseline": TEXT,
    "draws": _COUNT,
    "layer": _TABLE,
    "search": _TABLE,
}
_ROW_NEEDED: dict[str, Kind] = {"name": TEXT, "recipe": TEXT}
_ROW: dict[str, Kind] = {
    "variant": TEXT,
    "at_most": (lambda value: isinstance(value, bool), "true or false"),
    "paper_dsc": _SCORE,
    "paper_nsd": _SCORE,
}
