"""Statistics of a quantized run beside its FP32 reference, over patients (floor 1)."""

from medquanbench.stats.family import holm, largest_p, resamples_for
from medquanbench.stats.gap import Gap, gap_closed, mean_gap_closed
from medquanbench.stats.margins import default_margin, drop_pct
from medquanbench.stats.paired import LEVEL, MIN_CASES, Paired, Verdict, paired
from medquanbench.stats.patients import patient_means
from medquanbench.stats.ranks import wilcoxon_p
from medquanbench.stats.resampling import FEW_PATIENTS, MIN_RESAMPLES, RESAMPLES, SE_FLOOR
from medquanbench.stats.tails import FOUND, GONE, LARGE_LOSS, is_collapsed, lost_much, percentile_5

__all__ = [
    "FEW_PATIENTS",
    "FOUND",
    "GONE",
    "Gap",
    "LARGE_LOSS",
    "LEVEL",
    "MIN_CASES",
    "MIN_RESAMPLES",
    "Paired",
    "RESAMPLES",
    "SE_FLOOR",
    "Verdict",
    "default_margin",
    "drop_pct",
    "gap_closed",
    "mean_gap_closed",
    "holm",
    "is_collapsed",
    "largest_p",
    "lost_much",
    "paired",
    "patient_means",
    "percentile_5",
    "resamples_for",
    "wilcoxon_p",
]
