"""The eval door: flags, exit codes, sentences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench import study, study_plan
from medquanbench.__main__ import main as doors
from medquanbench.eval import __main__ as door
from medquanbench.eval import arguments
from medquanbench.values import Recipe, RequestError


def run(*arguments: object) -> int:
    try:
        return door.main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        return stop.code


@pytest.fixture
def micro(micro_bundle, micro_data, tmp_path) -> list[str]:
    """The flags of a good request."""
    return [
        "--bundle", str(micro_bundle), "--weights", "demo-micro", "--dataset", str(micro_data / "micro.toml"),
        "--data-root", str(micro_data), "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_precision_flags_keep_their_order_and_repeat():
    found, rest = arguments.recipes(
        ["--w4a8", "adaptive", "--bundle", "x", "--w8a8=per-tensor", "--w4a8", "per-channel"]
    )
    assert found == [("w4a8", "adaptive"), ("w8a8", "per-tensor"), ("w4a8", "per-channel")]
    assert rest == ["--bundle", "x"]


def test_formats_are_flags_of_their_own():
    found, rest = arguments.recipes(["--mxfp4", "--bundle", "mxfp4", "--w4a16", "nf4"])
    assert found == [("mxfp4", ""), ("w4a16", "nf4")] and rest == ["--bundle", "mxfp4"]
    assert [str(Recipe.parse(" ".join(words))) for words in found] == ["w4a4 block mxfp4", "w4a16 block nf4"]


@pytest.mark.parametrize("argv", [["--w4a4"], ["--w4a4", "--bundle"]])
def test_a_precision_flag_needs_a_policy(argv):
    with pytest.raises(RequestError, match="--w4a4 needs a policy"):
        arguments.recipes(argv)


def test_four_outputs_and_the_kind_of_data_in_the_first_line(micro, tmp_path, capsys):
    assert run(*micro, "--w4a4", "adaptive", "--w8a16", "per-tensor", "--keep", "con*", "--cases", 6) == 2  # all kept
    assert run(*micro, "--w4a4", "adaptive", "--w8a16", "per-tensor", "--cases", 6) == 0
    for name in ("results.csv", "cases.csv", "labels.csv", "record.json", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    first = capsys.readouterr().out.splitlines()[0]
    assert "real images" in first and "PHANTOM" not in first


def test_default_is_the_block_of_table_1(micro, tmp_path):
    assert run(*micro) == 0
    recipes = [line.split(",")[7] for line in (tmp_path / "out" / "results.csv").read_text().splitlines()[1:]]
    assert recipes == [
        "fp32", "w8a8 per-channel", "w8a8 per-tensor", "w8a8 adaptive", "w4a4 per-channel", "w4a4 per-tensor",
        "w4a4 adaptive",
    ]  # fmt: skip


def test_keep_and_input_bits_go_into_every_recipe(micro, tmp_path):
    assert run(*micro, "--w4a4", "adaptive", "--input-bits", 8) == 0
    assert "w4a4 adaptive input(8)" in (tmp_path / "out" / "results.csv").read_text()


@pytest.mark.parametrize(
    "text, words",
    [
        (None, ""),
        ("smooth", " smooth"),
        ("smooth,svd(rank=8)", " smooth+svd(rank=8)"),
        ("svd(rank=8,seed=1), hadamard(block=64) ,smooth", " svd(rank=8,seed=1)+hadamard(block=64)+smooth"),
    ],
)
def test_transforms_compose_in_their_order(text, words):
    assert arguments.transforms(text) == words


@pytest.mark.parametrize("text", ["", " ", "smooth,", ",smooth", "smooth,,svd"])
def test_an_empty_transform(text):
    with pytest.raises(RequestError, match=f"^--transform '{text}' has an empty place"):
        arguments.transforms(text)


def test_transforms_calibration_and_draws_go_into_the_study(micro, monkeypatch):
    asked = {}

    def prepare(bundle, dataset, recipes, **how):
        asked.update(how, recipes=list(map(str, recipes)))
        raise RequestError("seen")

    monkeypatch.setattr(study_plan, "prepare", prepare)
    flags = ["--transform", "hadamard,svd(rank=2)", "--calibrated", 3, "--draws", 2, "--keep", "a.*"]
    assert run(*micro, "--w4a4", "adaptive", "--w4a4", "engine", *flags) == 2
    assert asked["recipes"] == [f"w4a4 {name} hadamard+svd(rank=2) keep(a.*)" for name in ("adaptive", "engine")]
    assert asked["calibrated"] == 3 and asked["draws"] == 2
    assert run(*micro, "--transform", "svd") == 2
    assert len(asked["recipes"]) == 6 and all(recipe.endswith(" svd") for recipe in asked["recipes"])
    assert asked["calibrated"] is None and asked["draws"] == 1


def test_calibration_and_draws_reach_the_terminal(micro, tmp_path, capsys):
    assert run(*micro, "--w4a4", "engine", "--calibrated", 2, "--draws", 2, "--cases", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Note: w4a4 engine calib(2), mean (least to most) over 2 draws of calibration cases: DSC 0." in said
    assert len((tmp_path / "out" / "draws.csv").read_text().splitlines()) == 3


def test_a_wrong_request_leaves_no_folder(micro, tmp_path, capsys):
    """One of the many of tests/bad_input, where a finished study is there."""
    assert run(*micro, "--w4a4", "fine") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no policy 'fine'")
    assert not (tmp_path / "out").exists()


def test_a_bundle_must_be_named(capsys):
    assert run("--w4a4", "adaptive") == 2
    assert capsys.readouterr().err == "error: the following arguments are required: --bundle\n"


def test_a_bad_last_image_is_told_before_anything_is_computed(micro, micro_data, tmp_path, capsys):
    file = micro_data / "images" / "m7.nii.gz"
    image = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), file)
    assert run(*micro, "--w4a4", "adaptive") == 2
    assert "m7.nii.gz holds NaN or infinity" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error, code, sentence",
    [
        (MemoryError(), 1, "failed: there is not enough memory; what was finished is kept"),
        (RuntimeError("CUDA out of memory. Tried"), 1, "failed: there is not enough memory; what was finished is kept"),
        (OSError(5, "Input/output error"), 1, "failed: Input/output error; what was finished is kept"),
        (
            PermissionError(13, "Permission denied", "/data/a"),
            2,
            "error: /data/a: Permission denied; what was finished is kept",
        ),
    ],
)
def test_a_failure_of_the_machine_is_a_sentence(micro, monkeypatch, capsys, error, code, sentence):
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(study, "carry_out", fail)
    assert run(*micro, "--w4a4", "adaptive") == code
    assert capsys.readouterr().err.splitlines()[-1] == sentence


def test_a_mistake_of_ours_keeps_its_traceback(micro, monkeypatch):
    def fail(*given: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(study, "carry_out", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        run(*micro, "--w4a4", "adaptive")


def test_doors_of_the_console_script(micro, capsys):
    assert doors(["eval", *micro, "--w4a4", "adaptive"]) == 0
    assert doors(["nosuch"]) == 2
    assert "no door 'nosuch'; there is: eval" in capsys.readouterr().err
    assert doors(["--help"]) == 0


def test_policies_and_transforms_of_the_help_are_those_that_exist():
    from medquanbench.quant import METHODS, POLICIES, RANGES, TRANSFORMS

    assert arguments.POLICIES == tuple(POLICIES) and arguments.TRANSFORMS == tuple(TRANSFORMS)
    assert arguments.METHODS == tuple(METHODS) and arguments.OBSERVERS == tuple(RANGES)


def test_an_observer_goes_into_the_recipes_whose_scales_are_static(micro, tmp_path):
    flags = ["--w4a4", "engine", "--w4a4", "adaptive", "--calibrated", 2, "--observer", "percentile", "--cases", 1]
    assert run(*micro, *flags) == 0
    recipes = [line.split('"')[1::2] for line in (tmp_path / "out" / "results.csv").read_text().splitlines()[2:]]
    assert recipes == [["w4a4 engine calib(2,percentile)"], []]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--w4a4", "engine", "--observer", "mse"], "--observer mse looks at calibration cases: it needs --calibrated"),
        (["--w4a4", "engine", "--calibrated", 1, "--observer", "max"], "no observer 'max' in medquanbench; there is: "),
        (["--w4a4", "adaptive", "--calibrated", 1, "--observer", "mse"], "the scales of 'w4a4 adaptive' are dynamic"),
    ],
)
def test_an_observer_of_nothing_is_refused(micro, capsys, flags, words):
    assert run(*micro, *flags) == 2
    assert words in capsys.readouterr().err


def test_the_search_of_the_help_is_the_one_that_exists():
    from medquanbench import search

    assert (arguments.BEST, arguments.BUDGET_MIN) == (search.BEST, search.BUDGET_MIN)


def test_a_row_by_its_whole_text_is_what_the_text_says(micro, tmp_path):
    flags = ["--w4a4", "per-tensor", "--recipe", "w8a8 per-tensor input(4)", "--cases", 1, "--input-bits", 8]
    assert run(*micro, *flags) == 0
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()[2:]
    assert [line.split(",")[7] for line in lines] == ["w4a4 per-tensor input(8)", "w8a8 per-tensor input(4)"]


def test_best_is_found_and_told(micro, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "cache"))
    flags = ["--w4a4", "best", "--budget", "1e-6", "--float-budget", "2%", "--calibrated", 1, "--cases", 1]
    assert run(*micro, *flags, "--input-bits", 8) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Note: 'w4a4 best calib(1) input(8)' stands for 'w4a4 engine" in told
    assert "Multiply-adds of the layers: W4A8 100.00 %" in told
    assert (tmp_path / "out" / "best.csv").is_file()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--w4a4", "adaptive", "--budget", 5], "--budget is for what is searched: it needs a row like --w4a4 best"),
        (["--float-budget", "2%"], "--float-budget is for what is searched"),
        (["--recipe"], "--recipe needs a text: 'w4a4 engine clip calib(8)'"),
        (["--recipe", "w4a4"], "'w4a4' is no recipe: a policy must follow"),
        (["--w4a4", "best", "--float-budget", "some"], "--float-budget some: a share in percent is needed, e.g. 2%"),
        (["--w4a4", "best", "--float-budget", "200%"], "the float budget is 200%; 0% to 100%"),
        (["--w4a4", "best", "--budget", 0], "the search is given 0 minutes; a number above 0 is needed"),
        (["--w4a4", "best", "--transform", "smooth"], "best finds transforms, rounding and ranges by itself"),
        (["--w4a4", "best", "--calibrated", 0], "0 calibration cases are asked for; at least 1"),
    ],
)
def test_searches_that_are_refused(micro, capsys, flags, words):
    assert run(*micro, *flags) == 2
    assert words in capsys.readouterr().err


def test_help_loads_no_torch():
    code = "import sys, medquanbench.eval.__main__ as e\ntry: e.main(['--help'])\n"
    code += "except SystemExit: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parent.parent)
