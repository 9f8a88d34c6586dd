"""Bad configs."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from safetensors.torch import save_file

from tests.bad_input.bad import Bad, Place, config, edit

COMPOSE = {"_target_": "Compose", "transforms": [{"_target_": "LoadImaged", "keys": "image"}]}


def metadata(content: object) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        (place.bundle / "configs" / "metadata.json").write_text(json.dumps(content))

    return spoil


def no_metadata(place: Place) -> None:
    (place.bundle / "configs" / "metadata.json").unlink()


def variant(text: str) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        (place.bundle / "configs" / "variants" / "demo.json").write_text(text)

    return spoil


def no_text(place: Place) -> None:
    place.config.write_bytes(b"\xff\xfe\x00")


def channels(count: object) -> dict:
    return {"network_data_format": {"inputs": {"image": {"num_channels": count}}}}


def network(inputs: int, outputs: int) -> Callable[[Place], list[str]]:
    """Another network with weights that fit it, found bad by its first window: in an output folder of its own."""

    def spoil(place: Place) -> list[str]:
        config(network_def__in_channels=inputs, network_def__out_channels=outputs)(place)
        weight, bias = torch.zeros(outputs, inputs, 1, 1, 1), torch.zeros(outputs)
        save_file({"conv.weight": weight, "conv.bias": bias}, place.folder / "w.safetensors")
        return ["--weights", str(place.folder / "w.safetensors"), "--out", str(place.folder / "new")]

    return spoil


def preprocessing(*transforms: dict) -> Callable[[Place], list[str]]:
    """Another preprocessing, found bad when the first image is met: in an output folder of its own."""

    def spoil(place: Place) -> list[str]:
        config(preprocessing={"_target_": "Compose", "transforms": [*COMPOSE["transforms"], *transforms]})(place)
        return ["--out", str(place.folder / "new")]

    return spoil


BUNDLES = {
    "Bundles": [
        Bad(
            "a config that is no JSON",
            edit(lambda p: p.config, '"labels"', "labels"),
            "inference.json is damaged: it is no JSON at line 1, column 2",
            library=True,
        ),
        Bad("a config that is no text", no_text, "inference.json is damaged: it is no text"),
        Bad("a config that is a list", variant("[]"), "demo.json is damaged: it must be a JSON object"),
        Bad(
            "a variant that is no JSON",
            variant('{"labels": '),
            "demo.json is damaged: it is no JSON at line 1",
            library=True,
        ),
        Bad(
            "a variant that changes what is not there",
            variant('{"nosuch#size": 3}'),
            "cannot be merged from inference.json, demo.json:",
            library=True,
        ),
        Bad("a config without its network", config(network_def=None), "has no 'network_def'"),
        Bad("a config without labels", config(labels=None), "variant demo, has no 'labels'"),
        Bad("a config without a window", config(inferer__roi_size=None), "has no 'inferer#roi_size'"),
        Bad("labels that are a text", config(labels="low, high"), "a list of names, background first is needed"),
        Bad(
            "a label that stands twice", config(labels=["background", "low", "low"]), "without a name that stands twice"
        ),
        Bad("an intensity of nothing", config(intensity={"unit": "HU", "per_value": 0}), "'intensity' is"),
        Bad(
            "a way to restore that needs a plan",
            config(restore="nnunet"),
            "has no 'plan', which restore 'nnunet' needs",
        ),
        Bad("an activation that is not there", config(activation="sigmoid"), "none or softmax is needed"),
        Bad("a way to restore that is not there", config(restore="magic"), "no restore 'magic'"),
        Bad("a window of two axes", config(inferer__roi_size=[8, 8]), "'inferer#roi_size' is [8, 8]"),
        Bad("a window without size", config(inferer__roi_size=[8, 8, 0]), "'inferer#roi_size' is [8, 8, 0]"),
        Bad("windows that overlap wholly", config(inferer__overlap=1.0), "'inferer#overlap' is 1.0"),
        Bad("no windows at once", config(inferer__sw_batch_size=0), "'inferer#sw_batch_size' is 0"),
        Bad("a blending that is not there", config(inferer__mode="cubic"), "constant or gaussian is needed"),
        Bad(
            "a network class that does not exist",
            config(network_def___target_="monai.networks.nosuch.Network"),
            "cannot make its 'network_def':",
            library=True,
        ),
        Bad(
            "an argument that the network does not take",
            config(network_def__nosuch=1),
            "cannot make its 'network_def':",
            library=True,
        ),
        Bad("a network that is none", config(network_def={"_target_": "builtins.dict"}), "it is no network"),
        Bad(
            "labels that are not those of the dataset",
            config(labels=["background", "liver", "spleen"]),
            "answer with liver, spleen; micro is labelled with low, high",
        ),
        Bad(
            "a network with more outputs than labels",
            network(inputs=1, outputs=4),
            "answers a window with 1 x 4 x 8 x 8 x 8; its config has 3 labels, which needs 1 x 3 x 8 x 8 x 8",
        ),
        Bad(
            "a network with more inputs than images",
            network(inputs=2, outputs=3),
            "cannot take a window of 8 x 8 x 8 voxels and 1 channels:",
            library=True,
        ),
        Bad(
            "a bundle for several images a case",
            metadata(channels(2)),
            "micro takes 2 images a case; the case m1 of micro has 1",
        ),
        Bad(
            "a transform that does not exist",
            config(preprocessing__transforms=[{"_target_": "Nosuchd"}]),
            "cannot make its 'preprocessing':",
            library=True,
        ),
        Bad("a preprocessing that is none", config(preprocessing=[1, 2]), "it is no transform"),
        Bad(
            "a preprocessing that fails",
            preprocessing({"_target_": "SqueezeDimd", "keys": "image", "dim": 0}),
            "the bundle's preprocessing cannot take data/images/m1.nii.gz:",
            library=True,
        ),
        Bad("a preprocessing that loses an axis", preprocessing(), "makes no tensor of four axes"),
        Bad(
            "a preprocessing that divides by zero",
            preprocessing(
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Lambdad", "keys": "image", "func": "$lambda image: image / 0"},
            ),
            "makes NaN or infinity of",
        ),
        Bad("key maps of a wrong kind", config(key_maps={"old": ["a"]}), "key_maps in the bundle's config"),
        Bad("no metadata.json", no_metadata, "metadata.json is missing"),
        Bad("metadata without the channels", metadata({}), "does not say how many channels an image has"),
        Bad(
            "metadata with channels in words", metadata(channels("one")), "does not say how many channels an image has"
        ),
    ],
}
