"""MONAI's own checks of the bundles, offline."""

import json
import shutil
from pathlib import Path

import pytest
from monai.bundle import verify_metadata, verify_net_in_out

from medquanbench import shelf

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
