"""The search on a small network: what it finds is no worse than what it began with, within its budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import nn

from medquanbench import quant
from medquanbench.parts import Parts
from medquanbench.search.judge import Judge
from medquanbench.search.layers import WEIGHT_BITS, _marked, layer_gains
from medquanbench.search.search import ENOUGH, Search, Windows
from medquanbench.search.space import LEARNED, ORDER, QUESTIONS
from medquanbench.values import Choice, LayerGain, Receipt, Recipe, Trial, from_plain, to_plain


class Toy(nn.Module):
    """Two stages with a skip connection, channels of very different size."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.down = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU())
        self.deep = nn.Sequential(nn.Conv3d(8, 16, 3, 2, 1), nn.InstanceNorm3d(16), nn.LeakyReLU())
        self.up = nn.ConvTranspose3d(16, 8, 2, 2)
        self.mix, self.head = nn.Conv3d(16, 8, 3, padding=1), nn.Conv3d(8, 3, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.3, generator)
        self.down[1].weight.data *= torch.logspace(-1, 1, 8)

    def forward(self, x):
        x = self.down(x)
        return self.head(torch.relu(self.mix(torch.cat([x, self.up(self.deep(x))], 1))))


@dataclass(frozen=True)
class Window:
    size: tuple[int, ...] = (8, 8, 8)


@dataclass(frozen=True)
class StandIn:
    """What a search asks of a bundle."""

    window: Window = Window()
    channels: int = 1

    def network(self) -> nn.Module:
        return Toy().eval()


def windows_of(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 1, 8, 8, 8, generator=generator) for _ in range(2 * count)]


THREE_BITS = Recipe.parse("w3a3 engine calib(3)")
WINDOWS = Windows(windows_of, windows_of(2, 7), ("a", "b", "c"), ("d", "e"))


def search(folder, request="w4a4 best calib(3)", budget_s=1e6, float_budget=0.0, told=None) -> Search:
    hear = (told if told is not None else []).append
    return Search(StandIn(), Recipe.parse(request), WINDOWS, budget_s, float_budget, Parts(folder), "cpu", hear)


@pytest.fixture(autouse=True)
def few_answers(monkeypatch):
    """Two questions are enough for most laws. Learned rounding takes seconds even here, and is tested by itself."""
    monkeypatch.setattr("medquanbench.search.search.ORDER", (QUESTIONS["smoothing"], QUESTIONS["rotation"]))
    monkeypatch.setattr("medquanbench.search.search.SELDOM", ())
    monkeypatch.setattr("medquanbench.search.search._LEARNED_COSTS", 1e12)


def test_what_is_found_beats_the_plain_policy_and_can_be_carried_out(tmp_path, monkeypatch):
    monkeypatch.setattr("medquanbench.search.search.ORDER", ORDER)
    told: list[str] = []
    choice = search(tmp_path, told=told).choice()
    assert choice.recipe.calibration in (2, 3) and choice.recipe.policy == "engine"
    assert choice.of_recipe.distance < choice.plain.distance
    network = StandIn().network()
    judged = Judge(network, WINDOWS.judging).verdict(
        quant.quantize(network, choice.recipe, windows_of(choice.recipe.calibration))[0]
    )
    assert judged.divergence == choice.of_recipe.divergence
    assert len({trial.recipe for trial in choice.trials}) == len(choice.trials) > 5
    assert [share.bits for share in choice.cost.shares] == ["W4A4"]
    assert choice.cost.weight_bits == choice.cost.plain_weight_bits
    assert any("trial 2" in text for text in told)


def test_few_cases_and_all_with_layers_the_least_distance_wins(tmp_path):
    choice = search(tmp_path, float_budget=0.3).choice()
    last = [trial for trial in choice.trials if trial.recipe.calibration == 3 or trial.recipe.at8]
    assert [(trial.recipe.calibration, bool(trial.recipe.at8)) for trial in last] == [(2, True), (3, True)]
    made_of = (choice.recipe.transforms, choice.recipe.observer)
    alike = [trial for trial in choice.trials if (trial.recipe.transforms, trial.recipe.observer) == made_of]
    assert len(alike) == 3 and choice.of_recipe.distance == min(trial.distance for trial in alike)


