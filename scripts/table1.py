"""The paper's Table 1 beside ours: the rows, four questions with answers from the numbers, and the page.

Ours are docs/results/<bundle>-<dataset>/results.csv, the paper's sensitivity/table1/paper.csv. The runs are made, and
the page is written, by reproduce_table1.py.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAPER = ROOT / "docs" / "results", ROOT / "sensitivity" / "table1" / "paper.csv"
NEAR_LOSSLESS_PCT, COLLAPSE_PCT = 1.0, 50.0
GRANULARITIES = ("per-channel", "per-tensor", "adaptive")
CONFIGURATIONS = (("FP32", "-"), *((bits, policy) for bits in ("W8A8", "W4A4") for policy in GRANULARITIES))


@dataclass(frozen=True)
class Family:
    """A bundle, the network of the paper that it stands for, and its kind there."""

    bundle: str
    model: str
    backbone: str


FAMILIES = (
    Family("nnunet", "nnU-Net", "CNN"),
    Family("stunet", "STU-Net-B", "CNN"),
    Family("swinunetr", "SwinUNETR", "Hybrid"),
    Family("unetr", "UNETR", "Hybrid"),
    Family("medformer", "MedFormer", "Hybrid"),
    Family("unest", "UNesT", "Hybrid"),
)
PHANTOM, HIPPOCAMPUS = "btcv-phantom", "msd-hippocampus"


@dataclass(frozen=True)
class Score:
    """One cell: DSC and NSD with their losses against FP32 in per cent, None for FP32 itself, as they are told."""

    dsc: float
    nsd: float
    dsc_drop_pct: float | None
    nsd_drop_pct: float | None

    @property
    def text(self) -> tuple[str, str]:
        """DSC and NSD with their drops, ``0.872 (0.2)``."""
        return _told(self.dsc, self.dsc_drop_pct), _told(self.nsd, self.nsd_drop_pct)


Block = dict[tuple[str, str], Score]
"""(precision, granularity) -> score of one network on one dataset."""


@dataclass(frozen=True)
class Source:
    """One column of the comparison: what it is called, and the blocks of its families."""

    name: str
    blocks: dict[Family, Block]

    def losses_pct(self, precision: str, granularity: str, backbone: str = "") -> dict[Family, float]:
        """The loss of DSC of each family, computed from the scores: five of the paper's percentages are wrong."""
        chosen = {f: block for f, block in self.blocks.items() if backbone in ("", f.backbone)}
        return {family: loss_pct(block, precision, granularity) for family, block in chosen.items()}


def loss_pct(block: Block, precision: str, granularity: str) -> float:
    """100 (FP32 - quantized) / FP32, of DSC."""
    full = block["FP32", "-"].dsc
    return 100 * (full - block[precision, granularity].dsc) / full


def ours(dataset: str) -> Source:
    """What docs/results holds of a dataset; families that are not published there are left out."""
    files = {family: RESULTS / f"{family.bundle}-{dataset}" / "results.csv" for family in FAMILIES}
    blocks = {family: _block(file) for family, file in files.items() if file.is_file()}
    return Source(dataset, {family: block for family, block in blocks.items() if set(block) == set(CONFIGURATIONS)})


def paper() -> Source:
    """What the paper prints of BTCV."""
    return Source("paper, BTCV", {f: _block(PAPER, model=f.model, dataset="BTCV") for f in FAMILIES})


def _block(file: Path, **chosen: str) -> Block:
    with open(file, newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if all(row[key] == value for key, value in chosen.items())]
    return {
        (row["precision"], row["granularity"]): Score(
            float(row["dsc"]), float(row["nsd"]), _number(row["dsc_drop_pct"]), _number(row["nsd_drop_pct"])
        )
        for row in rows
    }


def _number(text: str) -> float | None:
    return float(text) if text else None


def _told(score: float, drop: float | None) -> str:
    return f"{score:.3f}" + ("" if drop is None else f" ({round(drop, 1) + 0.0:.1f})")  # no -0.0


@dataclass(frozen=True)
class Answer:
    """What the numbers of one source say to a question: in a word, and the numbers."""

    word: str
    numbers: str


def near_lossless(source: Source) -> Answer:
    """Is W8A8 near-lossless: does no network lose more than one per cent of its DSC, under any granularity?"""
    losses = {(f, g): loss for g in GRANULARITIES for f, loss in source.losses_pct("W8A8", g).items()}
    (family, granularity), worst = max(losses.items(), key=lambda item: item[1])
    kept = sum(loss <= NEAR_LOSSLESS_PCT for loss in losses.values())
    told = (
        f"{kept} of {len(losses)} rows lose at most {NEAR_LOSSLESS_PCT:.0f} %; the most: {family.model} {granularity}"
    )
    return Answer(_of(kept, len(losses)), f"{told} {worst:.2g} %")


def collapse(source: Source) -> Answer:
    """Do hybrids collapse under W4A4 per-tensor: do they lose more than half of their DSC?"""
    told = {}
    for backbone in ("Hybrid", "CNN"):
        losses = source.losses_pct("W4A4", "per-tensor", backbone)
        told[backbone] = ", ".join(f"{family.model} {_percent(loss)}" for family, loss in losses.items()) or "none"
    hybrids = source.losses_pct("W4A4", "per-tensor", "Hybrid").values()
    gone = sum(loss > COLLAPSE_PCT for loss in hybrids)
    return Answer(_of(gone, len(hybrids)), f"hybrids: {told['Hybrid']}; CNNs: {told['CNN']}")


