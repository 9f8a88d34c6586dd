"""Random damage: a file is read as it was, or refused with a sentence; nothing else comes out of it."""

from __future__ import annotations

import gzip
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medquanbench import weights
from medquanbench.bundle import merged_config
from medquanbench.bundle_config import settings_of
from medquanbench.dataset import open_dataset
from medquanbench.images import read_image, read_labels
from medquanbench.infer import preprocess
from medquanbench.values import RequestError

N_TRIALS = 150
HEADER = 352
TENSORS = {"conv.weight": torch.arange(24.0).reshape(3, 8), "conv.bias": torch.ones(3)}


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """A file that asks for far more memory than it can fill is refused it, and the machine goes on."""
    if not Path("/proc/self/statm").is_file():
        yield  # how much is in use now is not told on this system
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def damaged(data: bytes, chance: random.Random, upto: int) -> bytes:
    """Some bytes changed, or a bit, or a piece cut off or put in."""
    changed = bytearray(data)
    kind, place = chance.randrange(4), chance.randrange(min(upto, len(data)))
    if kind == 0:
        changed[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(min(upto, len(data)))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
    elif kind == 2:
        del changed[place : place + chance.randint(1, 40)]
    else:
        changed[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 40)))
    return bytes(changed)


def refusals(read: Callable[[Path], object], file: Path, data: bytes, upto: int, pack: Callable = bytes) -> list[str]:
    """The sentences about a few hundred damaged copies of a file; any other exception ends the test."""
    chance, told = random.Random(20240917), []
    for _ in range(N_TRIALS):
        file.write_bytes(pack(damaged(data, chance, upto)))
        try:
            read(file)
        except RequestError as error:
            told.append(str(error))
    for sentence in told:
        assert file.name in sentence or file.parent.name in sentence, sentence
        assert "\n" not in sentence and "object at 0x" not in sentence and len(sentence) < 600
    return told


@pytest.fixture
def nifti(tmp_path) -> bytes:
    values = np.random.RandomState(0).randint(0, 3, (7, 6, 5)).astype(np.int16)
    return nibabel.Nifti1Image(values, np.diag([1.5, 2, 3, 1])).to_bytes()


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("name, pack", [("a.nii", bytes), ("a.nii.gz", gzip.compress)])
def test_damaged_headers(read, name, pack, nifti, tmp_path):
    assert len(refusals(read, tmp_path / name, nifti, HEADER, pack)) > N_TRIALS // 3


def test_damaged_gzip(nifti, tmp_path):
    assert len(refusals(read_image, tmp_path / "a.nii.gz", gzip.compress(nifti), 10**6)) > N_TRIALS // 3


def test_what_the_header_check_lets_through_monai_can_read(nifti, micro_bundle, tmp_path):
    """MONAI reads the file anew: it gets through where we do, or says so in a sentence."""
    from medquanbench import open_bundle

    transform = open_bundle(micro_bundle, weights="demo-micro").preprocessing()
    chance, both = random.Random(7), 0
    for _ in range(N_TRIALS):
        file = tmp_path / "a.nii"
        file.write_bytes(damaged(nifti, chance, HEADER))
        try:
            grid = read_image(file).grid
            volume = preprocess(transform, file)
        except RequestError:
            continue
        both += 1
        assert sorted(volume.grid.shape) == sorted(grid.shape)
    assert both > N_TRIALS // 4


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
def test_damaged_weights(name, tmp_path):
    whole = tmp_path / f"whole-{name}"
    if name == "w.safetensors":
        save_file(TENSORS, whole)
    else:
        torch.save({"state_dict": TENSORS}, whole, _use_new_zipfile_serialization=name == "w.pt")
    network = torch.nn.ModuleDict({"conv": torch.nn.Linear(8, 3)})

    def read(file: Path) -> None:
        weights.load_into(network, weights.read(file), str(file))

    assert len(refusals(read, tmp_path / name, whole.read_bytes(), 10**6)) > N_TRIALS // 4


def test_damaged_configs(micro_bundle):
    file = micro_bundle / "configs" / "inference.json"

    def read(file: Path) -> None:
        settings_of(merged_config(micro_bundle, "demo", None), f"the config {file}")

    assert len(refusals(read, file, file.read_bytes(), 10**6)) > N_TRIALS // 4


def test_damaged_cards(micro_data):
    card = micro_data / "micro.toml"

    def read(file: Path) -> None:
        open_dataset(file, root=micro_data)

    assert len(refusals(read, card, card.read_bytes(), 10**6)) > N_TRIALS // 4
