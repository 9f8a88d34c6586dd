"""What a study says, as text: study.csv, study.md, and the table that a terminal shows (floor 4)."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path

from medquanbench.analysis.answer import Answer, AnsweredRow
from medquanbench.analysis.blame import layers_csv
from medquanbench.analysis.card import CardRow
from medquanbench.files import write_whole
from medquanbench.report import wording
from medquanbench.report.model import metric_value
from medquanbench.stats import Gap

COLUMNS = (
    "study", "row", "bundle", "variant", "dataset", "layer", "recipe", "n_cases", "dsc", "nsd", "diff", "ci_low",
    "ci_high", "verdict", "gap_closed_pct", "gap_ci_low", "gap_ci_high", "draws", "draws_mean", "draws_least",
    "draws_most", "hardware", "paper_dsc", "paper_nsd", "not_done",
)  # fmt: skip
_TITLES = ("Row", "Recipe", "DSC", "NSD", "Difference [95 % CI]", "Gap closed [95 % CI]", "Paper: DSC, NSD")
_WIDTH = 100
_NAME_WIDTH = 34


def write_answer(answer: Answer, folder: Path) -> None:
    """Write study.csv, study.md and, where the most sensitive layer was sought, layers.csv in its variant's folder."""
    write_whole(folder / "study.csv", study_csv(answer).encode())
    write_whole(folder / "study.md", study_markdown(answer).encode())
    for variant, layers in answer.outline.layers:
        write_whole(folder / variant / "layers.csv", layers_csv(layers).encode())


def study_csv(answer: Answer) -> str:
    """A row a row of the card; differences are from FP32 of the same network, in the primary metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(answer, entry) for entry in answer.rows)
    return text.getvalue()


def study_markdown(answer: Answer) -> str:
    """The question, where it comes from, the table, and the answer in numbers."""
    card, plan = answer.outline.card, answer.outline.plans[0]
    told = [("Source", card.source), ("From the paper", card.paper), ("Our reading", card.reading)]
    lines = [f"# {card.title}", "", card.question, "", *(f"{name}: {text}\n" for name, text in told if text)]
    images = wording.PHANTOM if plan.dataset.phantom is not None else wording.REAL
    where = f"{plan.bundle.name} on {plan.dataset.name}, split '{plan.split}'"
    lines += [f"{where}: {wording.counted(len(plan.cases), 'case')}. Images: {images}.", ""]
    lines += [_line(_titles(answer)), _line(["---"] * len(_titles(answer)))]
    lines += [_line(_markdown_cells(answer, entry)) for entry in answer.rows]
    if any(title.startswith("Paper") for title in _titles(answer)):
        lines += [
            "",
            "The paper's scores are of its own network and images; only what becomes of them can be compared.",
        ]
    return "\n".join([*lines, "", *(f"{sentence}\n" for sentence in sentences(answer))]).rstrip() + "\n"


def study_terminal(answer: Answer) -> str:
    """The rows as plain text, no line longer than 100 characters, and the answer in numbers."""
    lines = [f"{'Row':{_NAME_WIDTH}}  {'DSC':5}  {'NSD':5}  {'Difference [95 % CI]':26}  Gap closed"]
    lines.append(f"{'-' * _NAME_WIDTH}  -----  -----  {'-' * 26}  ----------")
    for entry in answer.rows:
        name = textwrap.shorten(entry.planned.row.name, _NAME_WIDTH, placeholder="...")
        if entry.row is None:
            lines.append(f"{name:{_NAME_WIDTH}}  not done")
            lines += textwrap.wrap(entry.planned.reason, _WIDTH, initial_indent="    ", subsequent_indent="    ")
            continue
        dsc, nsd = _scores(entry)
        gap = _gap_words(entry.gap).split(" [")[0]
        lines.append(f"{name:{_NAME_WIDTH}}  {dsc:5}  {nsd:5}  {wording.difference(entry.row.primary):26}  {gap}")
    for sentence in sentences(answer):
        lines += ["", *textwrap.wrap(sentence, _WIDTH)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def sentences(answer: Answer) -> list[str]:
    """The card's question, answered by numbers."""
    told = (_layer_sentences, _gap_sentences, _draw_sentences, _fewer_sentences, _undone_sentences)
    return [sentence for tell in told for sentence in tell(answer)]


def _layer_sentences(answer: Answer) -> list[str]:
    found = []
    for variant, layers in answer.outline.layers:
        acted = next(e.planned.layer for e in answer.rows if e.planned.variant == variant and e.planned.layer)
        chosen = next(layer for layer in layers if layer.path == acted)
        whole, image = chosen.gain + chosen.divergence, [layer for layer in layers if layer.reads_image]
        text = (
            f"Of {len(layers)} layers of {variant}, {acted} ({chosen.kind}) lowers the divergence from FP32 on "
            f"calibration windows most when it alone is released: from {whole:.4f} to {chosen.divergence:.4f} nats."
        )
        if image:
            text += f" {image[0].path}, which reads the image, is no candidate; it gains {image[0].gain:.4f}."
        found.append(text)
    return found


