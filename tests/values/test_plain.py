"""Values go to JSON and come back as what they were; anything else is refused."""

import json
from dataclasses import dataclass

import pytest

from medquanbench.values import (
    CaseResult,
    Line,
    Presence,
    Receipt,
    Recipe,
    Record,
    RequestError,
    Run,
    State,
    Target,
    TensorNote,
    from_plain,
    to_plain,
)

NOTE = TensorNote(4, "per-channel", 27, 4 + 32 / 27, "a note")
LINE = Line("a.b", ("c", "d"), "conv 3x3x3", State.QUANTIZED, "", 108, NOTE, TensorNote(8, "per-sample"), True)
RECIPE = Recipe.parse("w4a4 adaptive svd(rank=4) keep(a.*) input(8)")
LIVER = Target(1, "liver", Presence.BOTH, 10, 9, (0.9, None), (2.5, None))
COLON = Target(2, "colon", Presence.NEITHER, 0, 0, (None, 1.0))
CASE = CaseResult("c1", (1.0, 1.0, 2.5), (LIVER, COLON), None, 3.5, (0.01,))
RUN = Run("nnunet", "demo", "w.safetensors", "btcv", "test", True, ("c1", "c2"), RECIPE, 0, "abc")
VALUES = {
    "note": NOTE,
    "line": LINE,
    "receipt": Receipt(str(RECIPE), (LINE, LINE), NOTE),
    "receipt without image": Receipt("fp32", ()),
    "run": RUN,
    "record": Record(RUN, ("dsc", "nsd"), (CASE,), Receipt("fp32", (LINE,)), ("hd95_mm", "ece"), ("flip_rate",)),
    "step": CaseResult("c1", (), (), 0.1, 0.0),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_there_and_back_through_json(value):
    assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value


def test_plain_forms():
    assert to_plain(RECIPE) == str(RECIPE)
    assert to_plain(State.NEVER_RUN) == "never-run" and type(to_plain(State.NEVER_RUN)) is str
    assert to_plain((1, (2.5, None))) == [1, [2.5, None]]
    assert to_plain(NOTE) == {
        "bits": 4, "granularity": "per-channel", "elements_per_scale": 27, "effective_bits": 4 + 32 / 27,
        "note": "a note",
    }  # fmt: skip


@dataclass(frozen=True)
class Pair:
    name: str
    size: tuple[int, float]
    tags: tuple[str, ...]
    state: State | None
    flag: bool


PAIR = {"name": "a", "size": [1, 2.0], "tags": ["x"], "state": "kept", "flag": True}


def test_a_pair():
    assert from_plain(Pair, PAIR) == Pair("a", (1, 2.0), ("x",), State.KEPT, True)
    # JSON writers of other languages drop the .0 of a whole float.
    assert from_plain(Pair, PAIR | {"size": [1, 2]}) == Pair("a", (1, 2.0), ("x",), State.KEPT, True)
    assert type(from_plain(Pair, PAIR | {"size": [1, 2]}).size[1]) is float
    assert from_plain(Pair, PAIR | {"state": None}).state is None


@pytest.mark.parametrize(
    "plain",
    [
        {key: value for key, value in PAIR.items() if key != "flag"},
        PAIR | {"more": 1},
        PAIR | {"name": 1},
        PAIR | {"name": None},
        PAIR | {"flag": 1},
        PAIR | {"size": [1]},
        PAIR | {"size": [1, 2.0, 3.0]},
        PAIR | {"size": [True, 2.0]},
        PAIR | {"size": [1, True]},
        PAIR | {"size": [1.0, 2.0]},
        PAIR | {"size": [1, "2"]},
        PAIR | {"size": 1},
        PAIR | {"size": None},
        PAIR | {"tags": "xyz"},  # a text is no list of letters
        PAIR | {"tags": {"x": 1}},
        PAIR | {"state": "lost"},
        PAIR | {"state": 1},
        [],
        None,
        "a",
    ],
    ids=str,
)
def test_what_is_no_pair(plain):
    with pytest.raises(ValueError):
        from_plain(Pair, plain)


def test_a_recipe_that_does_not_parse():
    with pytest.raises(RequestError):
        from_plain(Recipe, "w4a4")
    with pytest.raises(ValueError, match="type str was expected"):
        from_plain(Recipe, 4)
