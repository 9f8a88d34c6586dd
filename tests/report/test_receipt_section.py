"""Receipts summed up: numbers that a person can check by hand."""

import pytest

from medquanbench.report.receipt_section import (
    effective_activation_bits,
    effective_weight_bits,
    image_steps,
    receipt_section,
)
from medquanbench.values import Line, Receipt, State, TensorNote


def a_line(path: str, state: State, parameters: int, weight: float, activation: float, note: str = "") -> Line:
    weight_note = TensorNote(4 if weight < 32 else 32, "per-tensor", 0, weight)
    activation_note = TensorNote(4, "per-channel", 0, activation, note)
    return Line(path, (), "conv 3x3x3", state, "", parameters, weight_note, activation_note)


def test_weight_bits_are_weighted_by_parameters_without_layers_that_never_run():
    lines = (a_line("a", State.QUANTIZED, 300, 4.0, 4.5), a_line("b", State.KEPT, 100, 32.0, 32.0),
             a_line("c", State.NEVER_RUN, 10**9, 4.0, 4.0))  # fmt: skip
    assert effective_weight_bits(Receipt("w4a4 x", lines)) == (300 * 4 + 100 * 32) / 400
    assert effective_weight_bits(Receipt("w4a4 x", ())) is None


def test_activation_bits_are_the_mean_and_the_worst_of_quantized_layers():
    lines = (a_line("a", State.QUANTIZED, 1, 4.0, 4.5), a_line("b", State.QUANTIZED, 9, 4.0, 12.0),
             a_line("c", State.KEPT, 1, 32.0, 32.0))  # fmt: skip
    assert effective_activation_bits(Receipt("w4a4 x", lines)) == (8.25, 12.0)
    assert effective_activation_bits(Receipt("fp32", lines[2:])) is None


def test_image_steps_are_in_the_unit_of_the_image(report):
    steps = [0.07 + 0.001 * k for k in range(8)]
    assert image_steps(report.rows[1], 425.0) == pytest.approx((425 * (steps[3] + steps[4]) / 2, 425 * steps[7]))
    assert image_steps(report.rows[0], 425.0) is None


def test_what_stayed_float_and_every_fallback_is_said_with_its_reason(report):
    page = receipt_section(report).html
    assert "1 layer stayed float: keep(head)" in page
    assert "1 layer stayed float: uses the weights inside it" in page
    assert "1 layer never ran" in page
    assert "1 layer with another scale for the activation: per-voxel would give each value its own scale" in page
    assert page.count("decoder.0.up") == 6  # once in the layer table of each configuration
