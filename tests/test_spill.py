"""What is put aside comes back bit for bit, in memory or from the disk; the file leaves nothing behind."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest
import torch

from medquanbench import spill
from medquanbench.spill import Store
from medquanbench.values import RunError

BYTES = 4 * 24


def tensors(count: int) -> list[torch.Tensor]:
    return list(torch.randn(count, 2, 3, 4, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("budget_tensors", [0, 1, 3, 100])
def test_all_comes_back_and_memory_keeps_to_the_budget(budget_tensors):
    kept = tensors(8)
    with Store(budget_tensors * BYTES) as store:
        for key, tensor in enumerate(kept):
            store.put(key, tensor.clone(), due=7 - key)
        for key in (3, 0, 7, 5, 1, 2, 6, 4):
            assert torch.equal(store.take(key), kept[key])
    assert store.most_held_bytes == min(budget_tensors, 8) * BYTES and store.most_bytes == 8 * BYTES
    assert store.spilled_bytes == max(8 - budget_tensors, 0) * BYTES


def test_what_is_due_last_goes_to_the_disk():
    with Store(2 * BYTES) as store:
        for key, due in (("soon", 1), ("last", 9), ("next", 2)):
            store.put(key, torch.zeros(24), due)
        assert set(store._spilled) == {"last"}


def test_the_file_is_as_long_as_what_was_away_at_a_time():
    """Gaps are used again, also when sizes alternate."""
    with Store(0) as store:
        for step in range(20):
            for size in (24, 40):
                store.put(size, torch.full((size,), float(step)), step)
            assert os.fstat(store._file.fileno()).st_size == 4 * (24 + 40)
            assert all(store.take(size).eq(step).all() for size in (24, 40))


def test_nan_and_signed_zero_survive():
    odd = torch.tensor([float("nan"), -0.0, float("-inf"), 1e-45])
    with Store(0) as store:
        store.put(0, odd.clone(), 0)
        assert torch.equal(store.take(0).view(torch.int32), odd.view(torch.int32))


def test_nothing_is_left_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), Store(0) as store:
        store.put(0, torch.zeros(5), 0)
        file = store._file
        raise ZeroDivisionError
    assert file.closed and not list(tmp_path.iterdir())


class Disk:
    """A file with room for so many bytes; like a real one, it takes what still fits before it refuses."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self.file.write(data[: self.room])
        self.room -= count
        return count

    def __getattr__(self, name: str):
        return getattr(self.file, name)


def test_a_full_disk_is_a_sentence(monkeypatch):
    real = tempfile.TemporaryFile
    monkeypatch.setattr(spill.tempfile, "TemporaryFile", lambda **kind: Disk(real(**kind), BYTES + 17))
    with Store(0) as store:
        store.put(0, torch.zeros(24), 0)
        with pytest.raises(
            RunError, match=r"the disk of \S+ is full: .*at least 0.0 GB there, .* free; TMPDIR names"
        ) as e:
            store.put(1, torch.zeros(24), 0)
    assert "\n" not in str(e.value) and store._file is None


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with Store(0) as store, pytest.raises(RunError, match="GB in .*missing, which cannot be written: No such file"):
        store.put(0, torch.zeros(24), 0)


def test_a_file_that_was_cut_short_is_a_sentence():
    with Store(0) as store:
        store.put(0, torch.zeros(24), 0)
        store._file.truncate(40)
        with pytest.raises(RunError, match="cut short"):
            store.take(0)
