"""Bad results folders of nnU-Net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.bad_input.bad import WEB_PAGE, Bad, Place
from tests.bad_input.weights import Payload
from tests.trained_nnunet import PLAIN, Recipe, write_model

GOOD = Recipe(PLAIN)
CONFIGURATION = ("configurations", "3d_fullres")
CHECKPOINT = "fold_0/checkpoint_final.pth"


def folder(
    spoil: Callable[[Place, Path], None] = lambda place, model: None,
    *,
    given: str = ".",
    bundle: str = "nnunet",
    trainer: str = "nnUNetTrainer",
    configuration: str = "3d_fullres",
    folds: tuple[str, ...] = ("0",),
    recipe: Recipe = GOOD,
) -> Callable[[Place], list[str]]:
    """A trained model, spoiled; ``given`` is what is named of it, from its folder."""

    def make(place: Place) -> list[str]:
        model = write_model(place.folder / "results", recipe, folds=folds)
        checkpoint = model / CHECKPOINT
        if checkpoint.exists():
            content = torch.load(checkpoint, weights_only=False)  # written a line above
            content["trainer_name"], content["init_args"]["configuration"] = trainer, configuration
            torch.save(content, checkpoint)
        spoil(place, model)
        return ["--bundle", bundle, "--weights", str(model / given)]

    return make


def without(name: str) -> Callable[[Place, Path], None]:
    return lambda place, model: (model / name).unlink()


def plans(value: Any, *path: str) -> Callable[[Place, Path], None]:
    """Change one value in plans.json."""
    return lambda place, model: _change(model / "plans.json", value, path)


def _change(file: Path, value: Any, path: tuple[str, ...]) -> None:
    content = json.loads(file.read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(content))


def labels(table: dict[str, Any], **more: Any) -> Callable[[Place, Path], None]:
    def change(place: Place, model: Path) -> None:
        content = json.loads((model / "dataset.json").read_text())
        (model / "dataset.json").write_text(json.dumps(content | {"labels": table} | more))

    return change


def half(place: Place, model: Path) -> None:
    file = model / CHECKPOINT
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def payload(place: Place, model: Path) -> None:
    content = torch.load(model / CHECKPOINT, weights_only=False)
    content["logging"] = Payload(place.folder / "run-by-the-payload")
    torch.save(content, model / CHECKPOINT)


def bare(place: Place, model: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}}, model / CHECKPOINT)


def no_fold(place: Place, model: Path) -> None:
    (model / CHECKPOINT).unlink()
    (model / "fold_0").rmdir()


def only_best(place: Place, model: Path) -> None:
    (model / CHECKPOINT).rename(model / "fold_0" / "checkpoint_best.pth")


def raw_dataset(place: Place) -> list[str]:
    raw = place.folder / "nnUNet_raw" / "Dataset501_Micro"
    (raw / "imagesTr").mkdir(parents=True)
    return ["--bundle", "nnunet", "--weights", str(raw)]


def variant(place: Place) -> list[str]:
    return [*folder()(place), "--variant", "demo2"]


NETWORK = (*CONFIGURATION, "architecture", "network_class_name")
CONV = (*CONFIGURATION, "architecture", "arch_kwargs", "conv_op")
STAGES = (*CONFIGURATION, "architecture", "arch_kwargs", "n_stages")
FEATURES = (*CONFIGURATION, "architecture", "arch_kwargs", "features_per_stage")

NNUNET = {
    "Results folders of nnU-Net": [
        Bad("no plans.json", folder(without("plans.json")), "no whole results folder of nnU-Net: it has no plans.json"),
        Bad("no dataset.json", folder(without("dataset.json")), "it has no dataset.json"),
        Bad("a fold without the folder around it", folder(without("plans.json"), given="fold_0"), "has no plans.json"),
        Bad("no folds", folder(no_fold), "has no fold: fold_0/checkpoint_final.pth or the like is needed"),
        Bad("a fold that is not there", folder(given="fold_3"), "there is: fold_0/checkpoint_final.pth"),
        Bad("a checkpoint that is not there", folder(given="fold_0/model.pth"), "no fold_0/model.pth in results/"),
        Bad("only a best checkpoint", folder(only_best), "can be named as a file; there is: checkpoint_best.pth"),
        Bad("several folds", folder(folds=("0", "1", "all")), "name one of them: fold_0, fold_1, fold_all"),
        Bad(
            "the folder of all results",
            folder(given="../.."),
            "name one of them: Dataset501_Micro/nnUNetTrainer__nnUNetPlans__3d_fullres",
        ),
        Bad("the folder of a dataset", folder(given=".."), "name one of them: nnUNetTrainer__nnUNetPlans__3d_fullres"),
        Bad("a dataset of raw images", raw_dataset, "nnUNet_raw/Dataset501_Micro holds no trained model of nnU-Net"),
        Bad("a results folder with another bundle", folder(bundle="unetr"), "--bundle nnunet opens it, not unetr"),
        Bad(
            "plans.json that is a web page",
            folder(lambda place, model: (model / "plans.json").write_bytes(WEB_PAGE)),
            "plans.json is damaged: it is no JSON at line 1, column 1",
        ),
        Bad("half a download of the checkpoint", folder(half), "it is cut off, damaged, or not a checkpoint of torch"),
        Bad("code in a checkpoint of nnU-Net, which is not run", folder(payload), "mkdir"),
        Bad("a checkpoint of something else", folder(bare), "is no checkpoint of nnU-Net v2"),
        Bad(
            "a configuration that the plans do not have",
            folder(configuration="3d_midres"),
            "plans.json; there is: 2d, 3d_cascade_fullres, 3d_fullres, 3d_lowres",
        ),
        Bad("a cascade", folder(configuration="3d_cascade_fullres"), "is the second stage of a cascade"),
        Bad("a network for slices", folder(configuration="2d"), "is a network for single slices"),
        Bad(
            "another variant",
            lambda p: [*folder()(p), "--variant", "demo2"],
            "says all itself; leave out --variant demo2",
        ),
        Bad(
            "a trainer that is not installed",
            folder(trainer="nnUNetTrainerUMamba"),
            "the trainer nnUNetTrainerUMamba is not installed",
        ),
        Bad(
            "a network that is not of nnU-Net's package",
            folder(plans("os.system", *NETWORK)),
            "names the class os.system, which is not of dynamic_network_architectures and was not imported",
        ),
        Bad(
            "a network that the package does not have",
            folder(plans("dynamic_network_architectures.architectures.unet.MyUNet", *NETWORK)),
            "there is no network dynamic_network_architectures.architectures.unet.MyUNet",
        ),
        Bad(
            "a layer that is not of torch",
            folder(plans("subprocess.Popen", *CONV)),
            "names the class subprocess.Popen, which is not of torch.nn or dynamic_network_architectures",
        ),
        Bad("code in the plans, which is not run", folder(plans("$open('x')", *STAGES)), "hold the text $open('x')"),
        Bad(
            "another network in the plans than in the checkpoint",
            folder(plans([4, 8, 16], *FEATURES)),
            "of another shape, first",
        ),
        Bad("a reader of other files", folder(plans("Tiff3DIO", "image_reader_writer")), "images 'Tiff3DIO'"),
        Bad(
            "labels that are regions",
            folder(labels({"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])),
            "dataset.json: the labels are regions that overlap",
        ),
        Bad("labels with a gap", folder(labels({"background": 0, "low": 1, "high": 4})), "numbered 0, 1, 2 and so on"),
        Bad("a label of half a number", folder(labels({"background": 0, "low": 1, "high": 2.5})), "numbered 0, 1, 2"),
        Bad("a label without a number", folder(labels({"background": 0, "low": [], "high": 2})), "numbered 0, 1, 2"),
        Bad(
            "labels without a background",
            folder(labels({"low": 1, "high": 2})),
            "nnunetv2 cannot take the labels of results/",
            library=True,
        ),
        Bad(
            "a network for two images",
            folder(recipe=Recipe(PLAIN, channels=("T1", "T2"))),
            "nnunet takes 2 images a case",
        ),
    ],
}
