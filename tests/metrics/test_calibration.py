"""Calibration error and Brier score: laws, values worked by hand, and second implementations."""

from __future__ import annotations

import numpy as np
import pytest

from medquanbench.metrics.calibration import MARGIN_MM, Calibration

ONE_MM = (1.0, 1.0, 1.0)


def scores(reference, labels, probabilities, spacing_mm=ONE_MM, outputs=None, margin_mm=MARGIN_MM):
    calibration = Calibration(reference, labels, spacing_mm, outputs, margin_mm)
    calibration.add((0, 0, 0), np.asarray(probabilities))
    return calibration.scores()


def boxes(random, shape=(17, 14, 12)) -> np.ndarray:
    """Labels 0, 3, 7 and 9, of which 9 is a single voxel at the border."""
    reference = np.zeros(shape, np.uint16)
    reference[2:9, 3:8, 1:6], reference[8:15, 6:12, 4:11], reference[16, 0, 11] = 3, 7, 9
    reference[random.random(shape) < 0.1] = 0
    reference[16, 0, 11] = 9
    return reference


def softmax(random, classes: int, shape: tuple[int, ...], sharpness=3.0) -> np.ndarray:
    logits = np.exp(sharpness * random.normal(size=(classes, *shape)))
    return (logits / logits.sum(axis=0)).astype(np.float32)


def test_certain_and_right_is_zero():
    reference = boxes(np.random.default_rng(0))
    certain = np.stack([reference == label for label in (3, 7, 9)]).astype(np.float32)
    assert scores(reference, (3, 7, 9), certain) == ((0, 0),) * 3


def test_certain_and_wrong_is_one():
    reference = boxes(np.random.default_rng(0))
    assert scores(reference, (3,), (reference != 3)[None].astype(np.float32)) == ((1, 1),)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_one_probability_everywhere(p):
    """A structure of 2 x 3 x 4 voxels in a box of 4 x 5 x 6: frequency f = 24/120. ECE |p - f|, Brier by hand."""
    reference = np.zeros((9, 9, 9), np.uint8)
    reference[3:5, 3:6, 3:7] = 1
    f = 24 / 120
    ((ece, brier),) = scores(reference, (1,), np.full((1, 9, 9, 9), p), margin_mm=1)
    assert ece == pytest.approx(abs(p - f), abs=1e-12)
    assert brier == pytest.approx(f * (1 - p) ** 2 + (1 - f) * p**2, abs=1e-12)


def test_bins_by_hand():
    """Four voxels, all in the box. Bins of 1/15: 0.05 alone (|0.05 - 0|), 0.52 and 0.53 together (|1.05 - 1|), 1."""
    reference = np.array([0, 1, 0, 1]).reshape(4, 1, 1)
    ((ece, brier),) = scores(reference, (1,), np.array([0.05, 0.52, 0.53, 1.0]).reshape(1, 4, 1, 1))
    assert ece == pytest.approx((0.05 + 0.05 + 0) / 4)
    assert brier == pytest.approx((0.05**2 + 0.48**2 + 0.53**2) / 4)


def test_only_the_widened_box_counts():
    """Right inside the box, wrong everywhere else: 0. One voxel more of margin on any side would show it."""
    reference = np.zeros((30, 30, 30), np.uint8)
    reference[12:16, 14:15, 10:20] = 1
    wrong = np.ones((1, 30, 30, 30))
    wrong[0, 12 - 5 : 16 + 5, 14 - 10 : 15 + 10, 10 - 2 : 20 + 2] = 0
    wrong[0, 12:16, 14:15, 10:20] = 1
    spacing = (2.0, 1.0, 4.0)  # 10 mm are 5, 10 and, rounded down, 2 voxels
    assert scores(reference, (1,), wrong, spacing) == ((0, 0),)
    for axis in range(3):
        finer = tuple(edge * (0.5 if number == axis else 1) for number, edge in enumerate(spacing))
        assert scores(reference, (1,), wrong, finer) != ((0, 0),)


def test_a_spacing_a_hair_off_widens_alike():
    reference = np.zeros((30, 5, 5), np.uint8)
    reference[15, 2, 2] = 1
    random = np.random.default_rng(1).random((1, 30, 5, 5))
    assert scores(reference, (1,), random, ONE_MM) == scores(reference, (1,), random, (1.0000000001, 1.0, 1.0))


def test_a_structure_that_the_reference_lacks_has_no_score():
    reference = boxes(np.random.default_rng(0))
    found = scores(reference, (5, 3, 8), np.full((3, *reference.shape), 0.5))
    assert found[0] == found[2] == (None, None) and None not in found[1]


