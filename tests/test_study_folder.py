"""A study's folder: refused with what differs, held by one command at a time, cleared of what killed ones left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medquanbench import evaluate, open_bundle, open_dataset
from medquanbench.study_folder import OUTPUTS, claimed
from medquanbench.study_plan import Plan, prepare
from medquanbench.values import RequestError


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


@pytest.fixture
def plan(bundle, dataset) -> Plan:
    return prepare(bundle, dataset, ["w4a4 adaptive"])


def claim(folder: Path, plan: Plan) -> None:
    with claimed(folder, plan):
        pass


def refusal(folder: Path, plan: Plan) -> str:
    with pytest.raises(RequestError) as error:
        claim(folder, plan)
    return str(error.value)


def test_what_differs_is_named_with_both_values_and_nothing_else(bundle, dataset, plan, tmp_path):
    claim(tmp_path / "o", plan)
    claim(tmp_path / "o", plan)  # the same study may
    other = prepare(bundle, dataset, ["w8a8 adaptive"], cases=3)
    assert refusal(tmp_path / "o", other) == (
        f"{tmp_path / 'o'} belongs to another study (cases: 7 there, 3 here; "
        "recipes: 'w4a4 adaptive' there, 'w8a8 adaptive' here); choose another --out"
    )


def test_every_ingredient_of_the_key_has_its_words(bundle, dataset, plan, tmp_path):
    claim(tmp_path / "o", plan)

    def told(bundle=bundle, dataset=dataset, recipes=("w4a4 adaptive",), **how) -> str:
        return refusal(tmp_path / "o", prepare(bundle, dataset, list(recipes), **how)).partition("(")[2]

    assert told(seed=3).startswith("seed: 0 there, 3 here)")
    assert told(margins=(("nsd", 0.05),)).startswith("nsd margin: default there, 0.05 here)")
    assert told(recipes=["w4a4 adaptive", "w8a8 adaptive"]).startswith("recipes: no other there, 'w8a8 adaptive' here)")
    assert told(bundle=replace(bundle, weights_sha256="0" * 64)).startswith("weights_sha256: ")
    assert told(bundle=replace(bundle, weights_sha256="0" * 64)).endswith(" there, 000000000000... here); " + CHOOSE)
    assert told(dataset=replace(dataset, card_sha256="0" * 64)).startswith("card_sha256: ")
    config = json.loads(bundle.config) | {"restore": "other"}
    assert told(bundle=replace(bundle, config=json.dumps(config))).startswith("config_sha256: ")
    split = tuple((name, cases[::-1]) for name, cases in dataset.split)
    assert told(dataset=replace(dataset, split=split)).startswith("cases: in another order)")
    image = dataset.cases("test")[1].inputs[0]
    image.write_bytes(image.read_bytes() + b"\0")
    assert told() == f"files of the cases: 'm2' changed); {CHOOSE}"


CHOOSE = "choose another --out"


def test_the_order_of_recipes_is_part_of_a_study(bundle, dataset, tmp_path):
    claim(tmp_path / "o", prepare(bundle, dataset, ["w4a4 adaptive", "w8a8 adaptive"]))
    assert "(recipes: in another order)" in refusal(
        tmp_path / "o", prepare(bundle, dataset, ["w8a8 adaptive", "w4a4 adaptive"])
    )


def test_a_study_json_of_the_first_form(bundle, dataset, plan, tmp_path):
    file = tmp_path / "study.json"
    file.write_text(json.dumps({"study": plan.key, "recipes": ["fp32", "w4a4 adaptive"]}))
    claim(tmp_path, plan)
    assert "(recipes: 'w4a4 adaptive' there, 'w4a8 adaptive' here)" in refusal(
        tmp_path, prepare(bundle, dataset, ["w4a8 adaptive"])
    )
    assert "(its study.json does not say what differs)" in refusal(
        tmp_path, prepare(bundle, dataset, ["w4a4 adaptive"], seed=1)
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"study": 1, "recipes": 5}', '{"study": "x", "cases": 3}'])
def test_a_damaged_study_json(plan, tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    assert refusal(tmp_path, plan) == (
        f"{tmp_path / 'study.json'} is damaged, so that it cannot be told whose folder this is"
    )


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_nothing_is_known_of_are_not_written_over(bundle, dataset, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RequestError, match=f"holds {name}, but no study.json that says what they come from"):
        evaluate(bundle, dataset, ["w4a4 adaptive"], out=tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir() if file.is_file()] == [(name, "mine")]


def test_a_folder_with_other_files_may_be_used(bundle, dataset, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "notes.txt").write_text("mine")
    evaluate(bundle, dataset, ["w4a4 adaptive"], cases=1, out=tmp_path / "o")
    assert (tmp_path / "o" / "notes.txt").read_text() == "mine" and (tmp_path / "o" / "results.csv").is_file()


def test_one_command_at_a_time(plan, tmp_path):
    with claimed(tmp_path / "o", plan):
        assert refusal(tmp_path / "o", plan).startswith(f"another command is at work in {tmp_path / 'o'}")
        claim(tmp_path / "other", plan)
    claim(tmp_path / "o", plan)


def test_a_command_that_fails_lets_go(plan, tmp_path):
    with pytest.raises(RuntimeError), claimed(tmp_path, plan):
        raise RuntimeError
    claim(tmp_path, plan)


def test_what_killed_commands_left_is_cleared_and_nothing_else(plan, tmp_path):
    claim(tmp_path, plan)
    left = [tmp_path / name for name in (".results.csv.17.tmp", "parts/k/.m1.json.17.tmp", "predictions/r/.m.gz.9.tmp")]
    mine = [tmp_path / name for name in (".notes.tmp", "notes.17.tmp", "deep/a/.b.17.tmp")]
    for file in left + mine:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    claim(tmp_path, plan)
    assert not any(file.exists() for file in left) and all(file.exists() for file in mine)
