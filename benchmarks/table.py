"""The forward benchmark's result as Markdown: one table a network, and whether the targets hold."""

from __future__ import annotations

EAGER_TARGET, COMPILED_TARGET = 1.6, 1.2
OURS, FLOAT = "medquanbench", "torch"
HEAD = ("Contender", "Weights", "Activations", "Scales", "Layers", "min s", "median s", "/ FP32", "/ FP32 compiled")


def markdown(result: dict) -> str:
    """The JSON result as a page."""
    machine, versions = result["machine"], result["versions"]
    settings = ", ".join(f"{key}={value}" for key, value in machine["environment"].items()) or "none"
    lines = [
        "# Forward pass: FP32, medquanbench, ModelOpt, Brevitas",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['capability']}; "
        + ", ".join(f"{tool} {number}" for tool, number in versions.items())
        + f". Settings in the environment: {settings}. Random weights and image, one patch, {result['rounds']} rounds "
        "in turned order. `/ FP32`: minimum against the minimum of eager FP32 in the same run. Layers: with weight and "
        "input quantized in a forward, of all that run.",
    ]
    for network in result["networks"]:
        lines += ["", *_section(network)]
    return "\n".join(lines) + "\n"


def _section(network: dict) -> list[str]:
    rows, layers = network["rows"], network["layers"]
    fp32 = _fastest([row for row in rows if row["tool"] == FLOAT and not row["compiled"]])
    compiled = _fastest([row for row in rows if row["tool"] == FLOAT and row["compiled"]])
    edge, millions = network["size_voxels"], network["parameters"] / 1e6
    return [
        f"## {network['network']}, {edge} x {edge} x {edge}, {millions:.1f} M parameters",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
        *(f"| {' | '.join(_cells(row, layers, fp32, compiled))} |" for row in rows),
        "",
        *(f"- {sentence}" for sentence in _verdicts(rows, fp32)),
    ]


def _cells(row: dict, layers: int, fp32: float | None, compiled: float | None) -> list[str]:
    said = [row["contender"], row["weights"], row["activations"], row["scales"]]
    if not row["seconds"]:
        return [*said, "-", "-", "-", "-", row["reason"].replace("|", "/")]
    fastest = row["min_seconds"]
    count = "-" if row["tool"] == FLOAT else f"{row['quantized_layers']} of {layers}"
    return [
        *said,
        count,
        f"{fastest:.3f}",
        f"{row['median_seconds']:.3f}",
        _ratio(fastest, fp32),
        _ratio(fastest, compiled),
    ]


def _ratio(seconds: float, reference: float | None) -> str:
    return "-" if reference is None else f"{seconds / reference:.2f}"


def _fastest(rows: list[dict]) -> float | None:
    return min((row["min_seconds"] for row in rows if row["seconds"]), default=None)


def _verdicts(rows: list[dict], fp32: float) -> list[str]:
    """The slowest of ours against the targets, and against the fastest of the others."""
    said = []
    for compiled, target, word in ((False, EAGER_TARGET, "eager"), (True, COMPILED_TARGET, "compiled")):
        ours = [
            r["min_seconds"] / fp32 for r in rows if r["tool"] == OURS and r["compiled"] == compiled and r["seconds"]
        ]
        if ours:
            holds = "holds" if max(ours) <= target else "is missed"
            said.append(
                f"Ours, {word}: {min(ours):.2f} to {max(ours):.2f} of eager FP32; the target of {target} {holds}."
            )
    return said + [_compared(like, rows) for like in dict.fromkeys(row["like"] for row in rows) if like]


def _compared(like: str, rows: list[dict]) -> str:
    """Ours against rows of other tools that compute as much for their scales, all of them eager."""
    alike = [row for row in rows if row["like"] == like and not row["compiled"] and row["seconds"]]
    ours = [row["min_seconds"] for row in alike if row["tool"] == OURS]
    others = [row for row in alike if row["tool"] != OURS]
    if not ours or not others:
        return f"Scales of {like}: {'nobody else' if ours else 'none of ours'} was timed."
    best = min(others, key=lambda row: row["min_seconds"])
    shares = [f"{one / best['min_seconds']:.2f}" for one in (min(ours), max(ours))]
    below = "below" if max(ours) < best["min_seconds"] else "not all below"
    return f"Scales of {like}: ours take {shares[0]} to {shares[1]} of {best['contender']}'s time, {below} it."
