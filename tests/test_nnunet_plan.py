"""Plans: what they make, and that no name in a stranger's plan becomes anything that nnU-Net does not have."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from medquanbench.config_objects import build_network
from medquanbench.nnunet_network import network_entry, network_of_trainer
from medquanbench.nnunet_plan import make_plan
from medquanbench.values import RequestError
from tests.trained_nnunet import CONFIGURATION, PLAIN, RESIDUAL, Recipe


def network_of(plans: dict, dataset: dict, trainer: str = "nnUNetTrainer") -> torch.nn.Module:
    plan = make_plan(plans, dataset, CONFIGURATION, "plans.json")
    entry = {"_target_": "medquanbench.nnunet_plan.Plan", "plans": plan.plans, "dataset": plan.dataset,
             "configuration": CONFIGURATION}  # fmt: skip
    return build_network({"plan": entry, "network_def": network_entry(plan, trainer, "plans.json")})


def changed(recipe: Recipe, path: str, value: object) -> dict:
    """The plans of a recipe with one value changed; `a/b` is b in a."""
    plans = copy.deepcopy(recipe.plans)
    *parents, last = path.split("/")
    inner = plans
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return plans


def test_an_old_plan_makes_the_network_of_the_new_one():
    new = Recipe(PLAIN).plans
    networks = [network_of(plans, Recipe().dataset) for plans in (Recipe(None).plans, new)]
    assert str(networks[0]) == str(networks[1])


@pytest.mark.parametrize("architecture", (PLAIN, RESIDUAL), ids=("plain", "residual"))
def test_the_network_is_the_one_that_the_trainer_builds(architecture):
    recipe = Recipe(architecture)
    plan = make_plan(recipe.plans, recipe.dataset, CONFIGURATION, "plans.json")
    assert str(network_of(recipe.plans, recipe.dataset)) == str(network_of_trainer(plan, "nnUNetTrainer"))


def test_a_plan_holds_one_configuration_with_all_that_it_inherits():
    recipe = Recipe(PLAIN)
    plan = make_plan(recipe.plans, recipe.dataset, "3d_lowres", "plans.json")
    assert list(json.loads(plan.plans)["configurations"]) == ["3d_lowres"]
    assert plan.managers.configuration.patch_size == list(recipe.patch)
    assert plan.managers.configuration.spacing == [edge * 2 for edge in recipe.spacing_mm]


def test_a_class_that_has_moved_within_its_package_is_found():
    moved = changed(Recipe(RESIDUAL), f"configurations/{CONFIGURATION}/architecture/network_class_name",
                    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet")  # fmt: skip
    assert str(network_of(moved, Recipe().dataset)) == str(network_of(Recipe(RESIDUAL).plans, Recipe().dataset))


@pytest.mark.parametrize(("scheme", "unit", "per_value"), [
    ("CTNormalization", "HU", 80.0), ("ZScoreNormalization", "sigma", 1.0), ("NoNormalization", "grey value", 1.0),
    ("RGBTo01Normalization", "grey value", 255.0), ("RescaleTo01Normalization", "range of the image", 1.0),
])  # fmt: skip
def test_what_a_difference_of_one_is_worth(scheme, unit, per_value):
    recipe = Recipe(PLAIN, scheme=scheme)
    intensity = make_plan(recipe.plans, recipe.dataset, CONFIGURATION, "plans.json").intensity
    assert (intensity.unit, intensity.per_value) == (unit, per_value)


def test_a_ct_value_moves_by_the_plans_std():
    """The step from 100 to 180 HU is 1 after nnU-Net's own normalisation with a standard deviation of 80."""
    import numpy as np

    recipe = Recipe(PLAIN)
    views = make_plan(recipe.plans, recipe.dataset, CONFIGURATION, "plans.json").managers
    preprocessor = views.configuration.preprocessor_class(verbose=False)
    image = np.full((1, 20, 20, 20), 100.0, np.float32)
    image[:, :10] = 180
    views.configuration.configuration["spacing"] = [1.0, 1.0, 1.0]
    data = preprocessor.run_case_npy(
        image, None, {"spacing": [1.0, 1.0, 1.0]}, views.plans, views.configuration, views.dataset
    )[0]
    assert np.allclose(data[0, 0] - data[0, -1], 1)


