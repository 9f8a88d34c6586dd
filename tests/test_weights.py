"""Checkpoints: what is packed comes back, what does not fit is told, and no file runs code."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medquanbench import shelf, weights
from medquanbench.bundle import build_network, merged_config
from medquanbench.values import Loaded, RequestError


def small_network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.Conv3d(2, 3, 1, bias=False))


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def nnunet_config() -> dict:
    """nnU-Net's full-size layout with two channels a stage: the same keys, little memory."""
    config = merged_config(shelf.shelf(shelf.BUNDLES) / "nnunet", "totalsegmentator-organs", None)
    config["network_def"]["features_per_stage"] = [2] * 6
    return config


def test_shared_modules_are_packed_once_and_come_back_under_every_name(nnunet_config, tmp_path):
    torch.manual_seed(0)
    network, other = build_network(nnunet_config), build_network(nnunet_config)
    assert len(network.state_dict()) == 292
    weights.pack(network, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert len(stored) == 108 and {tensor.dtype for tensor in stored.values()} == {torch.float16}
    weights.load_into(other, weights.read(tmp_path / "w.safetensors"), "w")
    assert equal(other, network.half().float())


@pytest.mark.parametrize("nest", ["state_dict", "network_weights", "model", None])
@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "network.", "module.backbone.", "a.b.c."],
)
def test_wrappers_of_training_programs_are_taken_off(nest, prefix, tmp_path):
    network, other = small_network(0), small_network(1)
    content = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save({nest: content, "epoch": 3} if nest else content, tmp_path / "w.pt")
    weights.load_into(other, weights.read(tmp_path / "w.pt"), "w")
    assert equal(network, other)


def test_the_prefix_that_was_taken_off_is_known_and_one_that_belongs_stays():
    network = torch.nn.ModuleDict({"module": small_network()})
    own = dict(network.state_dict())
    assert weights.fit(network, own).loaded == Loaded()
    fitted = weights.fit(network, {f"module.{key}": value for key, value in own.items()})
    assert fitted.loaded.prefix == "module." and not fitted.problem and set(fitted.tensors) == set(own)


def test_a_prefix_saves_nothing_that_does_not_fit():
    tensors = {f"net.{key}": value for key, value in small_network().state_dict().items()}
    problem = weights.fit(small_network(), tensors | {"net.more": torch.zeros(1)}).problem
    assert problem == "1 not known to the network, first more (without 'net.')"
    problem = weights.fit(small_network(), tensors | {"more": torch.zeros(1)}).problem
    assert "not known to the network, first net.0.weight" in problem, "only some have it"


