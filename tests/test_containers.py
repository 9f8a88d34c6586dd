"""Where tensors lie in the files of different trainers, and what is refused before room is made for it."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medquanbench import weights
from medquanbench.checkpoint_scan import NUMPY_NAMES, Nothing, scan
from medquanbench.containers import contents, open_checkpoint
from medquanbench.values import Loaded, RequestError

TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2, dtype=torch.float16)}
OTHER = {key: value + 1 for key, value in TENSORS.items()}
LOG = ([np.float64(0.5), 0.25], np.arange(3), np.float32(1), np.int64(4), np.bool_(True))

CONTAINERS = {
    "bare": (TENSORS, "", ()),
    "Model Zoo": ({"model": TENSORS}, "model", ()),
    "nnU-Net 1": (
        {
            "epoch": 4000,
            "state_dict": OrderedDict(TENSORS),
            "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.zeros(6)}}, "param_groups": [{"lr": 0.01}]},
            "lr_scheduler_state_dict": None,
            "plot_stuff": LOG,
            "best_stuff": (np.float64(0.8), None),
            "amp_grad_scaler": {"scale": 65536.0, "_growth_tracker": 7},
        },
        "state_dict",
        (),
    ),
    "nnU-Net 2": (
        {
            "network_weights": TENSORS,
            "optimizer_state": {"state": {}, "param_groups": []},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": list(LOG[0]), "epoch_end_timestamps": [1.5]},
            "_best_ema": np.float64(0.9),
            "init_args": {"configuration": "3d_fullres", "fold": 0},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        "network_weights",
        (),
    ),
    "MedFormer": (
        {"epoch": 9, "model_state_dict": OTHER, "ema_model_state_dict": TENSORS, "optimizer_state_dict": {}},
        "ema_model_state_dict",
        ("model_state_dict",),
    ),
    "MedFormer without averages": ({"model_state_dict": TENSORS, "ema_model_state_dict": None}, "model_state_dict", ()),
    "UNesT": ({"global_step": 1, "state_dict": TENSORS, "optimizer": {"state": {}}}, "state_dict", ()),
    "one in the other": ({"model": {"state_dict": TENSORS}}, "model/state_dict", ()),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("form", ["zip", "old"])
def test_where_each_trainer_puts_its_tensors(name, form, tmp_path):
    content, under, passed_over = CONTAINERS[name]
    torch.save(content, tmp_path / "w.model", _use_new_zipfile_serialization=form == "zip")
    found = open_checkpoint(tmp_path / "w.model")
    assert found.found == Loaded(under=under, passed_over=passed_over)
    assert list(found.tensors) == list(TENSORS)
    assert all(torch.equal(found.tensors[key], value) for key, value in TENSORS.items())
    assert all(found.tensors[key].dtype is value.dtype for key, value in TENSORS.items())


def test_safetensors_lie_bare(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert open_checkpoint(tmp_path / "w.safetensors").found == Loaded()


def test_plain_values_are_read_and_numbers_of_numpy_are_not(tmp_path):
    torch.save(CONTAINERS["nnU-Net 2"][0], tmp_path / "w.pth")
    content = contents(tmp_path / "w.pth")
    assert content["init_args"] == {"configuration": "3d_fullres", "fold": 0}
    assert content["inference_allowed_mirroring_axes"] == (0, 1, 2)
    assert type(content["_best_ema"]) is Nothing


def test_names_of_numpy_are_let_in_by_name_and_no_others(tmp_path):
    assert all(name.startswith("numpy.") for name in NUMPY_NAMES)
    torch.save({"a": torch.ones(1), "log": np.random.default_rng(0)}, tmp_path / "w.pt")
    with pytest.raises(RequestError, match=r"it holds numpy.random\S+, which is no tensor and was not run"):
        weights.read(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "kind, form",
    [
        *((kind, form) for kind in (torch.float64, torch.bfloat16, torch.int64, torch.bool) for form in ("zip", "old")),
        (torch.float8_e4m3fn, "zip"),  # in the old form torch does not read its own
    ],
)
def test_numbers_of_all_kinds_come_back(kind, form, tmp_path):
    value = torch.tensor([0.0, 1.0, 1.0]).to(kind)
    torch.save({"a": value}, tmp_path / "w.pt", _use_new_zipfile_serialization=form == "zip")
    assert torch.equal(weights.read(tmp_path / "w.pt")["a"].float(), value.float())


def test_views_parameters_and_shared_storages_come_back(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    content = {
        "turned": base.T,
        "part": base[1:, ::2],
        "one for all": torch.ones(1).expand(5, 5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base),
    }
    torch.save(content, tmp_path / "w.pt")
    read = weights.read(tmp_path / "w.pt")
    assert all(torch.equal(read[key], value) for key, value in content.items())


def test_a_compressed_archive_is_read_too(tmp_path):
    torch.save({"a": torch.randn(500)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as good,
        zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for record in good.infolist():
            new.writestr(record.filename, good.read(record))
    assert torch.equal(weights.read(tmp_path / "c.pt")["a"], weights.read(tmp_path / "w.pt")["a"])


def test_a_mapping_that_holds_itself_ends(tmp_path):
    content: dict = {"epoch": 1}
    content["model"] = content
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(RequestError, match="holds no tensors by name"):
        weights.read(tmp_path / "w.pt")


class Call:
    """Pickled as a call of something with some arguments."""

    def __init__(self, what: object, *arguments: object) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> tuple:
        return self.what, self.arguments


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize(
    "call, words",
    [
        (Call(bytearray, 10**12), "holds bytearray, which is no tensor"),
        (Call(eval, "1/0"), "holds eval, which is no tensor"),
        (Call(torch.Tensor, 10**6, 10**6), "makes torch.Tensor of nothing"),
        (Call(torch.UntypedStorage, 10**12), "makes torch.storage.UntypedStorage of nothing"),
        (Call(torch.hub.load, "a/b", "c"), "holds torch.hub.load, which is no tensor"),
        (Call(torch.empty, 10**12), "holds getattr, which is no tensor"),
    ],
    ids=["bytes", "code", "a tensor", "a storage", "a download", "a call of torch"],
)
def test_what_would_make_room_or_run_is_refused_before(call, words, form, tmp_path):
    torch.save({"a": torch.ones(1), "b": call}, tmp_path / "w.pt", _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(RequestError, match=words):
        weights.read(tmp_path / "w.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_bare_pickle_is_no_checkpoint_and_is_not_run(protocol, tmp_path):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": Call(Path.mkdir, tmp_path / "made")}, protocol))
    with pytest.raises(RequestError, match="which is no tensor and was not run"):
        weights.read(tmp_path / "w.pt")
    assert not (tmp_path / "made").exists()


def test_a_sound_file_passes_the_scan(tmp_path):
    torch.save(CONTAINERS["nnU-Net 1"][0], tmp_path / "w.model")
    scan(tmp_path / "w.model")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "blob"])
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_the_content_tells_the_form_not_the_name(tmp_path, name, write):
    write(TENSORS, tmp_path / name)
    assert torch.equal(open_checkpoint(tmp_path / name).tensors["conv.weight"], TENSORS["conv.weight"])


@pytest.mark.parametrize("settings", [
    argparse.Namespace(rate=0.1), pathlib.PurePosixPath("/data"), pathlib.Path("data"), defaultdict(dict, a={}),
], ids=lambda settings: type(settings).__name__)  # fmt: skip
def test_settings_beside_the_weights_are_read_as_nothing(tmp_path, settings):
    torch.save({"state_dict": TENSORS, "args": settings}, tmp_path / "w.pt")
    assert torch.equal(open_checkpoint(tmp_path / "w.pt").tensors["conv.weight"], TENSORS["conv.weight"])
