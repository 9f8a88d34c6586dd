"""Label sets of other worlds on a dataset: what is scored, from which values, and what is told of the rest."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medquanbench.dataset import Dataset, Label, open_dataset
from medquanbench.images import Grid, LabelMap
from medquanbench.matching import Outputs, Targets, match_labels, near_names
from medquanbench.values import RequestError

SHELF = Path(__file__).resolve().parent.parent / "datasets"
LOBES = ("lung_upper_lobe_left", "lung_lower_lobe_left")


def table(name: str) -> tuple[tuple[int, str], ...]:
    """The values and names of a label set or a card on the shelf."""
    file = SHELF / "labels" / f"{name}.toml"
    if file.exists():
        return tuple((int(value), text) for value, text in tomllib.loads(file.read_text())["labels"].items())
    rows = tomllib.loads((SHELF / f"{name}.toml").read_text())["label"]
    return tuple((row["index"], row["name"]) for row in rows)


@pytest.fixture
def labelled(tmp_path):
    """A dataset with labels of one's own: (index, name), 2 mm all."""
    phantom = open_dataset("btcv-phantom")
    return lambda rows: replace(phantom, name="own", labels=tuple(Label(i, name, 2.0) for i, name in rows))


def matched(outputs, dataset: Dataset, **how: bool) -> Targets:
    return match_labels(Outputs("the weights 'w' of net", tuple(outputs)), dataset, **how)


def as_map(values) -> LabelMap:
    return LabelMap(np.array(values, np.uint16).reshape(-1, 1, 1), Grid((len(values), 1, 1), np.eye(4)))


BTCV_AS_TOTALSEGMENTATOR = {
    ("spleen", "spleen"), ("right kidney", "kidney_right"), ("left kidney", "kidney_left"),
    ("gallbladder", "gallbladder"), ("esophagus", "esophagus"), ("liver", "liver"), ("stomach", "stomach"),
    ("aorta", "aorta"), ("inferior vena cava", "inferior_vena_cava"),
    ("portal and splenic veins", "portal_vein_and_splenic_vein"), ("pancreas", "pancreas"),
    ("right adrenal gland", "adrenal_gland_right"), ("left adrenal gland", "adrenal_gland_left"),
}  # fmt: skip


def test_a_network_of_totalsegmentator_on_btcv_and_the_other_way_round(labelled):
    """The 13 pairs that the card of the sample CT once listed by hand."""
    total, btcv = table("totalsegmentator-samples"), table("btcv-phantom")
    there, back = matched(total, labelled(btcv)), matched(btcv, labelled(total))
    assert set(there.pairs) == BTCV_AS_TOTALSEGMENTATOR
    assert {(one, other) for other, one in back.pairs} == BTCV_AS_TOTALSEGMENTATOR
    assert (len(there.labels), len(there.unmapped), len(there.unasked)) == (13, 0, 104)
    assert (len(back.labels), len(back.unmapped), len(back.unasked)) == (13, 104, 0)
    assert dict(there.values)[8] == 52 and dict(back.values)[52] == 8, "the aorta"


def test_amos_has_the_pancreas_elsewhere(labelled):
    btcv = table("btcv-phantom")
    amos = [(i, name) for i, name in enumerate((
        "spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta",
        "inferior_vena_cava", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum", "bladder",
        "prostate_and_uterus"), 1)]  # fmt: skip
    targets = matched(btcv, labelled(amos))
    assert dict(targets.values)[10] == 11, "pancreas: 10 in AMOS, 11 in BTCV"
    assert targets.unmapped == ("duodenum", "bladder", "prostate_and_uterus")
    assert targets.unasked == ("portal and splenic veins",)
    back = matched(amos, labelled(btcv))
    assert dict(back.values)[11] == 10 and back.unmapped == ("portal and splenic veins",)
    assert targets.renumber(as_map([10, 13, 9])).labels.ravel().tolist() == [11, 0, 9]


