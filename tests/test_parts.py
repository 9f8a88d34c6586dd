"""Finished pieces on disk: whole or not at all, and checked when read."""

from __future__ import annotations

import numpy as np
import pytest

from medquanbench.parts import FloatAnswers, Parts
from medquanbench.values import CaseResult, Presence, Target

RESULT = CaseResult(
    "a", (1.0, 2.0, 3.0), (Target(1, "x", Presence.LOST, 5, 0, (0.0, None), (2.0, None)),), None, 1.5, (None,)
)


def test_what_was_written_is_read(tmp_path):
    parts = Parts(tmp_path / "p")
    assert parts.read(CaseResult, "a") is None
    parts.write(RESULT, "a")
    parts.write_slice(np.arange(6).reshape(2, 3), "a")
    assert parts.read(CaseResult, "a") == RESULT
    assert np.array_equal(parts.read_slice("a"), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"1.5", b"1.6"), lambda b: b"", lambda b: b"[]"]
)
def test_a_damaged_piece_is_no_piece(tmp_path, damage):
    parts = Parts(tmp_path)
    parts.write(RESULT, "a")
    file = tmp_path / "a.json"
    file.write_bytes(damage(file.read_bytes()))
    assert parts.read(CaseResult, "a") is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:140] + bytes([b[140] ^ 1]) + b[141:], lambda b: b[:-32], lambda b: b""]
)
def test_a_damaged_slice_is_no_slice(tmp_path, damage):
    parts = Parts(tmp_path)
    parts.write_slice(np.arange(600).reshape(20, 30), "a")
    file = tmp_path / "a.npy"
    assert np.array_equal(np.load(file), np.arange(600).reshape(20, 30)), "others read it too"
    file.write_bytes(damage(file.read_bytes()))
    assert parts.read_slice("a") is None


@pytest.mark.parametrize("folder", [True, False])
def test_float_answers_are_found_again(tmp_path, folder):
    answers = FloatAnswers(tmp_path / "p" if folder else None)
    assert answers.read("a") is None
    answers.write(b"packed", "a")
    answers.write(b"", "b")
    assert (answers.read("a"), answers.read("b"), answers.read("c")) == (b"packed", b"", None)
    assert FloatAnswers(tmp_path / "p").read("a") == (b"packed" if folder else None)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"x" + b[1:], lambda b: b"", lambda b: b[:-32]])
def test_a_damaged_float_answer_is_none(tmp_path, damage):
    answers = FloatAnswers(tmp_path)
    answers.write(b"packed", "a")
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert answers.read("a") is None


def test_no_folder_keeps_nothing():
    parts = Parts(None)
    parts.write(RESULT, "a")
    assert parts.read(CaseResult, "a") is None and parts.read_slice("a") is None