def test_learned_rounding_is_tried_upon_the_winner_with_its_layers(tmp_path, monkeypatch):
    before = search(tmp_path, float_budget=0.3).choice()
    monkeypatch.setattr("medquanbench.search.search._LEARNED_COSTS", 5)
    question = replace(QUESTIONS[LEARNED], answers=("", "qdrop(drop=0,steps=20)"))
    monkeypatch.setitem(QUESTIONS, LEARNED, question)
    choice = search(tmp_path, float_budget=0.3).choice()
    assert choice.trials[:-1] == before.trials
    learned, winner = choice.trials[-1], before.recipe
    assert learned.question == LEARNED and learned.recipe.transforms[-1].name == "qdrop"
    assert replace(learned.recipe, transforms=learned.recipe.transforms[:-1]) == winner
    is_better = learned.distance < ENOUGH * before.of_recipe.distance
    assert choice.recipe == (learned.recipe if is_better else winner)


def test_no_time_leaves_the_two_to_begin_with(tmp_path):
    choice = search(tmp_path, budget_s=1e-9).choice()
    assert [trial.recipe.transform for trial in choice.trials] == ["-", *["smooth+branches+clip"] * 2]
    assert str(choice.recipe) == "w4a4 engine smooth+branches+clip calib(3)"


@pytest.mark.parametrize("budget", [0.01, 0.3])
def test_a_float_budget_is_kept(tmp_path, budget):
    choice = search(tmp_path, float_budget=budget, request="w3a3 best calib(3)").choice()
    raised = [layer for layer in choice.layers if layer.raised]
    assert sum(layer.multiply_adds for layer in raised) <= budget
    assert 5 / 3 * sum(layer.weights for layer in raised) <= WEIGHT_BITS
    if choice.recipe.at8:
        at8 = sum(share.multiply_adds for share in choice.cost.shares if share.bits != "W3A3")
        assert at8 == pytest.approx(sum(layer.multiply_adds for layer in raised))
        assert choice.cost.weight_bits <= (1 + WEIGHT_BITS) * choice.cost.plain_weight_bits


@pytest.mark.parametrize(
    "gains, raised",
    [
        ({"a": (5, 0.09), "b": (3, 0.01)}, {"a", "b"}),
        ({"a": (5, 0.1), "b": (3, 0.01)}, {"a"}),  # b is worth more for what it takes, but keeps a out
        ({"a": (5, 0.1), "b": (3, 0.05), "c": (3, 0.05)}, {"b", "c"}),
        ({"a": (-1, 0.01), "b": (0, 0.01)}, set()),
    ],
)
def test_the_set_of_layers_that_gains_most_is_raised(gains, raised):
    layers = [LayerGain(path, gain, share, 0.0, False) for path, (gain, share) in gains.items()]
    marked = _marked(layers, 0.1, dict.fromkeys(gains, 1.0))
    assert {layer.path for layer in marked if layer.raised} == raised


@pytest.mark.parametrize("image, there", [("", False), (" input(8)", True)])
def test_the_image_is_not_raised_by_the_way(tmp_path, image, there):
    choice = search(tmp_path, float_budget=1.0, request=f"w3a3 best calib(3){image}").choice()
    assert ("down.0" in {layer.path for layer in choice.layers}) == there
    assert there or "down.0" not in choice.recipe.at8


def test_what_gains_next_to_nothing_is_not_raised():
    layers = [LayerGain(path, gain, 0.01, 0.0, False) for path, gain in (("a", 0.02), ("b", 0.001))]
    marked = _marked(layers, 0.1, {"a": 1.0, "b": 1.0}, 0.01)
    assert [layer.path for layer in marked if layer.raised] == ["a"]


def quantized_toy() -> tuple[nn.Module, nn.Module, Receipt, Judge]:
    """The small network at 3 bits, at 8 bits, its receipt, and who judges it."""
    network, judge, recipe = StandIn().network(), Judge(StandIn().network(), WINDOWS.judging), THREE_BITS
    low, receipt = quant.quantize(network, recipe, windows_of(3))
    judge.verdict(low, 1)
    return low, quant.quantize(network, recipe.raised, windows_of(3))[0], quant.audit(low, receipt), judge


