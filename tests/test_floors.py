"""Imports only go down the floors of the house; shelves hold no code; files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "medquanbench"
ROOT = PACKAGE.parent

FLOORS = {
    "shelf": 0, "values": 0,
    "networks": 1, "phantoms": 1, "metrics": 1, "stats": 1, "quant": 1,
    "bundle": 2, "bundle_config": 2, "dataset": 2, "dataset_card": 2, "dataset_checks": 2, "dataset_splits": 2,
    "dataset_values": 2, "layouts": 2, "layout_search": 2, "listed_layouts": 2, "reference": 2,
    "key_maps": 2, "weights": 2, "files": 2, "containers": 2, "checkpoint_scan": 2, "closest": 2,
    "bundle_folder": 2, "config_objects": 2, "zoo_bundle": 2, "zoo_config": 2, "zoo_preprocessing": 2,
    "nifti_header": 2, "images": 2, "infer": 2, "restore": 2, "parts": 2, "scene": 2, "device": 2, "stop": 2,
    "sliding": 2, "spill": 2, "roads": 2, "calibration": 2,
    "nnunet_plan": 2, "nnunet_network": 2, "nnunet_orientation": 2, "nnunet_case": 2, "nnunet_folder": 2,
    "composition": 2, "composition_bundle": 2, "composition_count": 2,
    "progress": 2, "tasks": 2, "report": 2, "structures": 2, "matching": 2, "scores": 2,
    "run": 3,
    "doorway": 4, "study": 4, "study_folder": 4, "study_plan": 4, "study_record": 4, "study_statistics": 4,
    "study_calibration": 4, "search": 4, "analysis": 4,
    "eval": 5, "profile": 5, "data": 5, "sensitivity": 5, "__main__": 5,
}  # fmt: skip


def part_of(file: Path) -> str:
    relative = file.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_parts(file: Path) -> set[str]:
    """Parts of the house that a file imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add(part_of(file))
        elif isinstance(node, ast.ImportFrom) and node.module == "medquanbench":
            names = [f"medquanbench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("medquanbench.")}
    return found - {"__version__"}


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def test_every_part_has_a_floor():
    assert {part_of(file) for file in FILES} == set(FLOORS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file: Path):
    own = part_of(file)
    for other in imported_parts(file) - {own}:
        if FLOORS[own] == 1:
            assert FLOORS[other] == 0, f"{own} is on floor 1, where none knows another; it imports {other}"
        else:
            assert FLOORS[other] <= FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"


def test_doors_are_not_imported_by_anything():
    doors = {part for part, floor in FLOORS.items() if floor == 5}
    for file in FILES:
        assert not (imported_parts(file) - {part_of(file)}) & doors, file


def test_only_layers_knows_torch_layer_classes():
    layers = {"Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Linear"}
    for file in (PACKAGE / "quant").rglob("*.py"):
        if file.name == "layers.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nn":
                assert node.attr not in layers, f"{file.name} names nn.{node.attr}"


def test_shelves_hold_no_code():
    for shelf in ("bundles", "datasets", "sensitivity"):
        assert not list((ROOT / shelf).rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_stay_small(file: Path):
    assert len(file.read_text().splitlines()) <= 320


def test_no_part_hides_a_module_of_the_standard_library():
    """Inside medquanbench/ the working directory comes first on the path: `import profile` must not find ours.

    A folder without an __init__.py is not found before a module further on.
    """
    stems = {file.stem for file in PACKAGE.glob("*.py")} | {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert not (stems - {"__init__", "__main__"}) & set(sys.stdlib_module_names)
    subprocess.run([sys.executable, "-c", "import profile; profile.Profile"], cwd=PACKAGE, check=True)
