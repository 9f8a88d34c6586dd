"""What a study says of its reference, of what was not mapped, and of weights that saw phantoms only."""

from __future__ import annotations

import html
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from medquanbench import evaluate, open_bundle, open_dataset
from medquanbench.report import terminal_table
from medquanbench.roads import ROADS
from medquanbench.study_plan import prepare
from medquanbench.study_record import facts, notes
from medquanbench.values import Loaded, to_plain

MAP = """
[label_map]
tall = "high"
"""


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def mapped(micro_data):
    """A card whose label 2 is the network's output `high`, whose label 1 is none, and whose reference is a model's."""
    card = micro_data / "micro.toml"
    text = card.read_text().replace('name = "high"', 'name = "tall"').replace('name = "low"', 'name = "wide"')
    text = text.replace("[layout]", 'reference = "model output of X"\n[layout]').replace("[split]", f"{MAP}\n[split]")
    card.write_text(text)
    return open_dataset(card, root=micro_data)


def test_unmapped_names_are_in_record_report_and_notes(bundle, mapped, tmp_path):
    study = evaluate(bundle, mapped, ["w8a8 adaptive"], cases=2, out=tmp_path / "o")
    record = json.loads((tmp_path / "o" / "record.json").read_text())
    told = record["dataset"]
    assert told["reference"] == "model output of X" and told["label_map"] == {"tall": "high"}
    assert told["unmapped_structures"] == ["wide"] and told["outputs_without_structure"] == ["low"]
    assert record["conventions"]["tolerance_mm"] == {"high": 1.0}
    assert [(t.label, t.name) for t in study.records[0].cases[0].targets] == [(2, "high")]
    assert study.records[0].mean(0) > 0.95, "the boxes of label 2 are found as before"
    page, terminal = (tmp_path / "o" / "report.html").read_text(), terminal_table(study.report).replace("\n      ", " ")
    for text in (page, terminal):
        assert "1 of 2 structures of micro are mapped to no output and count as background: wide." in text
        assert "1 of 2 outputs of micro stand for no structure and count as background: low." in text
    assert "model output of X" in page and "tall as high" in page


def test_how_the_weights_came_into_the_network_is_in_record_and_report(micro_bundle, micro_data, tmp_path):
    tensors = load_file(micro_bundle / "models" / "demo-micro.safetensors")
    content = {"ema_model_state_dict": {f"module.{name}": value for name, value in tensors.items()}}
    torch.save(content | {"model_state_dict": tensors}, tmp_path / "w.pth")
    wrapped = open_bundle(micro_bundle, variant=None, weights=tmp_path / "w.pth", dataset="micro")
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    evaluate(wrapped, dataset, ["w8a8 adaptive"], cases=1, out=tmp_path / "o")
    told = json.loads((tmp_path / "o" / "record.json").read_text())["bundle"]
    assert told["loaded"] == to_plain(Loaded("ema_model_state_dict", ("model_state_dict",), "module."))
    assert told["remarks"] == []
    page = html.unescape((tmp_path / "o" / "report.html").read_text())
    assert "): read under 'ema_model_state_dict', not under 'model_state_dict', 'module.' taken off all names" in page


def test_a_card_without_a_map_says_nothing_of_it(bundle, micro_data, tmp_path):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    study = evaluate(bundle, dataset, ["w8a8 adaptive"], cases=1, out=tmp_path / "o")
    told = json.loads((tmp_path / "o" / "record.json").read_text())["dataset"]
    assert (told["reference"], told["label_map"], told["unmapped_structures"]) == (None, None, [])
    assert study.report.notes == () and study.report.reference_origin == ""


def test_many_unmapped_names_are_shortened_in_notes_and_whole_in_facts(bundle, mapped):
    extra = tuple(replace(mapped.labels[0], index=10 + i, name=f"part {i}") for i in range(20))
    plan = prepare(bundle, mapped, ["w8a8 adaptive"], cases=1)
    plan = replace(plan, dataset=replace(mapped, labels=(*mapped.labels, *extra)))
    (note,) = [note for note in notes(plan, ()) if "mapped to no output" in note]
    assert "21 of 22" in note and "part 3, and 16 more" in note and "part 4" not in note
    (fact,) = [fact for fact in facts(plan) if fact.name.startswith("Structures mapped to no output")]
    assert fact.text.count(",") == 20 and fact.text.endswith("part 19")


def test_the_statistics_of_the_record_are_those_of_the_rows(bundle, micro_data, tmp_path):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    study = evaluate(bundle, dataset, ["w8a8 adaptive", "w4a4 adaptive"], out=tmp_path / "o")
    told = json.loads((tmp_path / "o" / "record.json").read_text())["statistics"]
    assert told["families"]["overall"] == {"members": ["w8a8 adaptive", "w4a4 adaptive"], "size": 2}
    assert told["families"]["labels"] == {"members": ["low", "high"], "size": 4}
    for part, row in zip(told["configurations"], study.rows[1:], strict=True):
        assert part["recipe"] == str(row.record.run.recipe) and part["collapsed"] == row.findings.collapsed
        assert [(j["metric"], j["ci_low"], j["verdict"]) for j in part["overall"]] == [
            (j.metric, j.ci_low, j.verdict) for j in row.findings.overall
        ]
        assert [tails["worst_label"] for tails in part["tails"]] == [t.worst_label for t in row.findings.tails]
    lines = (tmp_path / "o" / "labels.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 2 and lines[1].startswith("fp32,FP32,1,low,7,7,")


@pytest.mark.parametrize("name", ["nnunet", "swinunetr"])
def test_phantom_weights_on_real_images_get_a_note(name, tmp_path, monkeypatch):
    """The note hangs on the weights' card and on the data: hippocampus weights and phantom images get none."""
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path))
    real, phantom = open_dataset("totalsegmentator-samples", root=tmp_path), open_dataset("btcv-phantom")
    taught = open_bundle(name, weights="demo-btcv-phantom")
    assert taught.trained_on_phantoms and not open_bundle(name, dataset="msd-hippocampus").trained_on_phantoms
    plan = prepare(taught, phantom, [], cases=1)
    assert notes(plan, ()) == ()
    road, unmapped = notes(replace(plan, dataset=real), ())
    assert "trained on phantoms" in road and "104 of 117" in unmapped


@pytest.mark.parametrize("card", ["{}", "[1]", "no JSON", '{"phantom": "perhaps"}'])
def test_a_file_beside_the_weights_that_is_no_card_of_ours_ends_no_run(micro_bundle, card):
    bundle = open_bundle(micro_bundle, weights="demo-micro")
    assert not bundle.trained_on_phantoms
    bundle.weights_file.with_suffix(".json").write_text(card)
    assert not bundle.trained_on_phantoms


def test_the_answer_is_told_as_the_bundles_road_gives_it(bundle, micro_data):
    plan = prepare(bundle, open_dataset(micro_data / "micro.toml", root=micro_data), [])
    for name, road in ROADS.items():
        told = {fact.name: fact.text for fact in facts(replace(plan, bundle=replace(bundle, restore=name)))}
        assert told["Answer"] == road.words
    assert len({road.words for road in ROADS.values()}) == len(ROADS)
