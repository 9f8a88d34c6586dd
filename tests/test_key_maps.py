"""Key maps: checkpoints of four eras of MONAI's UNETR, one network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from medquanbench import open_bundle, shelf, weights
from medquanbench.bundle import build_network, empty_network, merged_config
from medquanbench.key_maps import read_key_maps
from medquanbench.values import RequestError

UNETR = shelf.shelf(shelf.BUNDLES) / "unetr"
TABLES = Path(__file__).parent / "bundles" / "keys" / "unetr"
ERAS = ("monai-0.7", "monai-0.9", "monai-1.4", "monai-1.6")
UNREAD = ("cross_attn.", "norm_cross_attn.")


def table(era: str) -> dict:
    return json.loads((TABLES / f"{era}.json").read_text())


def living() -> dict[str, list[int]]:
    """Keys and shapes that all eras have."""
    eras = [table(era)["state_dict"] for era in ERAS]
    return {key: shape for key, shape in eras[0].items() if all(era.get(key) == shape for era in eras)}


def checkpoint(era: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in table(era)["state_dict"].items()}


@pytest.fixture(scope="module")
def config() -> dict:
    return merged_config(UNETR, "base", None)


@pytest.fixture(scope="module")
def base(config) -> torch.nn.Module:
    return empty_network(config)


@pytest.mark.parametrize("era", ERAS)
def test_every_era_fits_the_published_size(era, base, config):
    fitted = weights.fit(base, checkpoint(era), read_key_maps(config["key_maps"]))
    assert not fitted.problem
    assert fitted.loaded.key_map in (era, "")  # "": the MONAI that is installed saves files of this era
    assert set(living()) <= set(fitted.tensors)
    assert all(any(part in key for part in UNREAD) for key in set(fitted.tensors) - set(living()))


def test_the_published_file_needs_its_key_map(base, config):
    tensors = checkpoint("monai-0.7")
    assert "4 not known to the network" in weights.fit(base, tensors).problem
    fitted = weights.fit(base, tensors, read_key_maps(config["key_maps"]))
    assert fitted.loaded.key_map == "monai-0.7" and set(tensors) - set(fitted.tensors) == {
        "vit.patch_embedding.cls_token",
        "encoder2.blocks.0.1.conv3.conv.weight",
        "encoder2.blocks.1.1.conv3.conv.weight",
        "encoder3.blocks.0.1.conv3.conv.weight",
    }


def test_parameters_that_are_read(base):
    alive = sum(torch.Size(shape).numel() for shape in living().values())
    assert alive == table("monai-0.9")["parameters"] == 92_784_046
    demo = empty_network(merged_config(UNETR, "demo", None))
    counted = sum(p.numel() for name, p in demo.named_parameters() if not any(part in name for part in UNREAD))
    assert round(counted / 1e6, 3) == 3.841  # as the bundle's page says


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop("vit.norm.weight"), "^1 missing, first vit.norm.weight"),
        (lambda t: t.update({"head.weight": torch.zeros(1)}), "^1 not known to the network, first head.weight"),
        (
            lambda t: t.update({"out.conv.conv.bias": torch.zeros(5)}),
            r"^1 of another shape, first out.conv.conv.bias \(5,\)",
        ),
    ],
)
def test_a_key_map_lets_nothing_else_through(base, config, change, words):
    tensors = checkpoint("monai-0.7")
    change(tensors)
    problem = weights.fit(base, tensors, read_key_maps(config["key_maps"])).problem
    assert re.search(words, problem) and problem.endswith("(with the key map monai-0.7)")


@pytest.fixture
def demo() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(merged_config(UNETR, "demo", None)).eval()


def test_what_is_unread_changes_no_output(demo):
    image = torch.randn(1, 1, 64, 64, 32)
    with torch.inference_mode():
        before = demo(image)
        spoilt = [p for name, p in demo.named_parameters() if any(part in name for part in UNREAD)]
        assert spoilt
        for parameter in spoilt:
            parameter.fill_(float("nan"))
        assert torch.equal(before, demo(image))


def test_an_old_file_answers_as_the_new_one_and_the_record_names_its_key_map(demo, tmp_path):
    state = {k: v for k, v in demo.state_dict().items() if not any(part in k for part in UNREAD)}
    extras = {key: torch.ones(shape) for key, shape in table("monai-0.7")["state_dict"].items() if key not in living()}
    assert len(extras) == 4
    torch.save(state | extras, tmp_path / "old.pth")
    bundle = open_bundle("unetr", variant=None, weights=tmp_path / "old.pth")
    assert (bundle.variant, bundle.loaded.key_map) == ("demo", "monai-0.7")
    image = torch.randn(1, 1, 64, 64, 32)
    with torch.inference_mode():
        assert torch.equal(bundle.network()(image), demo(image))


def test_what_was_dropped_and_left_is_listed(base, config):
    loaded = weights.fit(base, checkpoint("monai-0.7"), read_key_maps(config["key_maps"])).loaded
    assert len(loaded.dropped) == 4 and "vit.patch_embedding.cls_token" in loaded.dropped
    unread = [name for name in base.state_dict() if any(part in name for part in UNREAD)]
    assert sorted(loaded.left) == sorted(unread) and loaded.prefix == "" and loaded.renamed == ()


def test_a_key_map_may_rename_and_then_nothing_is_left_over():
    (key_map,) = read_key_maps({"old": {"rename": {"swin_vit.": "swinViT."}, "drop": ["swinViT.extra"]}})
    network = torch.nn.ModuleDict({"swinViT": torch.nn.Linear(2, 2), "out": torch.nn.Linear(2, 2)})
    tensors = {key.replace("swinViT", "swin_vit"): value for key, value in network.state_dict().items()}
    assert weights.fit(network, tensors, (key_map,)).problem, "what a map drops must be there"
    both = network.state_dict() | tensors | {"swin_vit.extra": torch.zeros(1)}
    assert weights.fit(network, both, (key_map,)).problem, "of two tensors that become one, one would be lost"
    fitted = weights.fit(network, tensors | {"swin_vit.extra": torch.zeros(1)}, (key_map,))
    assert not fitted.problem and list(fitted.tensors) == list(network.state_dict())
    assert fitted.loaded.renamed == (("swin_vit.", "swinViT."),) and fitted.loaded.dropped == ("swinViT.extra",)


def test_a_wrapped_old_file_needs_both(base, config):
    tensors = {f"module.{key}": value for key, value in checkpoint("monai-0.7").items()}
    loaded = weights.fit(base, tensors, read_key_maps(config["key_maps"])).loaded
    assert (loaded.prefix, loaded.key_map) == ("module.", "monai-0.7")


def test_a_key_map_of_another_form_is_a_sentence():
    assert read_key_maps(None) == ()
    for bad in ([3], {"x": 3}, {"x": {"drop": [3]}}, {"x": {"rename": ["a"]}}, {"x": {"leave": ["a"]}}):
        with pytest.raises(RequestError, match="key_maps in the bundle's config"):
            read_key_maps(bad)