def _gap_sentences(answer: Answer) -> list[str]:
    base = answer.baseline
    if base is None or base.row is None:
        return []
    compared = [entry for entry in answer.rows if entry.gap is not None and entry.gap.share is not None]
    start = f"'{base.planned.row.name}' differs from FP32 by {wording.difference(base.row.primary)}."
    if not compared:
        return [f"{start} There is no loss to win back." if (base.row.primary.difference or 0) >= 0 else start]
    best = max(compared, key=lambda entry: entry.gap.share)
    worse = sum(entry.gap.share < 0 for entry in compared)
    return [
        f"{start} Of {wording.counted(len(compared), 'row')} beside it, '{best.planned.row.name}' closes most of that: "
        f"{_gap_words(best.gap)}. Rows that lose more than it does: {worse}."
    ]


def _draw_sentences(answer: Answer) -> list[str]:
    return [
        f"'{entry.planned.row.name}': {answer.metric.upper()} {wording.number(spread.mean, 4)} "
        f"({wording.number(spread.least, 4)} to {wording.number(spread.most, 4)}) over {len(spread.means)} draws."
        for entry in answer.rows
        if (spread := entry.spread) is not None
    ]


def _fewer_sentences(answer: Answer) -> list[str]:
    """Rows whose number of calibration cases the dataset does not have."""
    told = [entry.planned for entry in answer.rows if entry.row and entry.planned.row.at_most]
    return [
        f"'{planned.row.name}': the dataset has {planned.recipe.calibration} cases to calibrate on."
        for planned in told
        if planned.recipe.calibration < planned.row.recipe(None).calibration
    ]


def _undone_sentences(answer: Answer) -> list[str]:
    undone = [entry for entry in answer.rows if entry.row is None]
    return [f"{len(undone)} of {len(answer.rows)} rows could not be carried out; the table says why."] if undone else []


def _titles(answer: Answer) -> list[str]:
    has_paper = any(entry.planned.row.paper_dsc is not None for entry in answer.rows)
    has_gap = answer.outline.card.baseline != ""
    kept = {"Paper: DSC, NSD": has_paper, "Gap closed [95 % CI]": has_gap}
    return [title for title in _TITLES if kept.get(title, True)]


def _markdown_cells(answer: Answer, entry: AnsweredRow) -> list[str]:
    recipe = f"`{entry.planned.recipe}`" if entry.planned.recipe else "-"
    variant = f" ({entry.planned.variant})" if entry.planned.row.variant else ""
    dsc, nsd = _scores(entry)
    difference = wording.difference(entry.row.primary) if entry.row else f"not done: {entry.planned.reason}"
    cells = (
        f"{entry.planned.row.name}{variant}", recipe, dsc, nsd, difference, _gap_words(entry.gap),
        _paper(entry.planned.row),
    )  # fmt: skip
    wanted = _titles(answer)
    return [cell for title, cell in zip(_TITLES, cells, strict=True) if title in wanted]


def _paper(row: CardRow) -> str:
    there = [f"{score:.3f}" for score in (row.paper_dsc, row.paper_nsd) if score is not None]
    return ", ".join(there) or "-"


def _scores(entry: AnsweredRow) -> tuple[str, str]:
    if entry.row is None:
        return "-", "-"
    dsc, nsd = (metric_value(entry.row, entry.row.means, metric) for metric in ("dsc", "nsd"))
    return wording.number(dsc, 3), wording.number(nsd, 3)


def _gap_words(gap: Gap | None) -> str:
    """``81 % [70, 92]``."""
    if gap is None or gap.share is None:
        return "-"
    if gap.ci_low is None:
        return f"{_percent(gap.share)} % [no interval]"
    return f"{_percent(gap.share)} % [{_percent(gap.ci_low)}, {_percent(gap.ci_high)}]"


def _percent(share: float | None) -> str:
    return "" if share is None else wording.number(100 * share, 0)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cells(answer: Answer, entry: AnsweredRow) -> list[str]:
    plan, row, said = answer.outline.plans[0], entry.row, entry.row.primary if entry.row else None
    gap, spread = entry.gap or Gap(None), entry.spread
    numbers = [None] * 5 if row is None else [
        metric_value(row, row.means, "dsc"), metric_value(row, row.means, "nsd"), said.difference, said.ci_low,
        said.ci_high,
    ]  # fmt: skip
    shares = [None if value is None else 100 * value for value in (gap.share, gap.ci_low, gap.ci_high)]
    drawn = (None, None, None) if spread is None else (spread.mean, spread.least, spread.most)
    planned = entry.planned
    return [
        answer.outline.card.name, planned.row.name, plan.bundle.name, planned.variant, plan.dataset.name, planned.layer,
        str(planned.recipe or ""), str(len(row.record.cases)) if row else "", *(_cell(n, 6) for n in numbers),
        said.verdict if said else "", *(_cell(share, 2) for share in shares), str(len(spread.means)) if spread else "",
        *(_cell(value, 6) for value in drawn), wording.machines(row.record.receipt) if row else "",
        *("" if score is None else f"{score:g}" for score in (planned.row.paper_dsc, planned.row.paper_nsd)),
        planned.reason,
    ]  # fmt: skip


def _cell(value: float | None, decimals: int) -> str:
    return "" if value is None else wording.number(value, decimals)
