"""Which layer is to blame most: each released in turn, on calibration windows, never on what is evaluated (floor 4)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from medquanbench import __version__, quant, shelf
from medquanbench.analysis.card import LayerRule
from medquanbench.bundle import Bundle
from medquanbench.calibration import calibration_cases, calibration_patches
from medquanbench.dataset import Dataset
from medquanbench.parts import Parts
from medquanbench.run import case_sha256, config_in_key, rehearse
from medquanbench.search.judge import Judge
from medquanbench.values import Case, Recipe, RequestError, State, not_found

COLUMNS = ("path", "kind", "reads_image", "divergence", "gain")


@dataclass(frozen=True)
class Released:
    """One layer released to float while the others stay quantized.

    Attributes:
        divergence: from the float network's answers (:mod:`medquanbench.search.judge`), in nats.
        gain: by how much that is less than with all layers quantized.
    """

    path: str
    kind: str
    reads_image: bool
    divergence: float
    gain: float


def blame(
    bundle: Bundle,
    dataset: Dataset,
    rule: LayerRule,
    *,
    split: str = "test",
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Released, ...]:
    """Every layer that the rule's recipe quantizes, released alone, the largest gain first.

    A released layer keeps its weight and its input in float. Each is kept in the cache when it is done.

    Raises:
        RequestError: the recipe cannot be carried out, or there are too few calibration cases.
    """
    cases = calibration_cases(dataset, rule.cases, split=split, progress=progress)
    lines = [line for line in rehearse(bundle, rule.recipe, device).lines if line.state is State.QUANTIZED]
    parts = Parts(shelf.cache() / "layers" / _key(bundle, cases, rule, seed))
    measured = _Measured(bundle, dataset, rule, cases, seed, device, progress)
    whole, found = _kept(parts, ".whole", lambda: measured.divergence(rule.recipe)), []
    for number, line in enumerate(lines, 1):
        progress(f"the most sensitive layer: {number}/{len(lines)}, {line.path}")
        left = replace(rule.recipe, keep=(line.path,))
        divergence = _kept(parts, f"layer.{line.path}", lambda left=left: measured.divergence(left))
        found.append(Released(line.path, line.kind, line.reads_image, divergence, whole - divergence))
    return tuple(sorted(found, key=lambda layer: -layer.gain))


def most_sensitive(layers: tuple[Released, ...]) -> str:
    """The path of the layer with the largest gain of those that do not read the image, which is an item of its own.

    Raises:
        RequestError: no layer reads anything else.
    """
    found = [layer.path for layer in layers if not layer.reads_image]
    if not found:
        raise RequestError("no layer can be the most sensitive one: all that are quantized read the image itself")
    return found[0]


def check_layer(bundle: Bundle, recipe: Recipe, path: str, device: str = "cpu") -> str:
    """The path, where it is one of a layer that the recipe quantizes.

    Raises:
        RequestError: it is none.
    """
    lines = [line for line in rehearse(bundle, recipe, device).lines if line.state is State.QUANTIZED]
    names = [name for line in lines for name in (line.path, *line.aliases)]
    if path not in names:
        raise not_found("layer", path, f"{bundle.name}, variant {bundle.variant}", names, near=True)
    return path


def layers_csv(layers: tuple[Released, ...]) -> str:
    """The text of layers.csv: a row a layer, the largest gain first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in layers:
        writer.writerow((one.path, one.kind, one.reads_image, f"{one.divergence:.6f}", f"{one.gain:.6f}"))
    return text.getvalue()


class _Measured:
    """The float network's answers to the rule's windows, made when they are first needed."""

    def __init__(
        self,
        bundle: Bundle,
        dataset: Dataset,
        rule: LayerRule,
        cases: tuple[Case, ...],
        seed: int,
        device: str,
        progress: Callable[[str], None],
    ) -> None:
        self.network, self.judge = bundle.network().to(device), None
        self.windows = calibration_patches(
            bundle, dataset, cases, rule.windows, (seed, 0), device=device, progress=progress
        )

    def divergence(self, recipe: Recipe) -> float:
        self.judge = self.judge or Judge(self.network, self.windows)
        return self.judge.verdict(quant.quantize(self.network, recipe)[0]).divergence


def _kept(parts: Parts, name: str, make: Callable[[], float]) -> float:
    value = parts.read(float, name)
    if value is None:
        value = make()
        parts.write(value, name)
    return value


def _key(bundle: Bundle, cases: tuple[Case, ...], rule: LayerRule, seed: int) -> str:
    told = [
        __version__, bundle.weights_sha256, config_in_key(bundle), [(case.name, case_sha256(case)) for case in cases],
        str(rule.recipe), rule.windows, seed,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
