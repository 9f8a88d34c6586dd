"""The shipped demo weights: their cards, and what the window batch and the threads may change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medquanbench import open_bundle, open_dataset, shelf
from medquanbench.bundle_folder import variant_of_set
from medquanbench.infer import preprocess
from medquanbench.study import carry_out
from medquanbench.study_plan import Conduct, prepare

WEIGHTS = sorted(shelf.shelf(shelf.BUNDLES).glob("*/models/*.safetensors"))
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="module")
def phantom_cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("MEDQUANBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.mark.parametrize("file", WEIGHTS, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_card_tells_where_the_weights_come_from(file):
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert 0 < card["test"]["dsc"] < 1 and card["training"]["steps"] > 0 and card["data_licence"]
    assert card["phantom"] == ("phantom" in file.stem)


def variant_and_dataset(file: Path) -> tuple[str, str]:
    """What the name of a shipped set says; names of variants hold hyphens, too."""
    variant = variant_of_set(file.parent.parent, file)
    return variant, file.stem.removeprefix(f"{variant}-")


@pytest.mark.parametrize("file", WEIGHTS, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_weights_open_and_fit(file):
    variant, dataset = variant_and_dataset(file)
    bundle = open_bundle(file.parent.parent.name, variant=variant, dataset=dataset)
    assert bundle.weights == file.stem
    assert (
        sum(p.numel() for p in bundle.network().parameters())
        == json.loads(file.with_suffix(".json").read_text())["parameters"]
    )


@pytest.mark.parametrize("file", WEIGHTS, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_a_copy_elsewhere_finds_its_variant_and_its_preprocessing(file, tmp_path):
    variant, dataset = variant_and_dataset(file)
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(file.read_bytes())
    mine = open_bundle(file.parent.parent.name, variant=None, weights=copy, dataset=dataset)
    shipped = open_bundle(file.parent.parent.name, variant=variant, dataset=dataset)
    assert (mine.variant, mine.config) == (variant, shipped.config)


@pytest.mark.parametrize("name", ["nnunet", "swinunetr", "unetr"])
def test_window_batch_and_threads_change_next_to_nothing(name, phantom_cache):
    """At most 1e-4 of mean DSC in FP32 and W8A8, 2e-3 in W4A4, where a last digit can move a rounding."""
    bundle, dataset = open_bundle(name), open_dataset("btcv-phantom")
    (case,) = dataset.cases("test", 1)
    shape = preprocess(bundle.preprocessing(), case.inputs[0]).grid.shape
    assert sum(have > want for have, want in zip(shape, bundle.window.size)) >= 2, "at least four windows"
    threads, means = torch.get_num_threads(), []
    try:
        for batch, count in ((1, 1), (4, 2)):
            torch.set_num_threads(count)
            other = replace(bundle, window=replace(bundle.window, batch=batch))
            plan = prepare(other, dataset, ["w8a8 per-channel", "w4a4 adaptive"], cases=1)
            means.append([record.mean(0) for record in carry_out(plan, None, Conduct()).records])
    finally:
        torch.set_num_threads(threads)
    assert all(mean > 0.3 for mean in means[0][:2]), "weights that see nothing would prove nothing"
    for one, other, allowed in zip(*means, (1e-4, 1e-4, 2e-3)):
        assert abs(one - other) <= allowed


def test_hippocampus_scores_are_those_of_the_card():
    if not (SHARED / "msd-hippocampus").is_dir():
        pytest.skip("the msd-hippocampus images are not beside this checkout")
    bundle = open_bundle("nnunet", dataset="msd-hippocampus")
    dataset = open_dataset("msd-hippocampus", root=SHARED / "msd-hippocampus")
    plan = prepare(bundle, dataset, ["w8a8 per-channel"], cases=6)
    float_, quantized = carry_out(plan, None, Conduct()).records
    assert float_.mean(0) > 0.8 and abs(float_.mean(0) - quantized.mean(0)) < 0.01