ARCHITECTURE = f"configurations/{CONFIGURATION}/architecture"
STRANGE = {
    "a network of another package": (f"{ARCHITECTURE}/network_class_name", "os.system", "names the class os.system"),
    "no path": (f"{ARCHITECTURE}/network_class_name", 7, "names the class 7, which is not of"),
    "a network that is not there": (
        f"{ARCHITECTURE}/network_class_name",
        "dynamic_network_architectures.architectures.unet.NoUNet",
        "there is no network dynamic_network_architectures.architectures.unet.NoUNet",
    ),
    "a function of the package": (
        f"{ARCHITECTURE}/network_class_name",
        "dynamic_network_architectures.building_blocks.helper.convert_dim_to_conv_op",
        "which is no network and no layer",
    ),
    "a layer of another package": (f"{ARCHITECTURE}/arch_kwargs/conv_op", "subprocess.run", "the class subprocess.run"),
    "a function of torch": (f"{ARCHITECTURE}/arch_kwargs/nonlin", "torch.nn.utils.clip_grad_norm_", "no network and"),
    "code for MONAI": (
        f"{ARCHITECTURE}/arch_kwargs/n_stages",
        "$print(1)",
        "hold the text $print(1), which is no name",
    ),
    "a reference": (f"{ARCHITECTURE}/arch_kwargs/nonlin_kwargs", {"inplace": "@plan"}, "hold the text @plan"),
    "an object for MONAI": (
        f"{ARCHITECTURE}/arch_kwargs/nonlin_kwargs",
        {"_target_": "os.getcwd"},
        "hold the key _target_",
    ),
    "a reader of other files": (
        "image_reader_writer",
        "Tiff3DIO",
        "no reader of NIfTI images 'Tiff3DIO' in plans.json",
    ),
    "a preprocessor that is none": (f"configurations/{CONFIGURATION}/preprocessor_name", "join", "no DefaultPreproc"),
    "a label manager that is none": ("label_manager", "join", "'label_manager' names no LabelManager"),
    "a resampling that is none": (f"configurations/{CONFIGURATION}/resampling_fn_seg", "deepcopy", "'resampling_fn'"),
    "a normalisation that is none": (
        f"configurations/{CONFIGURATION}/normalization_schemes",
        ["MyNorm"],
        "no normalisation 'MyNorm' in plans.json",
    ),
    "no transposition": ("transpose_forward", [0, 1], "'transpose_forward' must be an order of three axes"),
    "texts as a transposition": (
        "transpose_forward",
        ["a", 1, 2],
        "'transpose_forward' must be an order of three axes",
    ),
    "a way back to elsewhere": ("transpose_backward", [1, 2, 0], "'transpose_backward' must undo 'transpose_forward'"),
    "no numbers of the intensities": (
        "foreground_intensity_properties_per_channel/0/percentile_99_5",
        None,
        "'percentile_99_5' of the intensities of channel 0 must be a number",
    ),
    "intensities without spread": ("foreground_intensity_properties_per_channel/0/std", 0, "'std' must be above 0"),
    "a spacing without end": (f"configurations/{CONFIGURATION}/spacing", [float("inf"), 1, 1], "three lengths in mm"),
    "no spacing": (f"configurations/{CONFIGURATION}/spacing", [1, -1, 1], "must be three lengths in mm"),
    "no configurations": ("configurations", [], f"no configuration '{CONFIGURATION}' in plans.json"),
    "a part that is missing": (f"{ARCHITECTURE}/arch_kwargs", {}, "nnunetv2 cannot take plans.json (KeyError"),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_plan_is_one_sentence(strange):
    path, value, words = STRANGE[strange]
    with pytest.raises(RequestError) as raised:
        network_of(changed(Recipe(PLAIN), path, value), Recipe().dataset)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("configuration", "words"), [
    ("2d", "is a network for single slices"), ("3d_cascade_fullres", "is the second stage of a cascade"),
    ("3d_midres", "no configuration '3d_midres' in plans.json; there is: 2d, 3d_cascade_fullres, 3d_fullres, 3d_low"),
])  # fmt: skip
def test_configurations_that_cannot_be_run(configuration, words):
    with pytest.raises(RequestError, match=words):
        make_plan(Recipe(PLAIN).plans, Recipe().dataset, configuration, "plans.json")


@pytest.mark.parametrize("trainer", (
    "nnUNetTrainer", "nnUNetTrainerNoMirroring", "nnUNetTrainer_4000epochs_NoMirroring", "nnUNetTrainer_250epochs",
    "nnUNetTrainer_77epochs",  # not one that nnunetv2 has
))  # fmt: skip
def test_trainers_that_only_train_otherwise_need_not_be_installed(trainer, monkeypatch):
    monkeypatch.setattr("medquanbench.nnunet_network._search_trainer", lambda name: pytest.fail("sought"))
    assert isinstance(network_of(Recipe(PLAIN).plans, Recipe().dataset, trainer), torch.nn.Module)


@pytest.mark.parametrize("trainer", ("nnUNetTrainerOfMine", "nnUNetTrainer_5epochs_OfMine", "os", "join"))
def test_a_trainer_that_is_not_installed_is_named(trainer):
    with pytest.raises(
        RequestError,
        match=f"the trainer {trainer} is not installed, and may have built another network than plans.json says",
    ):
        network_of(Recipe(PLAIN).plans, Recipe().dataset, trainer)


def test_an_installed_trainer_that_builds_the_plans_network():
    networks = [
        network_of(Recipe(PLAIN).plans, Recipe().dataset, name) for name in ("nnUNetTrainerDA5", "nnUNetTrainer")
    ]
    assert str(networks[0]) == str(networks[1])


def test_every_form_of_build_network_architecture_is_given_what_it_asks_for(monkeypatch):
    """nnU-Net 2.2, 2.4 to 2.6, and 2.7 on hand over different things."""
    recipe = Recipe(PLAIN)
    plan = make_plan(recipe.plans, recipe.dataset, CONFIGURATION, "plans.json")
    got = []

    class First(nnUNetTrainer):
        @staticmethod
        def build_network_architecture(
            plans_manager, dataset_json, configuration_manager, num_input_channels, enable_deep_supervision=True
        ):
            got.append((dataset_json["labels"], num_input_channels, enable_deep_supervision))

    class Second(nnUNetTrainer):
        @staticmethod
        def build_network_architecture(
            architecture_class_name, arch_init_kwargs, arch_init_kwargs_req_import, num_input_channels,
            num_output_channels, enable_deep_supervision=True,
        ):  # fmt: skip
            got.append((architecture_class_name, num_output_channels, enable_deep_supervision))

    class Strange(nnUNetTrainer):
        @staticmethod
        def build_network_architecture(weather):
            got.append(weather)

    for trainer in (First, Second):
        monkeypatch.setattr("medquanbench.nnunet_network._search_trainer", lambda name, trainer=trainer: trainer)
        network_of_trainer(plan, "T")
    assert got == [(recipe.dataset["labels"], 1, False), (PLAIN["network_class_name"], 3, False)]
    monkeypatch.setattr("medquanbench.nnunet_network._search_trainer", lambda name: Strange)
    with pytest.raises(RequestError, match="builds its network of 'weather'"):
        network_of_trainer(plan, "T")
