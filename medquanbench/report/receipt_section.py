"""What quantization did to the network: a summary of each receipt, the image, and all layer lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

from medquanbench.report import wording
from medquanbench.report.markup import Content, Markup, cell, details, numeric, row, section, table, tag
from medquanbench.report.model import StudyReport
from medquanbench.values import Line, Receipt, Row, State, TensorNote

_EXAMPLES = 3
_STATES = {
    State.QUANTIZED: "Quantized",
    State.KEPT: "Kept float",
    State.UNSUPPORTED: "Unsupported",
    State.NEVER_RUN: "Never run",
}
_SUMMARY_HEADINGS = ("Parameters in quantized layers", "Bits a weight", "Bits an activation", "Worst activation")
_SUMMARY = (
    "Layers by what became of them. Attention products, normalisation and biases always stay float. Bits include the "
    "price of the scales: 32 bits, shared by the values of a scale. The mean over weights counts each layer with its "
    "parameters, and float layers with 32 bits; the mean over activations counts each quantized layer once."
)
_MACHINES = (
    "Quantization is simulated here. gemm: integer units multiply the numbers and apply the scales at the end. block: "
    "units that know scales of blocks do. foldable: gemm, once constant scales of input channels are multiplied into "
    "the weight. simulation: no unit can; the scores tell what the grid costs, not what a machine would gain."
)
_IMAGE = (
    "The image is rounded too, before the first layer reads it. Its step is the smallest difference in intensity that "
    "the network can still see: at few bits this alone may explain a loss. Median and largest are over cases, each "
    "with its coarsest step."
)


def receipt_section(report: StudyReport) -> Markup:
    """Counts and effective bits of each configuration, what stayed float and why, fallbacks, and every layer."""
    if not report.quantized:
        return section("receipt", "What was quantized", tag("p", "Nothing: only the FP32 reference was run."))
    headings = ("Configuration", *(_STATES[state] for state in State), *_SUMMARY_HEADINGS)
    return section(
        "receipt",
        "What was quantized",
        tag("p", _SUMMARY),
        table(headings, [_summary_row(entry) for entry in report.quantized], css="right"),
        *_findings(report),
        *_machines(report),
        tag("h3", "Layer by layer"),
        *map(_all_layers, report.quantized),
    )


def image_section(report: StudyReport) -> Markup:
    """How the image enters the first layer: bits, and the step in the unit of the image."""
    unit = report.intensity_unit
    headings = ("Configuration", "Bits", "Scales", "Effective bits", f"Median step ({unit})", f"Largest step ({unit})")
    return section(
        "image",
        "The image at the network's entrance",
        tag("p", _IMAGE),
        table(headings, [_image_row(report, entry) for entry in report.rows], css="right"),
    )


def effective_weight_bits(receipt: Receipt) -> float | None:
    """Mean effective bits of the weights over all layers that run, each counted with its parameters."""
    lines = [line for line in receipt.lines if line.state is not State.NEVER_RUN and line.parameters > 0]
    total = sum(line.parameters for line in lines)
    return math.fsum(line.weight.effective_bits * line.parameters for line in lines) / total if total else None


def effective_activation_bits(receipt: Receipt) -> tuple[float, float] | None:
    """Mean and largest effective bits of the inputs of the quantized layers; receipts do not hold their sizes."""
    bits = [line.activation.effective_bits for line in receipt.lines if line.state is State.QUANTIZED]
    return (math.fsum(bits) / len(bits), max(bits)) if bits else None


def image_steps(entry: Row, intensity_per_value: float) -> tuple[float, float] | None:
    """Median and largest quantization step of the image over cases, in the image's unit; None where it is float."""
    steps = [case.image_step * intensity_per_value for case in entry.record.cases if case.image_step is not None]
    return (median(steps), max(steps)) if steps else None


def _summary_row(entry: Row) -> Markup:
    receipt = entry.record.receipt
    total = sum(line.parameters for line in receipt.lines)
    on_grid = sum(line.parameters for line in receipt.lines if line.state is State.QUANTIZED and line.weight.bits < 32)
    activations = effective_activation_bits(receipt)
    return row([
        wording.configuration(entry),
        *(numeric(str(receipt.count(state))) for state in State),
        numeric(f"{100 * on_grid / total:.1f} %" if total else "n/a"),
        numeric(wording.number(effective_weight_bits(receipt), 2)),
        *(numeric(wording.number(value, 2)) for value in activations or (None, None)),
    ])  # fmt: skip