def test_where_time_ends_the_cheapest_layers_were_judged(monkeypatch):
    monkeypatch.setattr("medquanbench.search.layers.WEIGHT_BITS", 2.0)  # room for every layer
    low, high, receipt, judge = quantized_toy()
    products = {"deep.0": 1, "up": 8, "mix": 6, "head": 5}  # of 20, and the image's layer, which is left out

    def judged(count: int) -> set[str]:
        found = layer_gains(low, high, receipt, products, 1.0, judge, lambda done, total: done < count)
        return {layer.path for layer in found}

    # Bits take 36 % for deep.0 and for mix, where multiply-adds are less; 40 % of multiply-adds up, 25 % head.
    assert [judged(count) for count in (0, 1, 3, 9)] == [
        set(), {"head"}, {"head", "mix", "deep.0"}, {"head", "mix", "deep.0", "up"}
    ]  # fmt: skip


@pytest.mark.parametrize("budget_s, rotates", [(198.0, False), (199.0, True)])
def test_what_seldom_helps_is_asked_where_learned_rounding_keeps_its_time(tmp_path, monkeypatch, budget_s, rotates):
    monkeypatch.setattr("medquanbench.search.search.ORDER", (QUESTIONS["smoothing"],))
    monkeypatch.setattr("medquanbench.search.search.SELDOM", (QUESTIONS["rotation"],))
    monkeypatch.setattr("medquanbench.search.search._LEARNED_COSTS", 5)
    one = search(tmp_path, budget_s=budget_s)
    one._carried_out = lambda recipe, question: Trial(question, recipe, 0.1, 0.9, 10.0)
    asked = [trial.question for trial in one.choice().trials]
    # 50 s are spent by then, it takes 10 and learned rounding 50; 15 are for the end: 110 of 0.6 (budget - 15).
    assert ("rotation" in asked) == rotates and asked.count("smoothing") == 3 and LEARNED in asked


def test_the_gain_of_a_layer_is_what_the_recipe_with_it_at_8_bits_gains():
    low, high, receipt, judge = quantized_toy()
    before = judge.verdict(low).divergence
    products = {line.path: 1 for line in receipt.lines}
    gains = layer_gains(low, high, receipt, products, 1.0, judge, lambda done, total: True)
    assert judge.verdict(low).divergence == before  # given back
    assert gains and list(gains) == sorted(gains, key=lambda layer: -layer.gain)
    for layer in gains:
        mixed = quant.quantize(StandIn().network(), replace(THREE_BITS, at8=(layer.path,)), windows_of(3))[0]
        assert before - judge.verdict(mixed).divergence == pytest.approx(layer.gain, abs=1e-7)


def test_a_search_goes_on_where_it_was_stopped(tmp_path):
    whole = search(tmp_path / "one", float_budget=0.3).choice()
    stopped = search(tmp_path / "two", float_budget=0.3)

    class Stop(Exception):
        pass

    def stop(text):
        if "trial 4" in text:
            raise Stop

    stopped.tell = stop
    with pytest.raises(Stop):
        stopped.choice()
    again = search(tmp_path / "two", float_budget=0.3)
    carried_out, count = again._carried_out, []
    again._carried_out = lambda *asked: count.append(asked) or carried_out(*asked)
    found = again.choice()
    assert found.recipe == whole.recipe and len(count) == len(found.trials) - 3
    timeless = partial(replace, seconds=0.0)
    assert list(map(timeless, found.trials)) == list(map(timeless, whole.trials))


def test_what_cannot_be_carried_out_is_told_and_passed_over(tmp_path):
    class Single(StandIn):
        def network(self):
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 1)).eval()

    choice = Search(
        Single(), Recipe.parse("w4a4 best calib(2)"), WINDOWS, 1e6, 0.0, Parts(tmp_path), "cpu", lambda text: None
    ).choice()  # fmt: skip
    failed = [trial for trial in choice.trials if trial.problem]
    assert any("'branches' changes none of 2 layers" in trial.problem for trial in failed)
    assert "branches" not in choice.recipe.transform and choice.of_recipe.distance <= choice.plain.distance


def test_a_choice_goes_out_as_json_and_in(tmp_path):
    choice = search(tmp_path, budget_s=1e-9).choice()
    assert from_plain(Choice, to_plain(choice)) == choice
