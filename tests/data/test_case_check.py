"""Whatever is on disk, looking at a case ends with findings and never with an exception."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from medquanbench.data.case_check import look_at
from medquanbench.data.findings import KINDS
from medquanbench.dataset import open_dataset
from tests.bad_input.images import ANY
from tests.bad_input.test_fuzz import damaged, little_memory  # noqa: F401  (a fixture that all tests here use)

N_TRIALS = 60
NOT_THERE = ("that is missing", "that is a folder", "that is a dead link")  # of which the census tells


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("packed", [True, False], ids=["compressed bytes", "header and voxels"])
def test_random_damage_is_a_finding_or_changes_nothing_that_is_read(part, packed, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    case, chance = dataset.cases("test")[0], random.Random(20241121)
    file = micro_data / part / f"{case.name}.nii.gz"
    good, told = look_at(case, dataset, True), 0
    data = file.read_bytes()
    for _ in range(N_TRIALS):
        if packed:
            file.write_bytes(damaged(data, chance, len(data)))
        else:
            file.write_bytes(gzip.compress(damaged(gzip.decompress(data), chance, 500)))
        facts = look_at(case, dataset, True)
        told += bool(facts.findings)
        for finding in facts.findings:
            assert finding.kind in KINDS and "\n" not in finding.sentence and len(finding.sentence) < 600
        if not facts.findings and packed:
            assert facts.image_sha256 == good.image_sha256 and facts.n_voxels == good.n_voxels
    assert told > N_TRIALS // 4


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("what, damage, words", [row for row in ANY if row[0] not in NOT_THERE])
def test_every_bad_file_is_one_error(what, damage, words, part, micro_data):
    dataset = open_dataset(micro_data / "micro.toml", root=micro_data)
    case = dataset.cases("test")[1]
    file: Path = micro_data / part / f"{case.name}.nii.gz"
    damage(file)
    findings = look_at(case, dataset, True).findings
    assert len(findings) == 1 and findings[0].kind in ("header", "voxels")
    assert findings[0].file == f"{part}/m2.nii.gz" and words in findings[0].sentence
