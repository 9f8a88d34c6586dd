"""The policies that need no calibration."""

from medquanbench.quant import POLICIES, needs_calibration
from medquanbench.values import Recipe

DYNAMIC = [name for name in POLICIES if name != "block" and not needs_calibration(Recipe.parse(f"w4a4 {name}"))]
