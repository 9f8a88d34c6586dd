"""Opening a bundle: names, overlays, the variant that fits a file, and errors that list what there is."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medquanbench import shelf
from medquanbench.bundle import empty_network, fitting_variant, merged_config, open_bundle, variants
from medquanbench.bundle_config import Intensity, Window
from medquanbench.values import RequestError

BASE = {
    "labels": ["background", "liver"],
    "intensity": {"unit": "HU", "per_value": 100},
    "restore": "labels-nearest",
    "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": "$len(@labels)", "kernel_size": 1},
    "preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "LoadImaged", "keys": "image"}]},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 4], "sw_batch_size": 2, "overlap": 0.25},
}
OVERLAY = {"labels": ["background", "liver", "spleen"], "inferer#roi_size": [4, 4, 4]}
METADATA = {"network_data_format": {"inputs": {"image": {"num_channels": 1}}}}
VARIANTS = {"demo": {}, "wide": {"network_def#kernel_size": 3}, "twin": {"network_def#kernel_size": 3}}


def write(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def kernel(size: int, labels: int = 2) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((labels, 1, size, size, size), 0.5), "bias": torch.zeros(labels)}


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "toy"
    write(root / "configs/inference.json", BASE)
    write(root / "configs/metadata.json", METADATA)
    for name, overlay in VARIANTS.items():
        write(root / f"configs/variants/{name}.json", overlay)
    write(root / "configs/weights/demo-other.json", OVERLAY)
    (root / "models").mkdir()
    save_file(kernel(1), root / "models/demo-btcv-phantom.safetensors")
    save_file(kernel(1, labels=3), root / "models/demo-other.safetensors")
    return root


def test_what_an_opened_bundle_says(folder):
    bundle = open_bundle(folder)
    assert (bundle.name, bundle.variant, bundle.weights) == ("toy", "demo", "demo-btcv-phantom")
    assert bundle.labels == ("background", "liver") and bundle.channels == 1
    assert bundle.intensity == Intensity("HU", 100.0)
    assert bundle.window == Window((8, 8, 4), 0.25, "constant", 2)
    network = bundle.network()
    assert not network.training and network.weight.eq(0.5).all() and network.weight.shape == (2, 1, 1, 1, 1)


def test_a_weights_set_brings_its_overlay_and_only_its_own(folder):
    other, first = open_bundle(folder, weights="demo-other"), open_bundle(folder)
    assert other.labels == ("background", "liver", "spleen") and other.window.size == (4, 4, 4)
    assert other.network().weight.shape[0] == 3
    assert first.window.size == (8, 8, 4)
    assert open_bundle(folder, dataset="other").weights == "demo-other"
    assert open_bundle(folder, weights=folder / "models/demo-other.safetensors") == other


def test_the_config_is_canonical_json(folder):
    save_file(kernel(3), folder / "models/wide-btcv-phantom.safetensors")
    config = open_bundle(folder, variant="wide").config
    assert json.dumps(json.loads(config), sort_keys=True) == config
    assert json.loads(config)["network_def"]["kernel_size"] == 3


def test_a_file_elsewhere_is_called_by_its_name_and_finds_its_variant(folder, tmp_path):
    save_file(kernel(1), tmp_path / "mine.safetensors")
    bundle = open_bundle(folder, variant=None, weights=tmp_path / "mine.safetensors")
    assert bundle.variant == "demo" and bundle.weights_file == tmp_path / "mine.safetensors"
    assert bundle.weights == "mine.safetensors", "tables must not hang on the folder"


def test_the_overlay_of_a_set_counts_when_its_variant_is_sought(folder):
    assert open_bundle(folder, variant=None, weights="demo-other").variant == "demo"


def test_several_variants_fit(folder, tmp_path):
    save_file(kernel(3), tmp_path / "mine.safetensors")
    with pytest.raises(RequestError, match="fits several variants of toy: twin, wide; choose with --variant"):
        fitting_variant(folder, tmp_path / "mine.safetensors")


def test_no_variant_fits_and_the_closest_says_why(folder, tmp_path):
    save_file(kernel(3) | {"more": torch.zeros(1)}, tmp_path / "mine.safetensors")
    with pytest.raises(RequestError) as error:
        fitting_variant(folder, tmp_path / "mine.safetensors")
    assert str(error.value).endswith("fits no variant of toy; closest is twin: 1 not known to the network, first more")


def test_errors_list_what_there_is(folder, tmp_path):
    with pytest.raises(RequestError, match="no bundle 'resnet' in .*there is: .*nnunet, .*swinunetr"):
        open_bundle("resnet")
    with pytest.raises(RequestError, match="no variant 'huge' in the bundle toy; there is: demo, twin, wide"):
        open_bundle(folder, variant="huge", weights="demo-other")
    with pytest.raises(RequestError, match="no weights 'best' in .*models.*there is: demo-btcv-phantom, demo-other"):
        open_bundle(folder, weights="best")
    with pytest.raises(RequestError, match="no weights 'wide-btcv-phantom'"):
        open_bundle(folder, variant="wide")
    with pytest.raises(RequestError, match="is no bundle: it has no configs/inference.json"):
        open_bundle(tmp_path)


def test_weights_of_another_variant_are_refused_and_theirs_is_named(folder):
    with pytest.raises(RequestError, match="1 of another shape, first weight .*; it fits variant demo exactly: --var"):
        open_bundle(folder, variant="wide", weights="demo-btcv-phantom")


@pytest.mark.parametrize("missing", ["labels", "intensity", "restore", "inferer", "network_def", "preprocessing"])
def test_a_config_without_a_needed_part_is_refused(folder, missing):
    write(folder / "configs/inference.json", {key: value for key, value in BASE.items() if key != missing})
    with pytest.raises(RequestError, match=f"the config of toy, variant demo, has no '{missing}'"):
        open_bundle(folder)


def test_an_unknown_way_to_restore_is_refused(folder):
    write(folder / "configs/inference.json", BASE | {"restore": "by-magic"})
    with pytest.raises(RequestError, match="no restore 'by-magic'.*there is: labels-inverted, labels-nearest"):
        open_bundle(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"network_data_format": {}}'])
def test_metadata_must_tell_the_channels(folder, content):
    (folder / "configs/metadata.json").write_text(content)
    with pytest.raises(RequestError, match="metadata.json (does not say how many channels|is damaged)"):
        open_bundle(folder)


def test_a_variant_with_unknowns_is_refused_with_its_reason(folder):
    write(folder / "configs/variants/demo.json", {"unknown": ["patch size", "noise"], "unknown_why": "Never seen."})
    with pytest.raises(RequestError, match="variant demo of toy cannot be run: patch size and noise unknown. Never"):
        open_bundle(folder)


def test_an_empty_network_has_the_keys_and_no_memory(folder):
    network = empty_network(merged_config(folder, "wide", None))
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == {
        "weight": (2, 1, 3, 3, 3),
        "bias": (2,),
    }
    assert all(value.is_meta for value in network.state_dict().values())


def shaped_like(bundle: str, variant: str, file: Path) -> Path:
    """A checkpoint of a variant's keys and shapes; each tensor is one number, repeated without memory."""
    state = empty_network(merged_config(shelf.shelf(shelf.BUNDLES) / bundle, variant, None)).state_dict()
    torch.save({"network_weights": {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}}, file)
    return file


