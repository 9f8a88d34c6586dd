"""Bundles as they come from the Model Zoo: the label map is, voxel for voxel, what MONAI's own command saves."""

from __future__ import annotations

import datetime
import json
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import run

from medquanbench import open_bundle, shelf
from medquanbench.bundle_config import Intensity, Window
from medquanbench.eval import __main__ as door
from medquanbench.images import grid_of, read_labels, same_grid
from medquanbench.roads import ROADS
from medquanbench.values import RequestError
from tests.conftest import write_dataset
from tests.zoo_like import (
    LINEAR,
    NEAREST,
    OWN_CODE,
    OWN_NETWORK,
    SAVE,
    SOFTMAX,
    SPLEEN_NETWORK,
    SWIN_NETWORK,
    config_of,
    invert,
    metadata_of,
    network_of,
    random_weights,
    write_image,
    write_zoo,
)

THREE = ["background", "liver", "Right  Kidney"]
AS_BEFORE = {"_target_": "medquanbench.networks.PatchMergingBefore15", "_mode_": "callable"}


@pytest.fixture
def image(tmp_path) -> Path:
    return write_image(tmp_path / "in" / "case.nii.gz")


@pytest.fixture
def spleen(tmp_path) -> Path:
    """In the style of spleen_ct_segmentation."""
    config = config_of(SPLEEN_NETWORK)
    folder = write_zoo(tmp_path / "spleen_ct", config, metadata_of(["background", "spleen"]))
    random_weights(network_of(config), folder / "models" / "model.pt")
    return folder


@pytest.fixture
def swin(tmp_path) -> Path:
    """In the style of swin_unetr_btcv_segmentation, which MONAI 1.0 made."""
    config = config_of(SWIN_NETWORK) | {"roi": [64, 64, 64]}
    folder = write_zoo(tmp_path / "swin_unetr", config, metadata_of(THREE, "1.0.1"))
    network = {key: value for key, value in SWIN_NETWORK.items() if key != "img_size"}
    random_weights(network_of(config_of(network)), folder / "models" / "model.pt")
    return folder


@pytest.fixture
def with_code(tmp_path, monkeypatch) -> Path:
    """In the style of wholeBrainSeg_Large_UNEST_segmentation, whose network lies in scripts/."""
    folder = write_zoo(tmp_path / "own_code", config_of(OWN_NETWORK, NEAREST), metadata_of(THREE), OWN_CODE)
    torch.manual_seed(0)
    tensors = {"conv.weight": torch.randn(3, 1, 3, 3, 3), "conv.bias": torch.zeros(3)}
    torch.save({"model": tensors}, folder / "models" / "model.pt")
    return folder


def edit(folder: Path, **changed: object) -> dict:
    """Change ids of the bundle's config; None takes one out."""
    file = folder / "configs" / "inference.json"
    config = {key: value for key, value in (json.loads(file.read_text()) | changed).items() if value is not None}
    file.write_text(json.dumps(config))
    return config


def monais(folder: Path, image: Path, changed: dict) -> np.ndarray:
    """What MONAI's own command saves; ITK is not installed here, and reads the same numbers."""
    file = folder / "configs" / "inference.json"
    config = json.loads(file.read_text()) | changed
    del config["preprocessing"]["transforms"][0]["reader"]
    own = folder.parent / "for_monai.json"
    own.write_text(json.dumps(config))
    run(
        config_file=str(own),
        meta_file=str(folder / "configs" / "metadata.json"),
        bundle_root=str(folder),
        dataset_dir=str(image.parent),
        output_dir=str(folder.parent / "saved"),
    )
    saved = read_labels(next((folder.parent / "saved").rglob("*.nii.gz")))
    assert same_grid(saved.grid, grid_of(image))
    return saved.labels


def ours(folder: Path, image: Path) -> np.ndarray:
    bundle = open_bundle(folder)
    return ROADS[bundle.restore].answer(bundle.network(), bundle, (image,), "cpu", None).labels


def test_a_bundle_like_the_spleens_answers_as_monai_does(spleen, image):
    answer = ours(spleen, image)
    assert open_bundle(spleen).restore == "logits-linear"
    np.testing.assert_array_equal(answer, monais(spleen, image, {}))
    assert 0.05 < answer.mean() < 0.95


