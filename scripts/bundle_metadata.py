#!/usr/bin/env python3
"""Write into a bundle's metadata.json what goes in and comes out for each variant and weights set; for maintainers.

    python scripts/bundle_metadata.py [--check]

``network_data_format`` is the demo's and written by hand. The others, ``<variant>_data_format`` and, where a weights
set brings its own labels or preprocessing, ``<set>_data_format``, follow from the configs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medquanbench import shelf  # noqa: E402
from medquanbench.bundle_folder import merged_config, variants  # noqa: E402

_FORMATS = {"CT": "hounsfield", "MR": "magnitude"}
_UNKNOWN_SHAPE = ["*", "*", "*"]  # the published window was not to be had


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    check, stale = parser.parse_args().check, []
    for name in shelf.names(shelf.BUNDLES):
        folder = shelf.shelf(shelf.BUNDLES) / name
        file, text = folder / "configs" / "metadata.json", metadata_text(folder)
        if file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                file.write_text(text, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    sys.exit(check and bool(stale))


def metadata_text(folder: Path) -> str:
    """What a bundle's ``configs/metadata.json`` must be: its own beginning, and the formats that the configs give."""
    text = (folder / "configs" / "metadata.json").read_text(encoding="utf-8")
    own = [key for key in json.loads(text) if key.endswith("_data_format") and key != "network_data_format"]
    start = text.index(f',\n  "{own[0]}"') if own else text.rindex("\n}")
    parts = [text[:start]]
    for name, (variant, weights_set) in _formats_of(folder).items():
        value = data_format(merged_config(folder, variant, weights_set))
        lines = ",\n".join(f"    {json.dumps(way)}: {json.dumps(value[way])}" for way in ("inputs", "outputs"))
        parts.append(f',\n  "{name}_data_format": {{\n{lines}\n  }}')
    return "".join(parts) + "\n}\n"


def data_format(config: dict) -> dict:
    """The ``data_format`` of a merged config, as MONAI's metadata schema wants it."""
    channels, labels, modality = config.get("channels", 1), config["labels"], config["modality"]
    common = {"spatial_shape": config["inferer"]["roi_size"] or _UNKNOWN_SHAPE, "dtype": "float32"}
    images = {str(number): "image" if channels == 1 else f"image {number + 1}" for number in range(channels)}
    image = {"type": "image", "format": _FORMATS[modality], "modality": modality, "num_channels": channels}
    pred = {"type": "image", "format": "segmentation", "num_channels": len(labels)}
    names = dict(zip(map(str, range(len(labels))), labels))
    return {
        "inputs": {"image": _tensor(image | common, _range_of(config), images)},
        "outputs": {"pred": _tensor(pred | common, [], names)},
    }


def _tensor(fields: dict, value_range: list[float], channels: dict[str, str]) -> dict:
    return fields | {"value_range": value_range, "is_patch_data": True, "channel_def": channels}


def _range_of(config: dict) -> list[float]:
    """Smallest and largest value of an input where the preprocessing bounds them, else []."""
    bounds = {"ScaleIntensityRanged": ("b_min", "b_max"), "ScaleIntensityd": ("minv", "maxv")}
    found: tuple[str, ...] = ()
    for number, transform in enumerate(config["preprocessing"]["transforms"]):
        target = (transform or {}).get("_target_", "")
        if target in bounds:
            found = tuple(f"preprocessing#transforms#{number}#{bound}" for bound in bounds[target])
        elif target.startswith(("NormalizeIntensity", "Scale")):
            found = ()
    parser = ConfigParser(config)
    return [round(parser.get_parsed_content(key), 4) for key in found]


def _formats_of(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Name of a format -> (variant, weights set)."""
    found: dict[str, tuple[str, str | None]] = {name: (name, None) for name in variants(folder) if name != "demo"}
    sets = sorted(file.stem for file in (folder / "configs" / "weights").glob("*.json"))
    longest_first = sorted(variants(folder), key=len, reverse=True)
    variant_of = {name: next(v for v in longest_first if name.startswith(f"{v}-")) for name in sets}
    return found | {name: (variant, name) for name, variant in variant_of.items()}


if __name__ == "__main__":
    main()
