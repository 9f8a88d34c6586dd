"""Every variant on the shelf is counted without memory, beside torch's own counter and the published sizes."""

from __future__ import annotations

import csv
import json
from math import prod
from pathlib import Path

import pytest
import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from medquanbench import open_bundle, shelf
from medquanbench.bundle import empty_network, variants
from medquanbench.composition_bundle import DEFAULT_WINDOW, Subject, profile, subject_of, variant_of, variants_of
from medquanbench.values import RequestError
from tests.zoo_like import NEAREST, OWN_CODE, OWN_NETWORK, config_of, metadata_of, write_zoo

PUBLISHED = Path(__file__).resolve().parent.parent / "docs" / "composition_published.csv"
SHELF = [(bundle, v) for bundle in shelf.names(shelf.BUNDLES) for v in variants(shelf.shelf(shelf.BUNDLES) / bundle)]


def half_the_flops(subject: Subject, window: tuple[int, ...]) -> float:
    """Multiply-adds by torch's own counter."""
    network = empty_network(json.loads(subject.config)).eval()
    owned = [*network.named_parameters(), *network.named_buffers()]
    tensors = {name: torch.empty_like(tensor, device="meta") for name, tensor in owned}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(network, tensors, (torch.empty(1, subject.channels, *window, device="meta"),))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("bundle, variant", SHELF)
def test_a_variant_counts_as_with_torchs_own_counter(bundle, variant):
    subject = variant_of(bundle, variant)
    made = profile(subject).composition
    network = empty_network(json.loads(subject.config))
    assert all(parameter.is_meta for parameter in network.parameters())
    assert made.total.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert made.total.multiply_adds == half_the_flops(subject, made.window) > 0
    paths = {path for path, _ in network.named_modules()}
    assert {layer.path for layer in made.layers} <= paths


def published() -> list[dict[str, str]]:
    with open(PUBLISHED, newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row['bundle']}-{row['variant']}")
def test_a_variant_has_as_many_parameters_as_is_published(row):
    made = profile(variant_of(row["bundle"], row["variant"])).composition
    alive = sum(layer.parameters for layer in made.layers if layer.kind != "never run")
    counted = {"all": made.total.parameters, "run": alive}[row["counted"]]
    digits = len(row["parameters_million"].partition(".")[2])
    assert round(counted / 1e6, digits) == float(row["parameters_million"])


def test_medformers_kernels_are_those_that_were_counted_by_hand():
    """BCV: 18 convolutions 1x3x3, one of them depthwise; 159 of 1x1x1, one of them in the head that does not run."""
    rows = profile(variant_of("medformer", "bcv")).composition.rows
    layers = {(row.kind, row.kernel_text): row.layers for row in rows}
    assert layers["conv", "1x3x3"] + layers["conv depthwise", "1x3x3"] == 18 and layers["conv", "1x1x1"] == 159 - 1


def test_a_weights_set_has_the_window_and_the_outputs_of_its_own():
    opened = open_bundle("unetr", weights="demo-msd-hippocampus")
    made = profile(subject_of(opened)).composition
    assert made.window == opened.window.size != profile(variant_of("unetr", "demo")).composition.window


def test_a_bundle_of_the_model_zoo_counts_as_it_comes(tmp_path):
    """With code of its own: a convolution 3x3x3 to three classes."""
    folder = write_zoo(tmp_path / "own", config_of(OWN_NETWORK, NEAREST), metadata_of(["a", "b", "c"]), OWN_CODE)
    torch.save({"conv.weight": torch.ones(3, 1, 3, 3, 3), "conv.bias": torch.ones(3)}, folder / "models" / "model.pt")
    (subject,) = variants_of(folder)
    made = profile(subject).composition
    assert made.total.parameters == 84 and made.total.multiply_adds == prod(made.window) * 81


def test_a_results_folder_of_nnunet_counts_as_it_comes(tmp_path):
    pytest.importorskip("nnunetv2")
    from tests.trained_nnunet import PLAIN, Recipe, random_network, write_model

    recipe = Recipe(PLAIN)
    opened = open_bundle("nnunet", variant=None, weights=write_model(tmp_path, recipe))
    made = profile(subject_of(opened)).composition
    assert made.window == recipe.patch and made.share("conv", "conv_transpose") == 1.0
    assert made.total.parameters == sum(parameter.numel() for parameter in random_network(recipe).parameters())


def test_an_unknown_window_has_a_stand_in_and_says_so():
    subject = variant_of("nnunet", "totalsegmentator-organs")
    assert profile(subject).composition.window == DEFAULT_WINDOW and "128x128x128" in profile(subject).note
    asked = profile(subject, (64, 32, 96))
    assert asked.composition.window == (64, 32, 96) and not asked.note


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: variant_of("unetr", "huge"), "no variant 'huge' in the bundle unetr; there is: base, demo"),
        (lambda: variants_of("transunet"), "no bundle 'transunet'"),
        (lambda: profile(variant_of("unetr", "demo"), (64, 64, 30)), "^unetr, variant demo: .* window of 64x64x30"),
    ],
    ids=["variant", "bundle", "window"],
)
def test_a_wrong_request_is_told(call, words):
    with pytest.raises(RequestError, match=words):
        call()


def test_a_folder_of_ones_own_counts_too_and_without_variants_is_no_bundle(micro_bundle):
    (subject,) = variants_of(micro_bundle)
    made = profile(subject).composition
    assert (subject.bundle, subject.variant, made.window) == ("micro", "demo", (8, 8, 8))
    assert made.total.multiply_adds == 8**3 * 3 and made.total.parameters == 6
    (micro_bundle / "configs" / "variants" / "demo.json").unlink()
    with pytest.raises(RequestError, match="no bundle: it has no variants"):
        variants_of(micro_bundle)


@pytest.mark.parametrize("inferer", [None, {"roi_size": [8, 8]}, "$here"], ids=["none", "two edges", "an expression"])
def test_a_config_that_does_not_say_its_window(micro_bundle, inferer):
    file = micro_bundle / "configs" / "inference.json"
    config = json.loads(file.read_text())
    del config["inferer"]
    file.write_text(json.dumps(config | ({"inferer": inferer} if inferer else {})))
    (subject,) = variants_of(micro_bundle)
    if inferer is None:
        assert profile(subject).composition.window == DEFAULT_WINDOW
        return
    with pytest.raises(RequestError, match="inferer"):
        profile(subject)
