"""MONAI's own checks of the bundles, offline."""

import json
import shutil
from pathlib import Path
from runpy import run_path

import pytest
from monai.bundle import verify_metadata, verify_net_in_out

from medquanbench import shelf
from medquanbench.bundle import variants

SCHEMA = Path(__file__).parent / "meta_schema_20240725.json"


def metadata(bundle: Path) -> dict:
    return json.loads((bundle / "configs/metadata.json").read_text())


def test_verify_metadata(bundle, tmp_path):
    # verify_metadata downloads the schema unless the file is there.
    shutil.copy(SCHEMA, tmp_path / SCHEMA.name)
    assert metadata(bundle)["schema"].endswith(SCHEMA.name)
    verify_metadata(meta_file=str(bundle / "configs/metadata.json"), filepath=tmp_path / SCHEMA.name)


@pytest.mark.parametrize("missing", ["required_packages_version", "network_data_format", "authors"])
def test_the_schema_refuses_what_lacks_a_part(bundle, missing, tmp_path):
    shutil.copy(SCHEMA, tmp_path / SCHEMA.name)
    content = {key: value for key, value in metadata(bundle).items() if key != missing}
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"'{missing}' is a required property"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=tmp_path / SCHEMA.name)


def test_verify_net_in_out_from_another_folder(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = bundle / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )


def test_verify_net_in_out_of_a_variant_with_unknowns():
    # What is unknown is how images reach the network; the network itself is known.
    configs = shelf.shelf(shelf.BUNDLES) / "nnunet/configs"
    override = {
        "_meta_#network_data_format#inputs#image#spatial_shape": [64, 64, 32],
        "_meta_#network_data_format#outputs#pred#num_channels": 19,
    }
    files = [str(configs / "inference.json"), str(configs / "variants/totalsegmentator-cardiac.json")]
    verify_net_in_out(
        net_id="network_def", meta_file=str(configs / "metadata.json"), config_file=files, device="cpu", **override
    )


def test_metadata_agrees_with_the_config(bundle):
    meta, config = metadata(bundle), json.loads((bundle / "configs/inference.json").read_text())
    pred = meta["network_data_format"]["outputs"]["pred"]
    assert list(pred["channel_def"].values()) == config["labels"]
    assert list(pred["channel_def"]) == [str(number) for number in range(pred["num_channels"])]
    assert meta["version"] in meta["changelog"]
    scale = next(t for t in config["preprocessing"]["transforms"] if t["_target_"] == "ScaleIntensityRanged")
    image = meta["network_data_format"]["inputs"]["image"]
    assert image["value_range"] == [scale["b_min"], scale["b_max"]]
    per_unit = (scale["a_max"] - scale["a_min"]) / (scale["b_max"] - scale["b_min"])
    assert config["intensity"] == {"unit": "HU", "per_value": per_unit}


def test_a_bundle_has_its_licence_and_no_code(bundle):
    assert "Apache License" in (bundle / "LICENSE").read_text()
    assert (bundle / "LICENSE").read_bytes() == (Path(__file__).parents[2] / "LICENSE").read_bytes()
    assert not list(bundle.rglob("*.py"))


def test_every_variant_and_set_has_the_format_that_its_config_gives(bundle):
    script = run_path(str(Path(__file__).parents[2] / "scripts" / "bundle_metadata.py"))
    # To mend: python scripts/bundle_metadata.py
    assert (bundle / "configs/metadata.json").read_text(encoding="utf-8") == script["metadata_text"](bundle)
    names = {key.removesuffix("_data_format") for key in metadata(bundle) if key.endswith("_data_format")}
    sets = {file.stem for file in (bundle / "configs/weights").glob("*.json")}
    assert names == {"network"} | sets | set(variants(bundle)) - {"demo"}


def test_formats_by_hand():
    brats = metadata(shelf.shelf(shelf.BUNDLES) / "segformer3d")["brats_data_format"]
    assert brats["inputs"]["image"]["num_channels"] == 4 and brats["inputs"]["image"]["modality"] == "MR"
    brain = metadata(shelf.shelf(shelf.BUNDLES) / "unest")["wholebrain_data_format"]
    assert brain["outputs"]["pred"]["num_channels"] == 133 and brain["inputs"]["image"]["format"] == "magnitude"
    bcv = metadata(shelf.shelf(shelf.BUNDLES) / "medformer")["bcv_data_format"]["inputs"]["image"]
    assert bcv["value_range"] == [round((-958 - 82.92) / 136.97, 4), round((327 - 82.92) / 136.97, 4)]


def test_verify_net_in_out_of_a_weights_set(bundle):
    meta = metadata(bundle)
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=[
            str(bundle / "configs" / name) for name in ("inference.json", "weights/demo-msd-hippocampus.json")
        ],
        device="cpu",
        **{"_meta_#network_data_format": meta["demo-msd-hippocampus_data_format"]},
    )
