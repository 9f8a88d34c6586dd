"""The metrics benchmark's result as Markdown: a table of all cases, and whether the targets hold."""

from __future__ import annotations

OURS, ORACLE = "medquanbench", "surface-distance"
TITLES = {"nsd": "NSD", "hd95": "HD95"}
# Times that ours must be faster than surface-distance, and the memory that it may take.
GOOD_TARGET, COLLAPSED_TARGET, MEMORY_TARGET_MIB = 20.0, 1.5, 2048
EXACT = 1e-9
HEAD = (
    "Case", "Metric", "Tolerance", "Contender", "Labels", "CPU s", "wall s", "times ours", "peak MiB", "above start",
    "max difference",
)  # fmt: skip


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    machine, versions = result["machine"], result["versions"]
    lines = [
        "# NSD and HD95 of a whole case: medquanbench, surface-distance, MONAI",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f". One thread, a process each, median of {result['rounds']} rounds; processor time beside wall-clock time, "
        "as other work on the machine adds to the latter. MONAI's NSD has `use_subvoxels=True`; its HD95 counts voxels "
        "instead of weighing areas and is another number.",
        *(["", "**A made-up map, to try the program out: no result.**"] if result["synthetic"] else []),
        "",
        *(f"- {case['name']}: {case['about']}, {' x '.join(map(str, case['shape']))}" for case in result["cases"]),
        *(f"- {name} is skipped: {reason}" for name, reason in result["skipped"].items()),
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
    ]
    for case in result["cases"]:
        ours = {row["metric"]: row["median_cpu_s"] for row in case["rows"] if _is(row, OURS)}
        lines += [f"| {' | '.join(_cells(case, row, ours.get(row['metric'])))} |" for row in case["rows"]]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in _verdicts(result["cases"]))]) + "\n"


def _is(row: dict, contender: str) -> bool:
    return row["contender"] == contender and not row["reason"]


def _cells(case: dict, row: dict, ours: float | None) -> list[str]:
    tolerance = f"{case['tolerance_mm']:g} mm" if row["metric"] == "nsd" else "-"
    said = [case["name"], TITLES[row["metric"]], tolerance, row["contender"]]
    if row["reason"]:
        return [*said, *["-"] * 6, row["reason"].replace("|", "/")]
    difference = row["max_difference"]
    return [
        *said,
        f"{row['labels']} of {case['n_labels']}",
        f"{row['median_cpu_s']:.3f}",
        f"{row['median_wall_s']:.3f}",
        "-" if ours is None else f"{row['median_cpu_s'] / ours:.1f}",
        f"{row['peak_mib']:.0f}",
        f"{row['above_mib']:.0f}",
        "-" if difference is None or row["contender"] == ORACLE else f"{difference:.1e}",
    ]


def _verdicts(cases: list[dict]) -> list[str]:
    """The least gain of ours against each target, the most memory, the largest difference."""
    gains: dict[tuple[bool, str], list[float]] = {}
    for case in cases:
        for metric in case["metrics"]:
            rows = {row["contender"]: row for row in case["rows"] if row["metric"] == metric and not row["reason"]}
            if OURS in rows and ORACLE in rows:
                gain = rows[ORACLE]["median_cpu_s"] / rows[OURS]["median_cpu_s"]
                gains.setdefault((case["collapsed"], metric), []).append(gain)
    said = []
    for (collapsed, metric), found in sorted(gains.items(), key=lambda item: (item[0][1] != "nsd", item[0][0])):
        kind = "collapsed" if collapsed else "good"
        text = f"{TITLES[metric]}, {kind} predictions: {_span(found)} times as fast as surface-distance"
        if metric == "nsd":
            target = COLLAPSED_TARGET if collapsed else GOOD_TARGET
            text += f"; the target of {target:g} {'holds' if min(found) >= target else 'is missed'}"
        said.append(text + ".")
    ours = [row for case in cases for row in case["rows"] if _is(row, OURS)]
    if ours:
        most = max(row["peak_mib"] for row in ours)
        said.append(
            f"Ours takes at most {most:.0f} MiB, label maps and Python included; the target of {MEMORY_TARGET_MIB} MiB "
            f"{'holds' if most <= MEMORY_TARGET_MIB else 'is missed'}."
        )
    differences = [row["max_difference"] for row in ours if row["max_difference"] is not None]
    if differences:
        worst = max(differences)
        held = "holds" if worst <= EXACT else "is missed"
        said.append(f"Ours differs from surface-distance by at most {worst:.1e}; the target of {EXACT:g} {held}.")
    return said


def _span(values: list[float]) -> str:
    return f"{min(values):.1f}" if len(values) == 1 else f"{min(values):.1f} to {max(values):.1f}"
