"""The search for a recipe: `w4a4 best` (floor 4)."""

from medquanbench.search.request import BEST, BUDGET_MIN, Terms, resolved

__all__ = ["BEST", "BUDGET_MIN", "Terms", "resolved"]
