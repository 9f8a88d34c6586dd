"""The most sensitive layer: a second computation of every gain, and who can be it."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from medquanbench import open_bundle, open_dataset, quantize
from medquanbench.analysis.blame import Released, blame, check_layer, layers_csv, most_sensitive
from medquanbench.analysis.card import LayerRule
from medquanbench.calibration import calibration_cases, calibration_patches
from medquanbench.values import Recipe, RequestError
from tests.analysis.conftest import INNER

RULE = LayerRule(Recipe.parse("w4a4 per-tensor"), cases=2, windows=2)


@pytest.fixture
def bundle(deep_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "cache"))
    return open_bundle(deep_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


def divergence(bundle, dataset, text: str) -> float:
    """Mean over windows and labels of KL(float || quantized), written out once more."""
    network, _ = quantize(bundle.network(), Recipe.parse(text))
    found = []
    for window in calibration_patches(bundle, dataset, calibration_cases(dataset, 2), 2, (0, 0)):
        with torch.no_grad():
            p, q = (net(window)[0].flatten(1).double().softmax(0) for net in (bundle.network(), network))
        apart, labels = (p * (p / q).log()).sum(0), p.argmax(0)
        means = [float(apart[labels == label].mean()) for label in labels.unique()]
        found.append(math.fsum(means) / len(means))
    return math.fsum(found) / len(found)


def test_a_gain_is_what_keeping_the_layer_saves(bundle, dataset):
    layers = blame(bundle, dataset, RULE)
    assert {layer.path for layer in layers} == {"conv.unit0.conv", INNER, "residual"}
    whole = divergence(bundle, dataset, "w4a4 per-tensor")
    for layer in layers:
        left = divergence(bundle, dataset, f"w4a4 per-tensor keep({layer.path})")
        assert layer.divergence == pytest.approx(left, rel=1e-4)
        assert layer.gain == pytest.approx(whole - left, rel=1e-3, abs=1e-6)
    assert [layer.gain for layer in layers] == sorted((layer.gain for layer in layers), reverse=True)


def test_what_is_finished_is_not_measured_again(bundle, dataset, monkeypatch):
    first = blame(bundle, dataset, RULE)
    monkeypatch.setattr("medquanbench.search.judge.Judge.verdict", None)
    assert blame(bundle, dataset, RULE) == first
    with pytest.raises(TypeError):
        blame(bundle, dataset, RULE, seed=1)  # other windows: another measurement


def test_a_layer_that_reads_the_image_is_no_candidate(bundle, dataset):
    assert most_sensitive(blame(bundle, dataset, RULE)) == INNER
    image = Released("first", "conv 1x1x1", True, 0.1, 0.5)
    with pytest.raises(RequestError, match="all that are quantized read the image"):
        most_sensitive((image,))


def test_layers_csv_has_a_row_a_layer():
    text = layers_csv((Released("a", "linear", False, 0.25, 0.125),))
    (row,) = csv.DictReader(text.splitlines())
    assert row == {"path": "a", "kind": "linear", "reads_image": "False", "divergence": "0.250000", "gain": "0.125000"}


def test_a_layer_that_is_given_must_be_there(bundle):
    assert check_layer(bundle, RULE.recipe, INNER) == INNER
    with pytest.raises(RequestError, match="no layer 'conv.unit1' in deep, variant demo; .*'conv.unit1.conv' is near"):
        check_layer(bundle, RULE.recipe, "conv.unit1")