def test_a_bundle_that_takes_the_largest_first_answers_as_monai_does(spleen, image):
    edit(spleen, postprocessing={"_target_": "Compose", "transforms": NEAREST})
    assert open_bundle(spleen).restore == "labels-inverted"
    np.testing.assert_array_equal(ours(spleen, image), monais(spleen, image, {}))


def test_logits_that_are_not_made_probabilities_are_interpolated_as_they_are(spleen, image):
    with_softmax = ours(spleen, image)
    edit(spleen, postprocessing={"_target_": "Compose", "transforms": LINEAR[1:]})
    answer = ours(spleen, image)
    np.testing.assert_array_equal(answer, monais(spleen, image, {}))
    assert not np.array_equal(answer, with_softmax), "else this test shows nothing"


def test_an_old_swin_unetr_answers_as_with_the_patch_merging_of_its_time(swin, image):
    bundle = open_bundle(swin)
    assert any("MONAI 1.0.1" in text and "PatchMergingBefore15" in text for text in bundle.remarks)
    assert any("img_size" in text for text in bundle.remarks)
    assert json.loads(bundle.config)["network_def"]["downsample"] == AS_BEFORE
    answer = ours(swin, image)
    network = {key: value for key, value in SWIN_NETWORK.items() if key != "img_size"}
    np.testing.assert_array_equal(answer, monais(swin, image, {"network_def": network | {"downsample": AS_BEFORE}}))
    todays = monais(swin, image, {"network_def": network})
    assert (todays != answer).mean() > 0.01 and len(np.unique(answer)) == 3


@pytest.mark.parametrize("version, old", [("1.4.0", True), ("0.9.1", True), ("1.5.0", False), ("1.10.0rc1", False)])
def test_the_patch_merging_hangs_on_the_version(swin, version, old):
    edit(swin, network_def={key: value for key, value in SWIN_NETWORK.items() if key != "img_size"})
    (swin / "configs" / "metadata.json").write_text(json.dumps(metadata_of(THREE, version)))
    bundle = open_bundle(swin)
    assert ("downsample" in json.loads(bundle.config)["network_def"]) is old
    assert any(f"the order of MONAI {'before' if old else 'since'} 1.5" in text for text in bundle.remarks)


@pytest.mark.parametrize("version", ["1.5.0", "latest"])
def test_a_size_of_images_is_of_the_time_before_whatever_the_metadata_says(swin, version):
    (swin / "configs" / "metadata.json").write_text(json.dumps(metadata_of(THREE, version)))
    bundle = open_bundle(swin)
    assert json.loads(bundle.config)["network_def"]["downsample"] == AS_BEFORE
    assert any("in the order of MONAI before 1.5" in text for text in bundle.remarks)


def test_the_other_patch_merging_is_the_same_in_all_versions(swin):
    edit(swin, network_def=SWIN_NETWORK | {"downsample": "mergingv2"})
    assert json.loads(open_bundle(swin).config)["network_def"]["downsample"] == "mergingv2"


@pytest.mark.parametrize("hidden", ["no version", "an expression"])
def test_a_swin_unetr_of_unknown_age_is_refused(swin, hidden):
    if hidden == "no version":
        edit(swin, network_def={key: value for key, value in SWIN_NETWORK.items() if key != "img_size"})
        (swin / "configs" / "metadata.json").write_text(json.dumps(metadata_of(THREE) | {"monai_version": "latest"}))
    else:
        edit(swin, network_def="$monai.networks.nets.SwinUNETR(1, 3, feature_size=12, depths=[1, 1, 1, 1])")
    with pytest.raises(RequestError, match="swin_unetr has a SwinUNETR, and it cannot be told or set from it"):
        open_bundle(swin)


def test_code_that_comes_with_a_bundle_is_its_own(with_code, image, monkeypatch):
    """Also where another package of that name is imported already, as this repository's scripts/ may be."""
    other = type(sys)("scripts")
    monkeypatch.setitem(sys.modules, "scripts", other)
    before = list(sys.path)
    answer = ours(with_code, image)
    assert sys.path == before and sys.modules["scripts"] is other, "and what was there before is there again"
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:  # also those of other tests
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(with_code))
    np.testing.assert_array_equal(answer, monais(with_code, image, {}))
    assert len(np.unique(answer)) == 3


