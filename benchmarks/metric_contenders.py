"""One contender measures one case: `python metric_contenders.py CONTENDER METRIC CASE_FOLDER ROUNDS`.

In a process of its own, on one thread. Prints a line of JSON: seconds of each round (processor and wall clock), the
process's peak memory before and after the first round, and the scores by label; null where it does not take a label.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

Scores = dict[int, float]
Measure = Callable[[np.ndarray, np.ndarray, dict], Scores]


def main(contender: str, metric: str, folder: str, rounds: str) -> None:
    case = json.loads((Path(folder) / "case.json").read_text())
    maps = [np.load(Path(folder) / f"{name}.npy") for name in ("reference", "prediction")]
    measure = CONTENDERS[contender][metric]()  # imports what it needs
    before, wall, processor = _peak_mib(), [], []
    for round_ in range(int(rounds)):
        began = time.perf_counter(), time.process_time()
        scores = measure(*maps, case)
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
        if round_ == 0:
            peak = _peak_mib()
    plain = {label: None if math.isnan(score) else score for label, score in scores.items()}
    print(json.dumps({"wall_s": wall, "cpu_s": processor, "before_mib": before, "peak_mib": peak, "scores": plain}))


def _peak_mib() -> float:
    """The largest resident memory of this process so far. Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _ours_nsd() -> Measure:
    from medquanbench.metrics import surface_dice

    def measure(reference: np.ndarray, prediction: np.ndarray, case: dict) -> Scores:
        spacing, labels = (case["spacing_mm"],) * reference.ndim, case["labels"]
        return dict(zip(labels, surface_dice(reference, prediction, labels, spacing, case["tolerance_mm"]).tolist()))

    return measure


def _ours_hd95() -> Measure:
    from medquanbench.metrics import hd95

    def measure(reference: np.ndarray, prediction: np.ndarray, case: dict) -> Scores:
        spacing, labels = (case["spacing_mm"],) * reference.ndim, case["labels"]
        return dict(zip(labels, hd95(reference, prediction, labels, spacing).tolist()))

    return measure


def _surface_distance(last_step: Callable) -> Measure:
    """One label after the other; only those in both maps, as release 0.1 fails on an empty mask with NumPy 2."""
    from surface_distance import compute_surface_distances

    def measure(reference: np.ndarray, prediction: np.ndarray, case: dict) -> Scores:
        spacing = (case["spacing_mm"],) * reference.ndim
        return {
            label: float(last_step(compute_surface_distances(reference == label, prediction == label, spacing), case))
            for label in case["labels_in_both"]
        }

    return measure


def _surface_distance_nsd() -> Measure:
    from surface_distance import compute_surface_dice_at_tolerance

    return _surface_distance(lambda distances, case: compute_surface_dice_at_tolerance(distances, case["tolerance_mm"]))


def _surface_distance_hd95() -> Measure:
    from surface_distance import compute_robust_hausdorff

    return _surface_distance(lambda distances, case: compute_robust_hausdorff(distances, 95))


def _monai(one_label: Callable) -> Measure:
    """One label after the other: all masks at once would be a gigabyte for a hundred labels of 256^3 voxels."""
    import torch

    torch.set_num_threads(1)

    def measure(reference: np.ndarray, prediction: np.ndarray, case: dict) -> Scores:
        r, p = torch.from_numpy(reference), torch.from_numpy(prediction)
        return {label: float(one_label(p == label, r == label, case)[0, 0]) for label in case["labels"]}

    return measure


def _monai_nsd() -> Measure:
    from monai.metrics import compute_surface_dice

    def one_label(prediction, reference, case):
        return compute_surface_dice(
            prediction[None, None],
            reference[None, None],
            [case["tolerance_mm"]],
            include_background=True,
            spacing=[case["spacing_mm"]] * reference.ndim,
            use_subvoxels=True,
        )

    return _monai(one_label)


def _monai_hd95() -> Measure:
    from monai.metrics import compute_hausdorff_distance

    def one_label(prediction, reference, case):
        return compute_hausdorff_distance(
            prediction[None, None],
            reference[None, None],
            include_background=True,
            percentile=95,
            spacing=[case["spacing_mm"]] * reference.ndim,
        )

    return _monai(one_label)


CONTENDERS: dict[str, dict[str, Callable[[], Measure]]] = {
    "medquanbench": {"nsd": _ours_nsd, "hd95": _ours_hd95},
    "surface-distance": {"nsd": _surface_distance_nsd, "hd95": _surface_distance_hd95},
    "monai": {"nsd": _monai_nsd, "hd95": _monai_hd95},
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