@pytest.mark.parametrize(
    "bundle, variant",
    [
        ("swinunetr", "demo"),
        ("swinunetr", "tiny"),
        ("swinunetr", "small"),
        ("swinunetr", "base"),
        ("unetr", "demo"),
        ("unetr", "base"),
        ("nnunet", "demo"),
        ("nnunet", "totalsegmentator-organs"),
        ("nnunet", "totalsegmentator-cardiac"),
    ],
)
def test_each_shipped_variant_is_found_from_its_keys(bundle, variant, tmp_path):
    file = shaped_like(bundle, variant, tmp_path / "w.pt")
    assert fitting_variant(shelf.shelf(shelf.BUNDLES) / bundle, file) == variant


def test_two_parts_of_totalsegmentator_look_alike(tmp_path):
    # Vertebrae and ribs have 27 outputs each: the file cannot tell which it is, so the user must.
    file = shaped_like("nnunet", "totalsegmentator-ribs", tmp_path / "w.pt")
    with pytest.raises(RequestError, match="totalsegmentator-ribs, totalsegmentator-vertebrae; choose"):
        fitting_variant(shelf.shelf(shelf.BUNDLES) / "nnunet", file)


def test_a_shipped_variant_with_unknowns_says_where_they_stand(tmp_path):
    file = shaped_like("nnunet", "totalsegmentator-organs", tmp_path / "w.pt")
    with pytest.raises(RequestError, match="patch size and intensity normalisation unknown. .*Dataset291"):
        open_bundle("nnunet", variant=None, weights=file)


def test_unknowns_are_said_before_weights_are_sought():
    with pytest.raises(RequestError, match="abdomenatlas-small of stunet cannot be run: pools and spacing"):
        open_bundle("stunet", variant="abdomenatlas-small")
    with pytest.raises(RequestError, match="no weights 'base-btcv-phantom'.*docs/README.md says.*--weights"):
        open_bundle("swinunetr", variant="base")


def test_variants_are_listed_in_order(folder):
    assert variants(folder) == ("demo", "twin", "wide")


def test_a_damaged_config_and_a_class_that_is_not_there_are_sentences(micro_bundle):
    file = micro_bundle / "configs" / "inference.json"
    good = file.read_text()
    file.write_text(good[:-5])
    with pytest.raises(RequestError, match=r"inference.json is damaged: it is no JSON at line 1, column \d+"):
        open_bundle(micro_bundle, weights="demo-micro")
    file.write_text(good.replace("monai.networks.blocks.Convolution", "monai.networks.nosuch.Network"))
    with pytest.raises(RequestError, match="cannot make its 'network_def'.*nosuch"):
        open_bundle(micro_bundle, weights="demo-micro").network()


def test_a_link_to_weights_keeps_its_name(micro_bundle, tmp_path):
    """As in a snapshot of Hugging Face: the name is a link to a blob whose name is its checksum."""
    (tmp_path / "blob").write_bytes((micro_bundle / "models" / "demo-micro.safetensors").read_bytes())
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blob")
    assert (
        open_bundle(micro_bundle, weights=tmp_path / "model.safetensors", dataset="micro").weights
        == "model.safetensors"
    )