def _findings(report: StudyReport) -> list[Markup]:
    """What differs from the policy, said once for all configurations of which it is true."""
    groups: dict[Markup, list[str]] = {}
    for entry in report.quantized:
        groups.setdefault(_one_list(entry), []).append(wording.configuration(entry))
    return [part for found, names in groups.items() for part in (tag("h3", "; ".join(names)), found)]


def _all_layers(entry: Row) -> Markup:
    lines = entry.record.receipt.lines
    return details(f"{wording.configuration(entry)}: {wording.counted(len(lines), 'layer')}", _layer_table(lines))


def _one_list(entry: Row) -> Markup:
    lines = entry.record.receipt.lines
    left = [line for line in lines if line.state in (State.KEPT, State.UNSUPPORTED)]
    idle = [line for line in lines if line.state is State.NEVER_RUN]
    findings: list[Content] = [
        *_grouped("stayed float", left, lambda line: line.reason or line.state.value),
        *_grouped("never ran", idle, lambda line: line.reason or "no forward has called it"),
        *_grouped("with another scale for the weight", lines, lambda line: line.weight.note),
        *_grouped("with another scale for the activation", lines, lambda line: line.activation.note),
        *_grouped("that a transform left as they were", lines, _not_done),
    ]
    return tag("ul", *findings) if findings else tag("p", "Every layer was quantized as the policy asks.", css="soft")


def _not_done(line: Line) -> str:
    return "; ".join(text for text in line.transforms if ": not done: " in text)


def _machines(report: StudyReport) -> list[Markup]:
    """What could run each configuration, and why."""
    items = []
    for entry in report.quantized:
        reasons = wording.machine_reasons(entry.record.receipt)
        told = "; ".join(f"{unit}: {reason}" for unit, reason in reasons)
        words = f"{wording.configuration(entry)}: {wording.machines(entry.record.receipt)}. {told}."
        items += [tag("li", words)] if reasons else []
    return [tag("h3", "What could run it"), tag("p", _MACHINES), tag("ul", *items)] if items else []


def _grouped(what: str, lines: list[Line] | tuple[Line, ...], key: Callable[[Line], str]) -> list[Markup]:
    """An item for each key: how many layers, which ones, and why; lines without a key are left out."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if key(line):
            groups.setdefault(key(line), []).append(line)
    items = []
    for reason, members in groups.items():
        paths = ", ".join(line.path or "(the network itself)" for line in members[:_EXAMPLES])
        more = f" and {len(members) - _EXAMPLES} more" if len(members) > _EXAMPLES else ""
        head = f"{wording.counted(len(members), 'layer')} {what}: {reason} \N{MIDDLE DOT} "
        items.append(tag("li", head, tag("code", f"{paths}{more}", css="soft")))
    return items


def _layer_table(lines: tuple[Line, ...]) -> Markup:
    headings = ("Layer", "Kind", "State", "Parameters", "Weight", "Activation", "Machine", "Why, or note")
    return table(headings, [_layer_row(line) for line in lines], css="layers")


def _layer_row(line: Line) -> Markup:
    names = ", ".join(line.aliases)
    alias = [tag("span", f" also {names}", css="soft")] if names else []
    notes = [line.reason, _labelled("weight", line.weight.note), _labelled("activation", line.activation.note),
             "reads the image" if line.reads_image else "", *line.transforms]  # fmt: skip
    return row([
        cell(tag("code", line.path), *alias),
        line.kind,
        line.state.value,
        numeric(f"{line.parameters:,}"),
        _tensor(line.weight),
        _tensor(line.activation),
        line.hardware,
        "; ".join(filter(None, notes)),
    ])  # fmt: skip


def _labelled(what: str, note: str) -> str:
    return f"{what}: {note}" if note else ""


def _tensor(note: TensorNote) -> str:
    if note.bits >= 32:
        return "float"
    return f"{note.bits} bits {note.granularity} ({note.effective_bits:.2f} effective)"


def _image_row(report: StudyReport, entry: Row) -> Markup:
    name, note = wording.configuration(entry), entry.record.receipt.image
    steps = image_steps(entry, report.intensity_per_value)
    if note is None or note.bits >= 32:
        return row([name, numeric("float"), *(numeric("-") for _ in range(4))])
    return row([
        name,
        numeric(str(note.bits)),
        numeric(note.granularity),
        numeric(f"{note.effective_bits:.2f}"),
        *(numeric("n/a" if step is None else f"{step:.3g}") for step in steps or (None, None)),
    ])  # fmt: skip
