"""Whatever is in the tree is in the wheel: no package and no file of a shelf is forgotten."""

from __future__ import annotations

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_listed(setup):
    listed = set(setup["options"]["packages"].split())
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "medquanbench").rglob("*.py")}
    packages = {".".join(folder.parts) for folder in folders}
    assert listed == packages | {f"medquanbench.shelves.{shelf}" for shelf in ("bundles", "datasets", "sensitivity")}
    # As a package, medquanbench.profile would hide Python's own from whoever stands in medquanbench/ (test_floors.py).
    namespaces = {folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()}
    assert {folder.name for folder in namespaces} == {"profile"}


def test_every_file_of_a_shelf_is_packaged(setup):
    for package, patterns in setup["options.package_data"].items():
        shelf = ROOT / package.rpartition(".")[2]
        for file in shelf.rglob("*"):
            name = file.relative_to(shelf)
            if file.is_file() and "eval" not in name.parts:
                matching = [p for p in re.split(r"[,\s]+", patterns) if p.count("/") == len(name.parts) - 1]
                assert any(fnmatch(str(name), pattern) for pattern in matching), f"{file} would be missing in the wheel"


def test_every_data_file_of_a_package_is_packaged(setup):
    package_data = setup["options.package_data"]
    files = [f for f in (ROOT / "medquanbench").rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")]
    assert files
    for file in files:
        package = ".".join(file.parent.relative_to(ROOT).parts)
        patterns = re.split(r"[,\s]+", package_data.get(package, ""))
        assert any(fnmatch(file.name, pattern) for pattern in patterns), f"{file} would be missing in the wheel"


def test_shipped_weights_are_small_and_have_a_card():
    files = list((ROOT / "bundles").glob("*/models/*.safetensors"))
    assert files
    for file in files:
        assert file.stat().st_size <= 8 * 2**20
        assert file.with_suffix(".json").is_file()


def test_version_is_said_once():
    import medquanbench

    assert medquanbench.__version__ in (ROOT / "CITATION.cff").read_text()
    assert f"## {medquanbench.__version__}" in (ROOT / "CHANGELOG.md").read_text()