def test_lobes_of_a_network_make_the_lungs_of_a_dataset(labelled):
    targets = matched([(4, LOBES[0]), (7, LOBES[1]), (9, "spleen")], labelled([(2, "lung_left"), (5, "Spleen")]))
    assert [(label.index, label.name) for label in targets.labels] == [(4, "lung_left"), (9, "spleen")]
    assert targets.outputs == ((4, 7), (9,))
    assert targets.pairs == (("lung_left", " + ".join(LOBES)), ("Spleen", "spleen"))
    assert targets.renumber_prediction(as_map([0, 4, 7, 9, 8])).labels.ravel().tolist() == [0, 4, 4, 9, 0]
    assert targets.renumber(as_map([0, 2, 5, 7])).labels.ravel().tolist() == [0, 4, 9, 0]


def test_lobes_of_a_dataset_make_the_lung_of_a_network(labelled):
    targets = matched([(1, "left lung")], labelled([(3, LOBES[0]), (4, LOBES[1]), (5, "heart")]))
    assert [(label.index, label.name) for label in targets.labels] == [(1, "left lung")]
    assert (targets.outputs, targets.unmapped, targets.unasked) == (((1,),), ("heart",), ())
    assert targets.renumber(as_map([3, 4, 5, 0])).labels.ravel().tolist() == [1, 1, 0, 0]


def test_half_a_lung_is_told_and_not_scored(labelled):
    targets = matched([(1, LOBES[0]), (2, "spleen")], labelled([(1, "lung_left"), (2, "spleen")]))
    assert (targets.unmapped, targets.unasked) == (("lung_left",), (LOBES[0],))
    assert targets.renumber_prediction(as_map([1, 2])).labels.ravel().tolist() == [0, 2]


def test_targets_can_have_the_datasets_numbers(labelled):
    dataset = labelled([(3, LOBES[0]), (4, LOBES[1]), (5, "spleen"), (6, "lung_right")])
    outputs = [(1, "left lung"), (2, "Spleen"), (7, "lung_upper_lobe_right"), (8, "lung_middle_lobe_right"),
               (9, "lung_lower_lobe_right")]  # fmt: skip
    targets = matched(outputs, dataset, numbered_by_structure=True)
    assert [(x.index, x.name) for x in targets.labels] == [(3, "left lung"), (5, "spleen"), (6, "lung_right")]
    assert targets.renumber_prediction(as_map([1, 2, 7, 8, 9])).labels.ravel().tolist() == [3, 5, 6, 6, 6]
    assert targets.renumber(as_map([3, 4, 5, 6])).labels.ravel().tolist() == [3, 3, 5, 6]


def test_parts_with_other_tolerances_make_no_target(labelled):
    dataset = labelled([(3, LOBES[0]), (4, LOBES[1])])
    uneven = replace(dataset, labels=(dataset.labels[0], replace(dataset.labels[1], tolerance_mm=3.0)))
    with pytest.raises(RequestError, match="different tolerances to 'left lung': lung_upper_lobe_left 2 mm, .*3 mm"):
        matched([(1, "left lung")], uneven)


def test_nothing_in_common_is_a_sentence(labelled):
    words = "'w' of net answer with liver, sleen; own is labelled with heart, spleen; 'spleen' is near 'sleen'$"
    with pytest.raises(RequestError, match=words):
        matched([(1, "liver"), (2, "sleen")], labelled([(1, "heart"), (2, "spleen")]))


def test_names_that_are_spelt_alike_are_told(labelled):
    assert near_names(("kidny_right", "heart"), ("kidney_right", "liver")) == (("kidny_right", "kidney_right"),)
    assert near_names(("vertebrae_L6",), ("vertebrae_L5",)) == (), "both are known: no mistake"


@pytest.mark.parametrize("theirs", ["totalsegmentator-samples", "monai-btcv", "stunet-abdomenatlas", "vista3d"])
@pytest.mark.parametrize("ours", ["btcv-phantom", "vista3d", "totalsegmentator-v1", "transunet-synapse"])
def test_every_name_is_matched_once_or_told(labelled, ours, theirs):
    targets = matched(table(theirs), labelled(table(ours)))
    if targets.values is None:
        assert ours == theirs
        return
    numbers = sorted(label.index for label in targets.labels)
    for values, all_names, left_out in (
        (targets.values, table(ours), targets.unmapped),
        (targets.answers, table(theirs), targets.unasked),
    ):
        assert sorted({number for _, number in values}) == numbers
        assert len(dict(values)) == len(values) == len(all_names) - len(left_out)
