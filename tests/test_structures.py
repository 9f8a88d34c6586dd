"""Names of structures in all label sets: sides and numbers are never mixed, no name is forgotten."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest

from medquanbench.structures import Match, canonical, key, matches, parts

ROOT = Path(__file__).resolve().parent.parent
SIDE = {"left": "left", "right": "right", "lt": "left", "rt": "right", "l": "left", "r": "right"}


def cards() -> dict[str, list[str]]:
    cards = {file.stem: tomllib.loads(file.read_text()) for file in (ROOT / "datasets").glob("*.toml")}
    return {name: [label["name"] for label in card["label"]] for name, card in cards.items()}


def label_sets() -> dict[str, list[str]]:
    files = (ROOT / "datasets" / "labels").glob("*.toml")
    return {file.stem: list(tomllib.loads(file.read_text())["labels"].values()) for file in files}


def bundles() -> dict[str, list[str]]:
    configs = {
        str(file.relative_to(ROOT)): json.loads(file.read_text()) for file in ROOT.glob("bundles/*/configs/**/*.json")
    }
    return {name: config["labels"][1:] for name, config in configs.items() if isinstance(config.get("labels"), list)}


WORLDS = cards() | label_sets() | bundles()
PAIRS = list(itertools.permutations(WORLDS, 2))
NAMES = sorted({name for names in WORLDS.values() for name in names})
FILE = tomllib.loads((ROOT / "datasets" / "structures" / "names.toml").read_text())


def sides(name: str) -> set[str]:
    return {SIDE[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SIDE}


def numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def listed(kind: str) -> list[str]:
    return [name for group in FILE[kind].values() for name in group]


def test_every_name_of_every_label_set_is_known_with_its_side_and_number():
    assert len(WORLDS) > 10 and len(NAMES) > 250
    for name in NAMES:
        known = canonical(name)
        assert known is not None, f"{name} stands in no list of names.toml"
        assert sides(known) == sides(name) and numbers(known) == numbers(name)


def test_no_match_mixes_sides_or_numbers_and_each_name_is_in_one():
    for one, other in PAIRS:
        never_mixed(matches(WORLDS[one], WORLDS[other]))


def never_mixed(found: tuple[Match, ...]) -> None:
    for match in found:
        left_right = {frozenset(sides(name)) for name in (*match.structures, *match.outputs)}
        digits = {tuple(numbers(name)) for name in (*match.structures, *match.outputs)}
        if match.structures[0] in ("kidney", "lung") or match.outputs[0] in ("kidney", "lung"):
            continue  # both sides together, tested below
        assert len(left_right) == 1 and len(digits) == 1, match
        assert min(len(match.structures), len(match.outputs)) == 1
    for names in ([x for m in found for x in m.structures], [x for m in found for x in m.outputs]):
        assert len(names) == len(set(names))


def test_matching_the_other_way_round_gives_the_same():
    for one, other in PAIRS:
        there, back = matches(WORLDS[one], WORLDS[other]), matches(WORLDS[other], WORLDS[one])
        assert {(m.structures, m.outputs) for m in there} == {(m.outputs, m.structures) for m in back}, (one, other)


def test_a_label_set_matches_itself_name_by_name():
    for names in WORLDS.values():
        assert matches(names, names) == tuple(Match((name,), (name,)) for name in names)


@pytest.mark.parametrize(
    "spellings",
    [
        ("kidney_right", "Right Kidney", "right-kidney", "KIDNEY (right)", "kidney(R)", "R Kidney", "RK", "rkid"),
        ("kidney_left", "Left Kideny", "kidney(L)", "lkid"),
        ("inferior_vena_cava", "IVC", "postcava", "inferior vena cava"),
        ("portal_vein_and_splenic_vein", "Portal and Splenic Veins"),
        ("vertebrae_L5", "vertebrae L5", "Vertebra L5"),
        ("rib_left_11", "left rib 11"),
        ("Left-Inf-Lat-Vent", "left inferior lateral ventricle"),
        ("Right-MPoG--postcentral-gyrus", "Right MPoG postcentral gyrus medial segment"),
        ("Brain-Stem", "brainstem"),
        ("lung_left", "Lung-Lt"),
        ("my own thing, left", "LEFT_my_own_thing"),
    ],
    ids=lambda spellings: spellings[0],
)  # fmt: skip
def test_spellings_of_one_structure(spellings):
    assert len({key(name) for name in spellings}) == 1


@pytest.mark.parametrize(
    "one, other",
    [
        ("kidney_left", "kidney_right"), ("kidney", "kidney_left"), ("vertebrae_L1", "vertebrae_L11"),
        ("rib_left_1", "rib_left_11"), ("rib_1_1", "rib_11"), ("vertebrae L 5", "vertebrae_L5"),
        ("left right kidney", "kidney_left"), ("prostate", "prostate/uterus"), ("intestine", "small_bowel"),
        ("heart", "heart_myocardium"), ("Right-PoG---postcentral-gyrus", "Right-MPoG--postcentral-gyrus"),
        ("Left-Cerebellum-Exterior", "left cerebellum cortex"), ("LAD", "adrenal_gland_left"), ("left RK", "RK"),
    ],
)  # fmt: skip
def test_what_is_not_the_same(one, other):
    assert key(one) != key(other)


def test_lobes_make_lungs_both_ways():
    lungs, lobes = ["lung_left", "lung_right"], [name for name in WORLDS["totalsegmentator-samples"] if "lobe" in name]
    left, right = matches(lungs, lobes)
    assert left == Match(("lung_left",), ("lung_upper_lobe_left", "lung_lower_lobe_left"))
    assert right.outputs == ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right")
    assert {(m.outputs, m.structures) for m in matches(lobes, lungs)} == {
        (m.structures, m.outputs) for m in (left, right)
    }
    assert matches(["lung"], lobes) == (Match(("lung",), tuple(lobes)),)
    assert matches(["kidney"], ["left kidney", "right kidney"])[0].outputs == ("left kidney", "right kidney")


def test_a_whole_without_all_its_parts_is_no_match():
    assert matches(["lung_left"], ["lung_upper_lobe_left"]) == ()
    assert matches(["lung_upper_lobe_left", "spleen"], ["lung_left"]) == ()
    assert matches(["lung"], ["lung_left", "lung_upper_lobe_right", "lung_lower_lobe_right"]) == ()


def test_what_is_equal_stands_before_what_is_made_of_parts():
    """VISTA3D names both kidneys, and the kidneys together: a part is not given to two."""
    found = matches(["kidney"], ["kidney", "left kidney", "right kidney"])
    assert found == (Match(("kidney",), ("kidney",)),)
    found = matches(["kidney_left", "kidney_right"], ["kidney", "left kidney", "right kidney"])
    assert [(m.structures, m.outputs) for m in found] == [
        (("kidney_left",), ("left kidney",)), (("kidney_right",), ("right kidney",)),
    ]  # fmt: skip
    lobes = ["left lung upper lobe", "left lung lower lobe", "right lung upper lobe", "right lung middle lobe",
             "right lung lower lobe"]  # fmt: skip
    found = matches(["lung", *lobes], ["lung_left", "lung_right"])
    assert [len(m.structures) for m in found] == [2, 3], "not the lung for both"


def test_the_file_says_nothing_twice_and_nothing_of_names_that_it_has_not():
    names = listed("single") + listed("paired")
    assert len({key(name) for name in names}) == len(names)
    assert set(FILE["alone"]) <= set(names)
    for alias, name in FILE["aliases"].items():
        assert canonical(name) == name and canonical(alias) == name and alias not in names, alias
    for whole, made_of in FILE["unions"].items():
        assert canonical(whole) == whole and all(canonical(part) == part for part in made_of)
        assert len(parts(whole)) == len(made_of) and {whole.rpartition("_")[2]} == set.union(*map(sides, made_of))
    alone = {key(name) for name in FILE["alone"]}
    assert not alone & {part for made_of in FILE["unions"].values() for part in made_of}
