"""What a checkpoint that does not fit is told: what it fits, or what comes closest and in what it differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medquanbench import open_bundle, shelf
from medquanbench.bundle import empty_network, merged_config
from medquanbench.values import RequestError

BUNDLES = shelf.shelf(shelf.BUNDLES)


def shaped_like(bundle: str, variant: str, file: Path, **changed: object) -> Path:
    """A checkpoint of a variant's keys and shapes; each tensor is one number, repeated without memory."""
    config = merged_config(BUNDLES / bundle, variant, None)
    config["network_def"] |= changed
    state = empty_network(config).state_dict()
    torch.save({key: torch.zeros(()).expand(value.shape) for key, value in state.items()}, file)
    return file


def told(bundle: str, file: Path, variant: str | None = None) -> str:
    with pytest.raises(RequestError) as error:
        open_bundle(bundle, variant=variant, weights=file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_of_another_bundle_are_told_which_it_is(tmp_path):
    text = told("unetr", shaped_like("swinunetr", "tiny", tmp_path / "w.pt"))
    assert "fits no variant of unetr; closest is " in text and " missing, first " in text
    assert text.endswith("it fits swinunetr, variant tiny exactly: --bundle swinunetr")


def test_weights_of_another_variant_are_told_which_it_is(tmp_path):
    text = told("swinunetr", shaped_like("swinunetr", "small", tmp_path / "w.pt"), "base")
    assert "does not fit swinunetr, variant base: the layers are the same, of other sizes (" in text
    assert text.endswith("it fits variant small exactly: --variant small")


def test_another_number_of_classes_is_told_by_its_number(tmp_path):
    text = told("swinunetr", shaped_like("swinunetr", "base", tmp_path / "w.pt", out_channels=5))
    assert "closest is base: its output layer has 5 classes where base has 14 (2 of another shape, first " in text


def test_classes_of_every_head_are_one_difference(tmp_path):
    """nnU-Net has a head at every resolution: five of them differ, in one number."""
    text = told("nnunet", shaped_like("nnunet", "demo", tmp_path / "w.pt", num_classes=9), "demo")
    assert "its output layer has 9 classes where demo has 14" in text


def test_another_feature_size_is_told_with_the_first_shapes(tmp_path):
    text = told("swinunetr", shaped_like("swinunetr", "base", tmp_path / "w.pt", feature_size=36))
    assert "the layers are the same, of other sizes (" in text
    assert "of another shape, first swinViT.patch_embed.proj.weight (36, 1, 2, 2, 2) for (" in text


def test_what_resembles_nothing_names_nothing(tmp_path):
    torch.save({f"a.b.c.{number}": torch.zeros(1) for number in range(9)}, tmp_path / "w.pt")
    text = told("unetr", tmp_path / "w.pt")
    assert "closer is" not in text and "exactly" not in text


def test_a_bundle_on_the_shelf_that_cannot_be_built_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("medquanbench.closest.empty_network", refusing("nnunet", empty_network))
    assert "it fits swinunetr, variant tiny" in told("unetr", shaped_like("swinunetr", "tiny", tmp_path / "w.pt"))


def refusing(bundle: str, build):
    def built(config, *rest):
        if "dynamic_network_architectures" in str(config["network_def"]["_target_"]):
            raise RequestError(f"{bundle} needs a package that is not installed")
        return build(config, *rest)

    return built