def test_a_prefix_that_only_some_keys_have_is_part_of_the_name(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert sorted(weights.read(tmp_path / "w.pt")) == ["b", "module.a"]


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numpy_numbers_beside_the_weights_are_let_in(module, tmp_path):
    # As nnU-Net's log and SwinUNETR's best score are stored, under the module's name in numpy 2 and in numpy 1.
    file, content = tmp_path / "w.pth", {"best_acc": np.float64(0.8), "network_weights": {"a": torch.ones(2)}}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    written = np.float64(0).__reduce__()[0].__module__.encode()
    file.write_bytes(file.read_bytes().replace(b"c" + written + b"\n", b"c" + module + b"\n"))
    assert module in file.read_bytes()
    assert weights.read(file)["a"].tolist() == [1, 1]


def test_misfits_are_counted_and_named():
    tensors = dict(small_network().state_dict())
    tensors["0.weight"] = torch.zeros(2, 1, 3, 3, 3)
    del tensors["1.weight"]
    for number in range(4):
        tensors[f"extra.{number}"] = torch.zeros(1)
    with pytest.raises(RequestError) as error:
        weights.load_into(small_network(), tensors, "file.pt")
    text = str(error.value)
    assert text.startswith("file.pt does not fit")
    assert "1 missing, first 1.weight" in text
    assert "4 not known to the network, first extra.0, extra.1, extra.2;" in text and "extra.3" not in text
    assert "1 of another shape, first 0.weight (2, 1, 3, 3, 3) for (2, 1, 1, 1, 1)" in text


def test_a_shared_tensor_is_missing_only_if_all_its_names_are(nnunet_config):
    network = build_network(nnunet_config)
    tensors = dict(network.state_dict())
    names = [key for key in tensors if key.endswith("stages.0.0.convs.0.conv.weight") and "encoder" in key]
    names += [key for key in tensors if key.endswith("encoder.stages.0.0.convs.0.all_modules.0.weight")]
    assert len(names) == 4
    for name in names[:3]:
        del tensors[name]
    assert weights.fit(network, tensors).problem == ""
    del tensors[names[3]]
    assert weights.fit(network, tensors).problem == f"1 missing, first {names[0]}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_by_name(value):
    tensors = {key: tensor.clone() for key, tensor in small_network().state_dict().items()}
    tensors["1.weight"].view(-1)[2] = value
    with pytest.raises(RequestError, match="'1.weight' holds NaN or infinity"):
        weights.load_into(small_network(), tensors, "w")


def test_every_truncation_of_a_file_is_an_error_of_the_request(tmp_path):
    whole = {"w.safetensors": tmp_path / "a.safetensors", "w.pt": tmp_path / "a.pt", "old.pt": tmp_path / "b.pt"}
    content = {"a": torch.ones(30), "b": torch.ones(3, 4)}
    save_file(content, whole["w.safetensors"])
    torch.save(content, whole["w.pt"])
    torch.save(content, whole["old.pt"], _use_new_zipfile_serialization=False)
    for name, file in whole.items():
        data = file.read_bytes()
        for length in {0, 1, 7, 8, 20, len(data) // 3, len(data) // 2, len(data) - 1}:
            (tmp_path / name).write_bytes(data[:length])
            with pytest.raises(RequestError, match="cannot be read as weights"):
                weights.read(tmp_path / name)


class Payload:
    """Unpickled without care, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": Payload(tmp_path / "made")}, tmp_path / "w.pt")
    with pytest.raises(RequestError) as error:
        weights.read(tmp_path / "w.pt")
    assert not (tmp_path / "made").exists()
    assert "mkdir, which is no tensor and was not run" in str(error.value)
    assert "weights_only" not in str(error.value)  # torch's advice to run the code is not passed on
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # the payload would have worked


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(1)], {"state_dict": {}}])
def test_a_file_without_named_tensors_is_no_checkpoint(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(RequestError, match="holds no tensors by name"):
        weights.read(tmp_path / "w.pt")


def test_a_checkpoint_from_a_gpu_is_read_without_one(tmp_path):
    """As torch writes it there: the device of every storage stands in the pickle."""
    torch.save({"a": torch.ones(3)}, tmp_path / "cpu.pt")
    with zipfile.ZipFile(tmp_path / "cpu.pt") as cpu, zipfile.ZipFile(tmp_path / "cuda.pt", "w") as cuda:
        for record in cpu.infolist():
            data = cpu.read(record)
            moved = data.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
            assert (moved != data) == record.filename.endswith("data.pkl")
            cuda.writestr(record, moved)
    read = weights.read(tmp_path / "cuda.pt")
    assert read["a"].device.type == "cpu" and read["a"].tolist() == [1, 1, 1]


def test_a_flipped_bit_among_the_numbers_is_found(tmp_path):
    """torch itself does not look at the checksums that it writes."""
    torch.save({"a": torch.arange(99.0)}, tmp_path / "w.pt")
    data = bytearray((tmp_path / "w.pt").read_bytes())
    data[data.find(torch.arange(99.0).numpy().tobytes()) + 50] ^= 4
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(RequestError, match="it is cut off, damaged, or not a checkpoint of torch"):
        weights.read(tmp_path / "w.pt")


def test_a_checkpoint_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert weights.read(tmp_path / "w.pt")["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(kind):
    tensors = dict(small_network().state_dict())
    tensors["1.weight"] = torch.ones(3, 2, 1, 1, 1).to(kind)
    words = f"'1.weight' holds {str(kind).removeprefix('torch.')} numbers where the network has float32"
    with pytest.raises(RequestError, match=words):
        weights.load_into(small_network(), tensors, "w")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_floats_of_every_width_are_loaded(kind):
    network, tensors = small_network(), dict(small_network().state_dict())
    tensors["1.weight"] = torch.full((3, 2, 1, 1, 1), 0.5).to(kind)
    weights.load_into(network, tensors, "w")
    assert network[1].weight.eq(0.5).all() and network[1].weight.dtype is torch.float32


def test_packed_tensors_are_refused():
    packed = torch.quantize_per_tensor(torch.ones(3, 2, 1, 1, 1), 0.1, 0, torch.qint8)
    for tensor in (torch.ones(3, 2, 1, 1, 1).to_sparse(), packed, torch.empty(3, 2, 1, 1, 1, device="meta")):
        with pytest.raises(RequestError, match="'1.weight' is packed"):
            weights.load_into(small_network(), dict(small_network().state_dict()) | {"1.weight": tensor}, "w")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RequestError, match="no weights file .*w.pt"):
        weights.read(tmp_path / "w.pt")


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_two_names_of_one_tensor_must_agree(off):
    conv = torch.nn.Conv3d(1, 2, 1, bias=False)
    network, value = torch.nn.ModuleDict({"a": conv, "b": conv}), torch.ones(2, 1, 1, 1, 1)
    tensors = {"a.weight": value, "b.weight": value + off}
    if off:
        with pytest.raises(
            RequestError, match="'a.weight' and 'b.weight' are one tensor of the network, and hold diff"
        ):
            weights.load_into(network, tensors, "w.pt")
    else:
        weights.load_into(network, tensors, "w.pt")
