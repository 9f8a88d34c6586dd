"""The paper's figures that ship with the package: complete, and its arithmetic slips are those that the notes name."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby, product

from medquanbench import shelf

FOLDER = shelf.shelf("sensitivity") / "table1"
CONFIGURATIONS = [("FP32", "-"), *product(("W8A8", "W4A4"), ("per-channel", "per-tensor", "adaptive"))]
FAMILIES = ("nnU-Net", "STU-Net-B", "SwinUNETR", "UNETR", "MedFormer", "UNesT")
HALF_SCORE, HALF_PERCENT = Decimal("0.0005"), Decimal("0.05")  # half a unit of the last printed digit
Cell = tuple[str, ...]


def rows() -> list[dict[str, str]]:
    with (FOLDER / "paper.csv").open(encoding="ascii", newline="") as file:
        return list(csv.DictReader(file))


def drop_pct(full: Decimal, quantized: Decimal) -> Decimal:
    return 100 * (full - quantized) / full


def rounded(percent: Decimal) -> Decimal:
    return percent.quantize(Decimal("0.1"), ROUND_HALF_UP)


def cells() -> list[tuple[Cell, Decimal, Decimal, Decimal]]:
    """Every printed percentage: its row and score, the FP32 score, the quantized score, the percentage."""
    found, full = [], {}
    for row in rows():
        for score in ("dsc", "nsd"):
            if row["precision"] == "FP32":
                full[score] = Decimal(row[score])
                continue
            where = (row["model"], row["dataset"], row["precision"], row["granularity"], score)
            found.append((where, full[score], Decimal(row[score]), Decimal(row[f"{score}_drop_pct"])))
    return found


def follows(full: Decimal, quantized: Decimal, printed: Decimal) -> bool:
    """Whether scores that round to the printed ones can give a drop that rounds to the printed one."""
    least = drop_pct(full - HALF_SCORE, quantized + HALF_SCORE)
    most = drop_pct(full + HALF_SCORE, quantized - HALF_SCORE)
    return least <= printed + HALF_PERCENT and most >= printed - HALF_PERCENT


def noted() -> list[Cell]:
    """The rows of the table in the notes, without its head."""
    lines = (FOLDER / "paper_notes.md").read_text(encoding="utf-8").splitlines()
    table = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")]
    return table[2:]


def test_every_network_has_the_seven_configurations_of_table_1_in_its_order():
    blocks = [list(block) for _, block in groupby(rows(), key=lambda row: (row["model"], row["dataset"]))]
    assert len(blocks) == 14 and {(model, "BTCV") for model in FAMILIES} <= {
        (block[0]["model"], block[0]["dataset"]) for block in blocks
    }
    for block in blocks:
        assert [(row["precision"], row["granularity"]) for row in block] == CONFIGURATIONS


def test_scores_have_three_decimals_and_only_fp32_has_no_drop():
    for row in rows():
        assert all(
            Decimal(row[score]).as_tuple().exponent == -3 and 0 <= Decimal(row[score]) <= 1 for score in ("dsc", "nsd")
        )
        assert (row["dsc_drop_pct"] == "") == (row["nsd_drop_pct"] == "") == (row["precision"] == "FP32")


def test_the_rule_accepts_hidden_decimals_and_no_more():
    full, quantized = Decimal("0.888"), Decimal("0.169")  # 80.968 %; with hidden decimals 80.90 to 81.04 %
    printed = [Decimal(text) for text in ("80.7", "80.8", "80.9", "81.0", "81.1")]
    assert [follows(full, quantized, percent) for percent in printed] == [False, False, True, True, False]


def test_the_notes_name_the_percentages_that_do_not_follow_with_the_right_ones():
    slips = [
        (*where, str(full), str(quantized), str(printed), str(rounded(drop_pct(full, quantized))))
        for where, full, quantized, printed in cells()
        if not follows(full, quantized, printed)
    ]
    assert len(slips) == 5 and sorted(slips) == sorted(noted())


def test_the_notes_count_the_percentages():
    text = " ".join((FOLDER / "paper_notes.md").read_text(encoding="utf-8").split())
    near = [
        where
        for where, full, quantized, printed in cells()
        if follows(full, quantized, printed) and abs(drop_pct(full, quantized) - printed) > HALF_PERCENT
    ]
    assert len(cells()) == 168 and "Of the 168 percentages, 163 follow" in text
    assert len(near) == 11 and "Eleven more" in text