def adaptive_helps(source: Source) -> Answer:
    """Is adaptive at least as good as per-channel at W4A4, by its mean DSC?"""
    gains = {
        family: round(block["W4A4", "adaptive"].dsc - block["W4A4", "per-channel"].dsc, 6)  # decimals of results.csv
        for family, block in source.blocks.items()
    }
    held = sum(gain >= 0 for gain in gains.values())
    told = ", ".join(f"{family.model} {gain:+.4f}" for family, gain in gains.items())
    return Answer(_of(held, len(gains)), f"adaptive minus per-channel: {told}")


def cnns_are_more_robust(source: Source) -> Answer:
    """Do CNNs lose less than hybrids at W4A4, on average over the networks, under each granularity?"""
    told, held, judged = [], 0, 0
    for granularity in GRANULARITIES:
        losses = [source.losses_pct("W4A4", granularity, backbone).values() for backbone in ("CNN", "Hybrid")]
        if all(losses):
            cnn, hybrid = map(mean, losses)
            judged, held = judged + 1, held + (cnn < hybrid)
            told.append(f"{granularity}: CNNs {_percent(cnn)}, hybrids {_percent(hybrid)}")
    return Answer(_of(held, judged), "; ".join(told))


def _of(held: int, judged: int) -> str:
    if not judged:
        return "not known"
    return "yes" if held == judged else "no" if not held else f"in {held} of {judged}"


def _percent(loss: float) -> str:
    return f"{round(loss, 1) + 0.0:.1f} %"


@dataclass(frozen=True)
class Claim:
    """What the paper's text says, the rule by which it is judged here, and what judges it."""

    text: str
    rule: str
    judge: Callable[[Source], Answer]


CLAIMS = (
    Claim(
        "W8A8 is near-lossless",
        f"A row holds if it loses at most {NEAR_LOSSLESS_PCT:.0f} % of its DSC.",
        near_lossless,
    ),
    Claim(
        "Hybrids collapse under W4A4 per-tensor",
        f"A hybrid does if it loses more than {COLLAPSE_PCT:.0f} % of its DSC.",
        collapse,
    ),
    Claim(
        "Adaptive is at least as good as per-channel at W4A4",
        "It is for a network if its mean DSC is not lower, by however little.",
        adaptive_helps,
    ),
    Claim(
        "CNNs are more robust than hybrids at W4A4",
        "They are under a granularity if they lose less of their DSC, in the mean over the networks.",
        cnns_are_more_robust,
    ),
)
NOTHING = Answer("not known", "nothing is published")


def sources() -> tuple[Source, ...]:
    """Ours on both datasets, and the paper's last."""
    return (ours(HIPPOCAMPUS), ours(PHANTOM), paper())


def table_csv(shown: Sequence[Source]) -> str:
    """The rows as CSV, a row a network and configuration, the columns of each source beside each other."""
    names = ("dsc", "nsd", "dsc_drop_pct", "nsd_drop_pct")
    keys = [source.name.split(",")[0].replace("-", "_") for source in shown]
    lines = [",".join(("backbone", "model", "bundle", "precision", "granularity",
                       *(f"{key}_{name}" for key in keys for name in names)))]  # fmt: skip
    for family in FAMILIES:
        for configuration in CONFIGURATIONS:
            cells: list[str] = [family.backbone, family.model, family.bundle, *configuration]
            for source in shown:
                score = source.blocks.get(family, {}).get(configuration)
                values = [getattr(score, name, None) for name in names]
                cells += ["" if value is None else f"{value:g}" for value in values]
            lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def table_text(shown: Sequence[Source]) -> str:
    """The rows in Markdown."""
    titles = ["Backbone", "Network", "Precision", "Granularity"]
    titles += [f"{source.name}: {metric}" for source in shown for metric in ("DSC", "NSD")]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * 4 + "--:|" * (len(titles) - 4)]
    for family in FAMILIES:
        for configuration in CONFIGURATIONS:
            scores = [source.blocks.get(family, {}).get(configuration) for source in shown]
            cells = [text for score in scores for text in (score.text if score else ("-", "-"))]
            lines.append(f"| {' | '.join((family.backbone, family.model, *configuration, *cells))} |")
    return "\n".join(lines) + "\n"


def answers_text(shown: Sequence[Source]) -> str:
    """Whether each claim holds in each source: in a word for all, then with the numbers."""
    names = [source.name for source in shown]
    found = {claim: [claim.judge(source) if source.blocks else NOTHING for source in shown] for claim in CLAIMS}
    text = f"| Claim of the paper | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}\n"
    for claim, answers in found.items():
        text += f"| {claim.text} | {' | '.join(answer.word for answer in answers)} |\n"
    for claim, answers in found.items():
        text += f"\n**{claim.text}.** {claim.rule}\n\n"
        text += "".join(f"- {name}: {a.word}. {a.numbers}\n" for name, a in zip(names, answers, strict=True))
    return text


def missing_text(shown: Sequence[Source]) -> str:
    """Which families are not published yet, a sentence a source; empty where all are."""
    gaps = {s.name: [f.model for f in FAMILIES if f not in s.blocks] for s in shown}
    return "".join(f"Not published yet on {name}: {', '.join(gap)}.\n" for name, gap in gaps.items() if gap)
