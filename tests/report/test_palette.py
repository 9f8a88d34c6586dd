"""Label colours can be told apart, with a red or green deficiency too, and do not depend on what else is shown."""

from itertools import combinations

import numpy as np
import pytest

from medquanbench.report.palette import label_colour, marker, precision_colour

NORMAL = np.eye(3)
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a hex colour as seen under a deficiency."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ np.clip(sight @ linear, 0, 1) / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("sight", "least"), [(NORMAL, 30), (PROTANOPIA, 15), (DEUTERANOPIA, 15)])
def test_sixteen_labels_can_be_told_apart(sight, least):
    seen = [lab(label_colour(index), sight) for index in range(1, 17)]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) >= least


def test_the_colour_of_a_label_is_its_index_alone():
    assert label_colour(17) == label_colour(1) != label_colour(2)


def test_marks_of_the_paper_s_block_differ():
    assert len({(precision_colour(p), marker(m)) for p in range(2) for m in range(3)}) == 6
