"""Passes over calibration inputs: a division that comes along with an input shows the same as one that was done."""

import pytest
import torch
from torch import nn

from medquanbench.quant import calibrate, quantize
from medquanbench.quant.calibrate import Bounds, Magnitudes, Spread
from medquanbench.values import Recipe

SHAPES = {
    ("n", "k", "c", "d", "h", "w"): (2, 1, 6, 5, 4, 3),
    ("n", "k", "l", "l", "c"): (1, 2, 7, 3, 6),
    ("n", "k", "c"): (3, 1, 6),
}


@pytest.mark.parametrize("piece", [1, 60, 1 << 22])
@pytest.mark.parametrize("layout", SHAPES, ids=str)
def test_what_divides_an_input_may_come_with_it(layout, piece, monkeypatch):
    monkeypatch.setattr(calibrate, "PIECE", piece)
    x, factors = torch.randn(SHAPES[layout]), torch.rand(6) * 3 + 0.1
    divisor = factors.reshape([-1 if axis == "c" else 1 for axis in layout])
    sections = (2, 1, 3)
    apart, together = Magnitudes("l"), Magnitudes("l")
    low_high, with_divisor = Bounds("l", sections), Bounds("l", sections)
    for one, other in ((apart, together), (low_high, with_divisor)):
        one(x / divisor, layout, None)
        other(x, layout, divisor)
    assert torch.equal(apart.largest, together.largest)
    assert torch.equal(low_high.low, with_divisor.low) and torch.equal(low_high.high, with_divisor.high)
    spread, other = Spread(low_high), Spread(low_high)
    spread(x / divisor, layout, None)
    other(x, layout, divisor)
    assert torch.equal(spread.histogram.counts, other.histogram.counts)
    assert spread.histogram.counts.sum() == x.numel()


def test_static_scales_are_those_of_the_divided_input(monkeypatch):
    """In passes over calibration inputs the division is done in pieces; in a forward, as a whole."""
    monkeypatch.setattr(calibrate, "PIECE", 7)
    x = [torch.randn(1, 4, 5, 5, 5) * torch.tensor([0.01, 1, 10, 100]).reshape(4, 1, 1, 1) for _ in range(2)]
    made, _ = quantize(nn.Conv3d(4, 3, 3), Recipe.parse("w4a8 engine smooth+gptq"), x)
    divided = [image / made.steps[0].factors for image in x]
    low = min(float(image.min()) for image in divided)
    high = max(float(image.max()) for image in divided)
    step, lowest, highest = (float(part) for part in made.placed)
    assert low - step <= lowest * step and highest * step <= high + step


@pytest.mark.parametrize("text", ["smooth+branches", "branches+branches"])
def test_what_a_pass_has_shown_is_not_looked_for_again(text):
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.idle, self.second = nn.Conv3d(2, 2, 1), nn.Conv3d(2, 2, 1), nn.Conv3d(4, 2, 1)

        def forward(self, x):
            return self.second(torch.cat([x, nn.functional.gelu(self.first(x))], 1))

    network, forwards = Skip(), []
    network.register_forward_hook(lambda *_: forwards.append(1))
    _, receipt = quantize(network, Recipe.parse(f"w4a4 per-tensor {text}"), [torch.randn(1, 2, 3, 3, 3)] * 5)
    assert len(forwards) == 5 + ("smooth" in text)  # and one to see what could be folded
    assert receipt.lines[2].transforms[-1] == "branches: branches of 2 and 2 channels"
    assert receipt.lines[1].transforms[-1] == "branches: not done: no calibration input reached it"
