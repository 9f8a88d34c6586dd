"""The scores of a label map: which structures are there decides what counts."""

from __future__ import annotations

import numpy as np

from medquanbench.dataset import Label
from medquanbench.images import Grid, LabelMap
from medquanbench.matching import Targets
from medquanbench.metrics import dice, surface_dice
from medquanbench.scores import score
from medquanbench.values import Presence

GRID = Grid((6, 6, 6), np.diag([1.0, 2.0, 3.0, 1.0]))


def label_map(**boxes: tuple[int, slice]) -> LabelMap:
    labels = np.zeros(GRID.shape, np.uint16)
    for value, place in boxes.values():
        labels[place, 1:4, 1:4] = value
    return LabelMap(labels, GRID)


def test_the_four_ways_to_be_there_or_not():
    targets = Targets(tuple(Label(i, name, 1.0) for i, name in ((1, "both"), (2, "lost"), (3, "made up"), (4, "no"))))
    reference = label_map(both=(1, slice(0, 2)), lost=(2, slice(2, 4)))
    predicted = label_map(both=(1, slice(0, 2)), made_up=(3, slice(4, 5)))
    found = score(reference, predicted, targets, ("dsc", "nsd"), ("hd95",))
    told = [(t.name, t.presence, t.reference_voxels, t.predicted_voxels, t.scores, t.details) for t in found]
    assert told == [
        ("both", Presence.BOTH, 18, 18, (1.0, 1.0), (0.0,)),
        ("lost", Presence.LOST, 18, 0, (0.0, 0.0), (None,)),
        ("made up", Presence.HALLUCINATED, 0, 9, (0.0, 0.0), (None,)),
        ("no", Presence.NEITHER, 0, 0, (None, None), (None,)),
    ]


def test_each_label_has_its_own_tolerance_and_the_grid_its_spacing():
    targets = Targets((Label(5, "near", 1.0), Label(2, "far", 0.5)))
    reference = label_map(near=(5, slice(0, 2)), far=(2, slice(3, 5)))
    predicted = label_map(near=(5, slice(0, 3)), far=(2, slice(4, 6)))
    found = score(reference, predicted, targets, ("dsc", "nsd"))
    pair = reference.labels, predicted.labels, [5, 2]
    dsc, nsd = dice(*pair), surface_dice(*pair, (1.0, 2.0, 3.0), [1.0, 0.5])
    assert [t.scores for t in found] == list(zip(dsc.tolist(), nsd.tolist())) and nsd[0] > nsd[1]
