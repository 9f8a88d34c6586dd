"""Bad flags, bad folders."""

from __future__ import annotations

import json

import torch

from tests.bad_input.bad import Bad, Place, flags


def empty_folder(place: Place) -> list[str]:
    (place.folder / "empty").mkdir()
    return []


def of_another_study(place: Place) -> list[str]:
    return ["--w8a8", "per-tensor"]


def without_study(place: Place) -> None:
    (place.out / "study.json").unlink()


def damaged_study(place: Place) -> None:
    (place.out / "study.json").write_text("{")


def out_below_a_file(place: Place) -> list[str]:
    (place.folder / "file").write_text("")
    return ["--out", str(place.folder / "file" / "out")]


def out_is_a_dead_link(place: Place) -> list[str]:
    (place.folder / "link").symlink_to("nowhere")
    return ["--out", str(place.folder / "link")]


def bundle_is_a_file(place: Place) -> list[str]:
    return ["--bundle", str(place.config)]


def bundle_without_variants(place: Place) -> None:
    for file in (place.bundle / "configs" / "variants").iterdir():
        file.unlink()


def weights_of_another_dataset(place: Place) -> list[str]:
    text = place.card.read_text()
    place.card.write_text(text.replace('name = "high"', 'name = "tall"').replace('name = "low"', 'name = "flat"'))
    return []


def many_cases_missing(place: Place) -> None:
    for case in ("m1", "m2", "m3", "m4"):
        place.image(case).unlink()


def data_root_is_empty(place: Place) -> list[str]:
    empty_folder(place)
    return ["--data-root", str(place.folder / "empty")]


def bundle_is_empty(place: Place) -> list[str]:
    empty_folder(place)
    return ["--bundle", str(place.folder / "empty")]


def case_twice(place: Place) -> None:
    place.card.write_text(place.card.read_text().replace('["m1", "m2"', '["m1", "m1"'))


def calibration_of_an_evaluated_patient(place: Place) -> list[str]:
    place.card.write_text(place.card.read_text() + '[patient]\nc1 = "anna"\nm3 = "anna"\n')
    return ["--w4a4", "engine", "--calibrated", "1"]


def card_without_calibration(place: Place) -> list[str]:
    text = place.card.read_text()
    place.card.write_text(text.replace('train = ["t1"]\n', "").replace('calibration = ["c1"]\n', ""))
    return ["--w4a4", "engine", "--calibrated", "1"]


def calibration_case_cut_off(place: Place) -> list[str]:
    place.image("c1").write_bytes(place.image("c1").read_bytes()[:-30])
    return ["--w4a4", "engine", "--calibrated", "1"]


def calibration_case_missing(place: Place) -> list[str]:
    place.label("c1").unlink()
    return ["--w4a4", "engine", "--calibrated", "1"]


def long_name(place: Place) -> list[str]:
    return ["--out", str(place.folder / ("x" * 300))]


def study_of_other_images(place: Place) -> None:
    study = json.loads((place.out / "study.json").read_text())
    place.image("m1").write_bytes(place.image("m1").read_bytes() + b"\0")
    assert study["images_sha256"]["m1"]


