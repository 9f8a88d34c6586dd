"""The parts of a config that are read here (the sentences: tests/bad_input)."""

from __future__ import annotations

import json

import pytest

from medquanbench.bundle_config import (
    ACTIVATIONS,
    Intensity,
    Settings,
    Window,
    channels_of,
    read_json,
    settings_of,
    window_of,
)
from medquanbench.values import RequestError
from tests.conftest import INFERENCE


def test_the_settings_of_a_good_config():
    expected = Window((8, 8, 8), 0.25, "gaussian", 2)
    assert window_of(INFERENCE) == expected
    assert settings_of(INFERENCE, "here") == Settings(
        ("background", "low", "high"), Intensity("HU", 100.0), "labels-nearest", expected
    )


def test_blending_is_constant_where_nothing_is_said():
    inferer = {key: value for key, value in INFERENCE["inferer"].items() if key != "mode"}
    assert window_of({"inferer": inferer}).mode == "constant"


@pytest.mark.parametrize("key", ["labels", "intensity", "restore", "inferer"])
@pytest.mark.parametrize("value", [None, 3, "a", [], {}, [3, 4], {"a": 1}])
def test_a_value_of_another_kind_is_told_by_its_key(key, value):
    if (key, value) == ("restore", "a"):
        return  # a text; whether there is such a road is known to who opens the bundle (tests/bad_input)
    with pytest.raises(RequestError, match=f"here.*'{key}"):
        settings_of(INFERENCE | {key: value}, "here")


def test_an_object_is_read_and_the_channels_of_its_images(tmp_path):
    (tmp_path / "configs").mkdir()
    content = {"network_data_format": {"inputs": {"image": {"num_channels": 4}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "configs" / "metadata.json") == content
    assert channels_of(tmp_path) == 4


def test_json_nested_too_deeply_is_one_sentence(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(RequestError, match="a.json is damaged: it is nested too deeply"):
        read_json(tmp_path / "a.json")


def test_every_activation_is_one_that_the_road_knows():
    from medquanbench.roads.logits_linear import _SHARES

    assert sorted(_SHARES) == sorted(ACTIVATIONS)