def test_a_change_of_its_code_is_another_run(with_code):
    before = json.loads(open_bundle(with_code).config)["code_sha256"]
    assert list(before) == [f"scripts/{name}.py" for name in ("__init__", "networks/__init__", "networks/parts",
                                                              "networks/toy")]  # fmt: skip
    (with_code / "scripts" / "networks" / "parts.py").write_text("def kernel():\n    return 3  # as before\n")
    assert json.loads(open_bundle(with_code).config)["code_sha256"] != before


def test_what_is_read_from_config_and_metadata(swin):
    bundle = open_bundle(swin, variant=None)
    assert (bundle.name, bundle.variant, bundle.weights) == ("swin_unetr", "model", "model.pt")
    assert bundle.labels == ("background", "liver", "Right Kidney") and bundle.channels == 1
    assert bundle.intensity == Intensity("HU", 221.0)
    assert bundle.window == Window((64, 64, 64), 0.5, "gaussian", 4, "replicate")
    assert json.dumps(json.loads(bundle.config), sort_keys=True) == bundle.config
    assert str(swin.parent) not in bundle.config, "a run's key must not hang on the folder"


@pytest.mark.parametrize(
    "transforms, unit, per_value, remarks",
    [
        ([{"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": "True"}], "sigma", 1.0, 0),
        (
            [
                {"_target_": "NormalizeIntensityd", "keys": "image"},
                {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0},
            ],
            "units of the input",
            1.0,
            1,
        ),
        ([{"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 300}], "HU", 400.0, 0),
        ([], "units of the input", 1.0, 1),
    ],
)
def test_what_a_unit_of_the_input_is_worth(spleen, transforms, unit, per_value, remarks):
    config = json.loads((spleen / "configs" / "inference.json").read_text())
    config["preprocessing"]["transforms"][4:5] = transforms
    edit(spleen, preprocessing=config["preprocessing"])
    bundle = open_bundle(spleen)
    assert bundle.intensity == Intensity(unit, per_value)
    assert sum("intensity" in text for text in bundle.remarks) == remarks


def test_a_range_of_other_images_is_not_in_hounsfield_units(spleen):
    file = spleen / "configs" / "metadata.json"
    file.write_text(file.read_text().replace("hounsfield", "magnitude").replace('"CT"', '"MR"'))
    assert open_bundle(spleen).intensity == Intensity("units of the image", 221.0)


def test_transforms_for_labels_do_nothing_and_the_image_may_have_another_name(spleen, image):
    expected = ours(spleen, image)
    config = json.loads((spleen / "configs" / "inference.json").read_text())
    transforms = config["preprocessing"]["transforms"]
    transforms[0]["keys"] = transforms[1]["keys"] = ["scan", "label"]
    transforms[3] |= {"keys": ["scan", "label"], "mode": ["bilinear", "nearest"]}
    transforms.append({"_target_": "Lambdad", "keys": "label", "func": "$lambda x: x / 0"})
    edit(spleen, preprocessing=config["preprocessing"], image_key="scan")
    np.testing.assert_array_equal(ours(spleen, image), expected)


def test_a_config_in_yaml_is_the_same(spleen, image):
    yaml = pytest.importorskip("yaml")
    expected, file = ours(spleen, image), spleen / "configs" / "inference.json"
    (spleen / "configs" / "inference.yaml").write_text(yaml.safe_dump(json.loads(file.read_text())))
    file.unlink()
    np.testing.assert_array_equal(ours(spleen, image), expected)


def test_a_config_of_old_form_has_network_alone_and_runs_by_evaluating(spleen, image):
    expected = ours(spleen, image)
    edit(spleen, network=SPLEEN_NETWORK, network_def=None, run=None, initialize=None, evaluating=["$@evaluator.run()"])
    np.testing.assert_array_equal(ours(spleen, image), expected)


def test_other_weights_by_name_and_by_path(spleen, tmp_path):
    content = torch.load(spleen / "models" / "model.pt")
    torch.save({"state_dict": {f"module.{key}": value for key, value in content.items()}}, tmp_path / "mine.pth")
    (spleen / "models" / "model_lowres.pt").write_bytes((spleen / "models" / "model.pt").read_bytes())
    mine = open_bundle(spleen, weights=tmp_path / "mine.pth")
    assert (mine.variant, mine.weights, mine.loaded.under, mine.loaded.prefix) == ("mine", "mine.pth", "state_dict",
                                                                                   "module.")  # fmt: skip
    low = open_bundle(spleen, weights="model_lowres.pt")
    assert low.variant == "model_lowres"
    assert low.remarks[0].startswith("The bundle's config loads model.pt; its preprocessing is for that")
    assert not any("config loads" in text for text in open_bundle(spleen).remarks)
    file = spleen / "configs" / "inference.json"
    file.write_text(file.read_text().replace("models/model.pt", "models/model_lowres.pt"))
    assert open_bundle(spleen).weights == "model_lowres.pt"


def test_a_config_that_loads_from_elsewhere_means_its_own_file(spleen, tmp_path):
    # "spleen_ct_more" begins as "spleen_ct" does, and lies outside of it.
    elsewhere = tmp_path / f"{spleen.name}_more" / "model.pt"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes((spleen / "models" / "model.pt").read_bytes())
    file = spleen / "configs" / "inference.json"
    file.write_text(file.read_text().replace("$@bundle_root + '/models/model.pt'", str(elsewhere)))
    assert open_bundle(spleen).weights_file == spleen / "models" / "model.pt"


def test_weights_that_fit_a_shipped_bundle_are_told_so(spleen):
    with pytest.raises(RequestError) as error:
        open_bundle(spleen, weights=shelf.shelf(shelf.BUNDLES) / "unetr" / "models" / "demo-btcv-phantom.safetensors")
    text = str(error.value)
    assert "does not fit spleen_ct, variant demo-btcv-phantom: " in text
    assert text.endswith("it fits unetr, variant demo exactly: --bundle unetr")


def test_a_whole_evaluation_tells_what_was_changed(swin, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data")
    card = tmp_path / "data" / "micro.toml"
    card.write_text(card.read_text().replace('"low"', '"liver"').replace('"high"', '"right kidney"'))
    argv = ["--bundle", str(swin), "--dataset", str(card), "--data-root", str(tmp_path / "data"), "--cases", "1"]
    assert door.main([*argv, "--w8a8", "per-tensor", "--out", "out"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith(f"note: {swin} is not on the shelf: $ expressions in its config, and code that comes")
    assert "its SwinUNETR merges patches in the order of MONAI before 1.5" in " ".join(told.out.split())
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["bundle"]["variant"] == "model" and len(record["bundle"]["remarks"]) == 3
    assert "PatchMergingBefore15" in (tmp_path / "out" / "report.html").read_text()


def test_a_name_on_the_shelf_is_trusted_without_a_word(capsys):
    assert door.main(["--bundle", "unetr", "--w8a8", "adaptive", "--variant", "nosuch"]) == 2
    assert "note:" not in capsys.readouterr().err


SIGMOID = [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}, invert(False), SAVE]
LABEL_NUMBERS = [SOFTMAX, NEAREST[1], invert(False), SAVE]
INFERER = {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 1, "overlap": 0.5}


def finish(*transforms: dict) -> dict:
    return {"_target_": "Compose", "transforms": list(transforms)}


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"postprocessing": finish(*SIGMOID)}, "its outputs do not exclude each other (sigmoid)"),
        ({"postprocessing": finish(*LABEL_NUMBERS)}, "its postprocessing interpolates between numbers of labels"),
        ({"postprocessing": SAVE}, "its postprocessing is a SaveImaged; MONAI's Compose is needed"),
        (
            {"postprocessing": finish({"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5})},
            "it cuts its outputs at a threshold",
        ),
        ({"second_network_def": SPLEEN_NETWORK}, "has several networks (network_def, second_network_def)"),
        ({"network_def": None, "network": None}, "has no 'network_def' and no 'network'"),
        ({"inferer": {"_target_": "SimpleInferer"}}, "its inferer is a SimpleInferer; a SlidingWindow"),
        ({"inferer": INFERER | {"roi_size": [32, 32, -1]}}, "has windows of (32, 32, -1) voxels"),
        ({"inferer": INFERER | {"sigma_scale": 0.25}}, "blends with a sigma_scale of 0.25; it is 0.125 here"),
        ({"inferer": INFERER | {"overlap": [0.5, 0.5, 0.25]}}, "overlaps its windows otherwise along each axis"),
        ({"inferer": INFERER | {"roi_size": [32, 32]}}, "windows that have not three axes"),
        ({"inferer": INFERER | {"_target_": "SliceInferer"}}, "its inferer is a SliceInferer; a SlidingWindowInferer"),
        ({"inferer": INFERER | {"_target_": "$type('Mine', (monai.inferers.SlidingWindowInferer,), {})"}}, "inferer"),
        ({"network_def": "$exit(3)"}, "cannot make its 'network_def': it ends the program"),
        ({"inferer": None}, "has no 'inferer'"),
        ({"preprocessing": finish({"_target_": "AddChanneld", "keys": "image"})}, "cannot make its 'preprocessing'"),
        ({"preprocessing": finish({"_target_": "EnsureTyped", "keys": "image"})}, "its preprocessing loads no image"),
        ({"network_def": SPLEEN_NETWORK | {"_target_": "scripts.nosuch.Net"}}, "cannot make its 'network_def'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_repeated_is_said(spleen, changed, words):
    edit(spleen, **changed)
    with pytest.raises(RequestError) as error:
        open_bundle(spleen)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "transforms, words",
    [
        (
            [*LINEAR, {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"}],
            "KeepLargestConnectedComponentd of",
        ),
        ([SOFTMAX, NEAREST[1], SAVE], "does not undo its preprocessing (Invertd)"),
        ([SOFTMAX, invert(False), SAVE], "saves its outputs, not labels"),
    ],
    ids=["a step more", "no way back", "no labels"],
)
def test_what_is_done_otherwise_is_remarked(spleen, transforms, words):
    edit(spleen, postprocessing=finish(*transforms))
    assert any(words in text for text in open_bundle(spleen).remarks)


def test_metadata_must_name_every_output(spleen):
    file = spleen / "configs" / "metadata.json"
    file.write_text(json.dumps(metadata_of(["background", "spleen"]) | {"network_data_format": {}}))
    with pytest.raises(RequestError, match="metadata.json does not name the outputs"):
        open_bundle(spleen)
    good = metadata_of(["background", "spleen"])
    short = deepcopy(good)
    short["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background"}
    file.write_text(json.dumps(short))
    with pytest.raises(RequestError, match=r"a name for each of its num_channels \(2\)"):
        open_bundle(spleen)


def test_weights_that_were_not_downloaded_are_named(spleen):
    (spleen / "models" / "model.pt").rename(spleen / "models" / "model.ts")
    (spleen / "large_files.yml").write_text("large_files: []")
    with pytest.raises(
        RequestError, match=r"models/model.pt is missing; .*there is: model.ts; its large_files.yml says"
    ):
        open_bundle(spleen)
    with pytest.raises(RequestError, match="no variant 'huge' in the bundle spleen_ct; there is: model"):
        (spleen / "models" / "model.ts").rename(spleen / "models" / "model.pt")
        open_bundle(spleen, variant="huge")


@pytest.mark.parametrize(
    "there", [{1: "a", "b": "c"}, {1: "a"}, [datetime.date(2020, 1, 1)]], ids=["mixed", "int", "date"]
)
def test_what_only_yaml_can_hold_is_one_sentence(spleen, there):
    yaml, file = pytest.importorskip("yaml"), spleen / "configs" / "inference.json"
    file.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(file.read_text()) | {"labelmap": there}))
    file.unlink()
    with pytest.raises(RequestError, match="inference.yaml holds .*; texts as keys"):
        open_bundle(spleen)


def test_softmax_behind_the_way_back_changes_nothing(spleen):
    edit(spleen, postprocessing=finish(LINEAR[1], LINEAR[0], *LINEAR[2:]))
    assert json.loads(open_bundle(spleen).config)["activation"] == "none"


def test_a_virtual_environment_in_a_bundle_is_not_its_code(spleen):
    (spleen / "venv" / "lib").mkdir(parents=True)
    (spleen / "venv" / "pyvenv.cfg").write_text("")
    (spleen / "venv" / "lib" / "x.py").write_text("")
    assert "code_sha256" not in json.loads(open_bundle(spleen).config)