REQUESTS = {
    "Flags": [
        Bad(
            "no such bundle",
            flags("--bundle", "nosuch"),
            "no bundle 'nosuch' in bundles or as a path; there is: (the bundles)",
        ),
        Bad("no such variant", flags("--variant", "huge"), "no variant 'huge' in the bundle micro; there is: demo"),
        Bad("no such weights", flags("--weights", "nosuch"), "no weights 'nosuch' in micro/models or as a file"),
        Bad("no such dataset", flags("--dataset", "nosuch"), "no dataset 'nosuch' in datasets"),
        Bad("no such split", flags("--split", "val"), "no split 'val'"),
        Bad("no such policy", flags("--w8a8", "fine"), "no policy 'fine'"),
        Bad("no such device", flags("--device", "tpu"), "no device 'tpu'; there is: cpu, cuda"),
        Bad(
            "a GPU where there is none",
            flags("--device", "cuda"),
            "--device cuda: torch sees no CUDA device here",
            possible=lambda: not torch.cuda.is_available(),
        ),
        Bad("no such flag", flags("--smooth", "0.5"), "no flag '--smooth' in eval; there is: --budget, --bundle"),
        Bad("a flag without its value", flags("--seed"), "--seed: a value is needed"),
        Bad("a precision without a policy", flags("--w8a8"), "--w8a8 needs a policy: per-channel, per-tensor"),
        Bad("a precision that is not there", flags("--w1a4", "adaptive"), "'w1' asks for 1 bits"),
        Bad("the same precision twice", flags("--w4a4", "adaptive"), "'w4a4 adaptive' is asked for twice"),
        Bad("bits of the image that are not there", flags("--input-bits", "40"), "40 bits"),
        Bad("bits that are no number", flags("--input-bits", "many"), "--input-bits: 'many' is no whole number"),
        Bad(
            "a negative number of cases",
            flags("--cases", "-3"),
            "-3 cases are asked for; the split 'test' of micro has 7",
        ),
        Bad("no cases", flags("--cases", "0"), "0 cases are asked for"),
        Bad("more cases than there are", flags("--cases", "8"), "8 cases are asked for"),
        Bad("cases that are no number", flags("--cases", "three"), "--cases: 'three' is no whole number"),
        Bad("a negative margin", flags("--margin", "-1"), "the margin is -1"),
        Bad("a margin that is NaN", flags("--margin", "nan"), "the margin is nan"),
        Bad("a margin of a whole score", flags("--nsd-margin", "1"), "the margin is 1.0; a difference in NSD above 0"),
        Bad("a margin that is no number", flags("--margin", "small"), "--margin: 'small' is no number"),
        Bad("a negative seed", flags("--seed", "-1"), "the seed is -1"),
        Bad("a layer to keep that is not there", flags("--keep", "decoder.*", "--w8a8", "adaptive"), "decoder.*"),
        Bad("all layers kept", flags("--keep", "*"), "changes no layer"),
        Bad("a layer to keep with a space in it", flags("--keep", "a b"), "brackets hold no spaces"),
    ],
    "Transforms and calibration": [
        Bad(
            "a transform that is not there",
            flags("--transform", "svd,sharpen"),
            "no transform 'sharpen' in medquanbench.quant; there is: ",
        ),
        Bad("an empty transform", flags("--transform", ""), "--transform '' has an empty place"),
        Bad("a transform between two commas", flags("--transform", "smooth,,svd"), "'smooth,,svd' has an empty place"),
        Bad("a transform with half a bracket", flags("--transform", "svd(rank=4"), "'svd(rank=4' has half a bracket"),
        Bad(
            "a transform that changes no layer",
            flags("--transform", "svd(rank=1)"),
            "'svd(rank=1)' changes none of 1 layers",
        ),
        Bad("no calibration cases", flags("--calibrated", "0"), "0 calibration cases are asked for; at least 1"),
        Bad("a negative number of calibration cases", flags("--calibrated", "-1"), "-1 calibration cases are asked"),
        Bad("calibration cases that are no number", flags("--calibrated", "few"), "--calibrated: 'few' is no whole"),
        Bad(
            "more calibration cases than there are",
            flags("--w4a4", "engine", "--calibrated", "3"),
            "3 calibration cases are needed (8 where the request gives no number); the card of micro has 1 in "
            "'calibration', 1 in 'train'",
        ),
        Bad(
            "fewer cases than are taken where no number is given",
            flags("--w4a4", "engine"),
            "8 calibration cases are needed",
        ),
        Bad(
            "calibration cases that nothing uses",
            flags("--calibrated", "1"),
            "nothing uses them: the scales of 'w4a4 adaptive' are dynamic",
        ),
        Bad(
            "a calibration case that is evaluated",
            flags("--w4a4", "engine", "--calibrated", "2", "--split", "train", "--cases", "1"),
            "the calibration case 't1' is in the split 'train', too, which is evaluated",
        ),
        Bad(
            "a calibration case of an evaluated patient",
            calibration_of_an_evaluated_patient,
            "the calibration case 'c1' and 'm3' of the split 'test', which is evaluated, are of one patient",
        ),
        Bad(
            "a card without cases to calibrate on",
            card_without_calibration,
            "lists no cases to calibrate on: a split 'calibration' or 'train' is needed; there is: test",
        ),
        Bad("a calibration image that is cut off", calibration_case_cut_off, "c1.nii.gz is damaged or cut off"),
        Bad(
            "a calibration label that is missing",
            calibration_case_missing,
            "1 of the 2 files of the calibration cases cannot be opened, first data/labels/c1.nii.gz",
        ),
        Bad("draws without a number of cases", flags("--draws", "3"), "--draws repeats rows on other calibration"),
        Bad("a single draw", flags("--calibrated", "1", "--draws", "1"), "--draws 1: at least 2 draws are needed"),
    ],
    "Folders": [
        Bad(
            "a data root that is not there",
            flags("--data-root", "FOLDER/nosuch"),
            "data root 'nosuch' of micro is no folder",
        ),
        Bad("a data root that is a file", flags("--data-root", "FOLDER/data/micro.toml"), "is no folder"),
        Bad(
            "a data root that is empty",
            data_root_is_empty,
            "no case is found in empty; sought: the card's layout (images/",
        ),
        Bad(
            "images that are missing",
            many_cases_missing,
            "4 of the 8 files of split 'test' cannot be opened, first data/images/m1",
        ),
        Bad("a data root for a phantom", flags("--dataset", "btcv-phantom"), "takes no data root"),
        Bad(
            "a bundle that is an empty folder", bundle_is_empty, "empty is no bundle: it has no configs/inference.json"
        ),
        Bad("a bundle that is a file", bundle_is_a_file, "inference.json is no bundle"),
        Bad(
            "a bundle without variants",
            bundle_without_variants,
            "micro has no variants: at least configs/variants/demo.json is needed",
        ),
        Bad("a dataset that is a folder", flags("--dataset", "FOLDER/data"), "the dataset card data is a folder"),
        Bad("a dataset that is an image", flags("--dataset", "FOLDER/data/images/m1.nii.gz"), "is no dataset card"),
        Bad(
            "labels of another dataset",
            weights_of_another_dataset,
            "answer with low, high; micro is labelled with flat, tall",
        ),
        Bad(
            "an output folder that is a file", flags("--out", "FOLDER/data/micro.toml"), "micro.toml cannot be written"
        ),
        Bad("an output folder below a file", out_below_a_file, "file/out cannot be written: Not a directory"),
        Bad(
            "an output folder that is a dead link",
            out_is_a_dead_link,
            "link cannot be written: it is a link to nowhere",
        ),
        Bad("an output folder with too long a name", long_name, "File name too long"),
        Bad("an output folder of another study", of_another_study, "out belongs to another study (recipes"),
        Bad("an output folder of other images", study_of_other_images, "files of the cases: 'm1' changed"),
        Bad("an output folder without its study.json", without_study, "no study.json"),
        Bad("an output folder with a damaged study.json", damaged_study, "study.json is damaged"),
    ],
}