@pytest.mark.parametrize("seed", range(3))
def test_block_by_block_is_all_at_once(seed):
    random = np.random.default_rng(seed)
    reference = boxes(random)
    probabilities = softmax(random, 3, reference.shape)
    once = scores(reference, (3, 7, 9), probabilities, margin_mm=2)
    calibration = Calibration(reference, (3, 7, 9), ONE_MM, margin_mm=2)
    cuts = [np.unique([0, size, *random.integers(0, size, 3)]) for size in reference.shape]
    corners = [(x, y, z) for x in range(len(cuts[0]) - 1) for y in range(len(cuts[1]) - 1)
               for z in range(len(cuts[2]) - 1)]  # fmt: skip
    for corner in random.permutation(corners):
        block = tuple(slice(cut[i], cut[i + 1]) for cut, i in zip(cuts, corner))
        part = calibration.within([along.start for along in block], [along.stop - along.start for along in block])
        if part is not None:  # a part is enough
            cut = probabilities[:, *block][:, *part]
            calibration.add([along.start + inner.start for along, inner in zip(block, part)], cut)
    np.testing.assert_allclose(calibration.scores(), once, rtol=0, atol=1e-12)


def test_no_block_outside_all_boxes_is_asked_for():
    reference = np.zeros((40, 40, 40), np.uint8)
    reference[20, 20, 20] = 1
    calibration = Calibration(reference, (1, 2), ONE_MM)
    assert calibration.within((0, 0, 0), (10, 40, 40)) is None
    assert calibration.within((0, 0, 0), (11, 40, 40)) == (slice(10, 11), slice(10, 31), slice(10, 31))
    assert Calibration(reference, (2,), ONE_MM).within((0, 0, 0), (40, 40, 40)) is None


def test_the_probabilities_of_a_union_add():
    random = np.random.default_rng(4)
    reference = boxes(random)
    parts = softmax(random, 5, reference.shape).astype(np.float64)
    union = np.stack([parts[1] + parts[4], parts[2]])
    found = scores(reference, (3, 7), parts, outputs=((1, 4), (2,)))
    np.testing.assert_allclose(found, scores(reference, (3, 7), union), atol=1e-12)


def test_a_sum_a_hair_above_one_counts_as_one():
    reference = np.ones((2, 2, 2), np.uint8)
    ((ece, brier),) = scores(reference, (1,), np.full((2, 2, 2, 2), 0.50000003, np.float32), outputs=((0, 1),))
    assert (ece, brier) == (0, 0)


def in_the_box(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A reference and probabilities of its structure 3, 0 and 1 among them; and both in the box widened by 2."""
    random = np.random.default_rng(seed)
    reference = boxes(random)
    probabilities = softmax(random, 2, reference.shape, sharpness=4.0)[:1]
    probabilities[0, 4, 4:6, 2] = 0, 1
    box = np.argwhere(reference == 3)
    low, high = np.maximum(box.min(axis=0) - 2, 0), box.max(axis=0) + 3
    inside = tuple(slice(a, b) for a, b in zip(low, high))
    return reference, probabilities, (reference[inside] == 3).ravel(), probabilities[0][inside].ravel().astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_as_the_formulas_say(seed):
    reference, probabilities, y, p = in_the_box(seed)
    ece = 0.0
    for number in range(15):
        in_bin = (p > number / 15) & (p <= (number + 1) / 15) | ((p == 0) & (number == 0))
        if in_bin.any():
            ece += in_bin.sum() / p.size * abs(p[in_bin].mean() - y[in_bin].mean())
    found = scores(reference, (3,), probabilities, margin_mm=2)
    np.testing.assert_allclose(found, [(ece, ((p - y) ** 2).mean())], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_as_scikit_learn(seed):
    calibration = pytest.importorskip("sklearn.calibration", reason="a second opinion where scikit-learn is there")
    from sklearn.metrics import brier_score_loss

    reference, probabilities, y, p = in_the_box(seed)
    frequency, confidence = calibration.calibration_curve(y, p, n_bins=15)
    shares = np.histogram(p, np.linspace(0, 1, 16))[0] / p.size
    ece = float(np.abs(frequency - confidence) @ shares[shares > 0])
    found = scores(reference, (3,), probabilities, margin_mm=2)
    np.testing.assert_allclose(found, [(ece, brier_score_loss(y, p))], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"labels": (1, 1)}, "each must stand once"),
        ({"labels": (1, 2), "outputs": ((0,),)}, "one for each of the 2 labels"),
        ({"margin_mm": -1.0}, "at least 0"),
        ({"margin_mm": float("nan")}, "at least 0"),
        ({"reference": np.ones((2, 2, 2))}, "label map of integers"),
        ({"spacing_mm": (1.0, 1.0)}, "one for each axis"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    given = {"reference": np.ones((2, 2, 2), np.uint8), "labels": (1,), "spacing_mm": ONE_MM}
    with pytest.raises(ValueError, match=words):
        Calibration(**(given | change))
