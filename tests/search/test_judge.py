"""How far answers move: laws of a divergence, and values by hand."""

import math

import pytest
import torch
from torch import nn

from medquanbench.search.judge import Judge, Verdict, compared
from medquanbench.values import Recipe, RunError, Trial, distance


def logs(*probabilities: list[float]) -> torch.Tensor:
    """Log-probabilities (1, labels, voxels) from a list a voxel."""
    return torch.tensor(probabilities).log().T[None]


def test_the_same_answer_is_not_apart_and_agrees():
    answer = torch.randn(1, 4, 5, 5, 5).log_softmax(1)
    divergence, agreement = compared(answer, answer)
    assert divergence == 0 and agreement == 1


def test_a_divergence_by_hand():
    answer = logs([0.8, 0.2], [0.1, 0.9])
    other = logs([0.5, 0.5], [0.6, 0.4])
    first = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    second = 0.1 * math.log(0.1 / 0.6) + 0.9 * math.log(0.9 / 0.4)
    divergence, agreement = compared(answer, other)
    assert divergence == pytest.approx((first + second) / 2, abs=1e-6)
    assert agreement == 0  # the second voxel, which the float network gives to label 1, is lost


def test_every_label_counts_the_same_however_large_it_is():
    answer, other = logs([0.8, 0.2], [0.1, 0.9]), logs([0.5, 0.5], [0.3, 0.7])
    many = [torch.cat([one[..., :1].expand(-1, -1, 99), one[..., 1:]], 2) for one in (answer, other)]
    assert compared(*many)[0] == pytest.approx(compared(answer, other)[0], rel=1e-6)


def test_the_agreement_is_the_mean_dice_of_structures_that_either_gives():
    one, other = (
        torch.nn.functional.one_hot(torch.tensor(labels), 4).float().mul(9).log_softmax(-1).T[None]
        for labels in ([0, 1, 1, 2], [0, 1, 2, 2])
    )
    assert compared(one, other)[1] == pytest.approx((2 * 1 / 3 + 2 * 1 / 3) / 2)


def test_a_verdict_is_never_negative_and_is_the_mean_over_windows():
    network, other = nn.Conv3d(1, 3, 1), nn.Conv3d(1, 3, 1)
    windows = [torch.randn(1, 1, 4, 4, 4) for _ in range(3)]
    judge = Judge(network, windows)
    found = judge.verdict(other)
    single = [Judge(network, [window]).verdict(other) for window in windows]
    assert found.divergence == pytest.approx(sum(one.divergence for one in single) / 3) and found.divergence > 0
    assert judge.verdict(other, 1) == single[0]
    assert judge.verdict(network).divergence == 0


def test_a_network_that_answers_nan_is_no_answer():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((1, 3, *x.shape[2:]), torch.nan)

    with pytest.raises(RunError, match="NaN"):
        Judge(nn.Conv3d(1, 3, 1), [torch.randn(1, 1, 2, 2, 2)]).verdict(Broken())


def test_answers_beyond_the_memory_are_left_out(monkeypatch):
    monkeypatch.setattr("medquanbench.search.judge.KEPT_BYTES", 4 * 3 * 8 * 2)
    assert len(Judge(nn.Conv3d(1, 3, 1), [torch.randn(1, 1, 2, 2, 2)] * 5).windows) == 2
    monkeypatch.setattr("medquanbench.search.judge.KEPT_BYTES", 1)
    assert len(Judge(nn.Conv3d(1, 3, 1), [torch.randn(1, 1, 2, 2, 2)] * 5).windows) == 1


def test_the_distance_falls_with_both_and_neither_alone_decides():
    assert distance(1e-4, 0.0) == pytest.approx(10**-0.2) and distance(1.0, 0.99) == pytest.approx(10**-1.9)
    assert distance(0.04, 0.92) < distance(0.04, 0.91) > distance(0.03, 0.91)
    assert distance(0.0, 0.5) == 0 < distance(1e-9, 1.0) < distance(2e-9, 1.0)
    # Measured, Swin UNETR under W3A3: the second gives other labels and is only less sure of them.
    assert distance(0.07196, 0.9437) < distance(0.04767, 0.8596)
    assert Trial("q", Recipe(), None, None, 1.0, "cannot be").distance == float("inf")
    assert Trial("q", Recipe(), 0.04, 0.91, 1.0).distance == Verdict(0.04, 0.91).distance == distance(0.04, 0.91)
