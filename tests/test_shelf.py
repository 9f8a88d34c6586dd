"""Shelves are found from anywhere, by name or by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.values import RequestError


def test_names_on_the_shelf():
    assert {"nnunet", "swinunetr"} <= set(shelf.names(shelf.BUNDLES))
    assert {"btcv-phantom", "msd-hippocampus"} <= set(shelf.names(shelf.DATASETS, ".toml"))


def test_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shelf.find(shelf.BUNDLES, "bundle", "nnunet").is_dir()


def test_a_folder_of_the_same_name_does_not_hide_the_shelf(tmp_path, monkeypatch):
    (tmp_path / "nnunet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert shelf.find(shelf.BUNDLES, "bundle", "nnunet") == shelf.shelf(shelf.BUNDLES) / "nnunet"
    assert shelf.find(shelf.BUNDLES, "bundle", "./nnunet") == tmp_path / "nnunet"


def test_a_path_is_a_path(tmp_path):
    (tmp_path / "mine").mkdir()
    assert shelf.find(shelf.BUNDLES, "bundle", tmp_path / "mine") == tmp_path / "mine"


def test_unknown_name_lists_what_there_is():
    with pytest.raises(RequestError, match="no bundle 'nosuch' in .*nnunet, .*swinunetr"):
        shelf.find(shelf.BUNDLES, "bundle", "nosuch")


def test_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "there"))
    assert shelf.cache() == tmp_path / "there" and shelf.cache().is_dir()
    monkeypatch.delenv("MEDQUANBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert shelf.cache() == Path(tmp_path / "xdg" / "medquanbench")


def test_a_cache_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RequestError, match="cache folder .*file cannot be made: File exists; MEDQUANBENCH_CACHE names"):
        shelf.cache()
