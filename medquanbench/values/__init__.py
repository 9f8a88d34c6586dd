"""What flows through the house: frozen values on the standard library alone (floor 0)."""

from medquanbench.values.case import Case
from medquanbench.values.choice import Choice, Cost, LayerGain, Share, Trial, distance
from medquanbench.values.errors import RequestError, RunError, not_found
from medquanbench.values.judgement import EveryLabel, Findings, Judgement, LabelJudgement, Tails
from medquanbench.values.loaded import Loaded
from medquanbench.values.plain import from_plain, to_plain
from medquanbench.values.receipt import FLOAT, Line, Receipt, State, TensorNote
from medquanbench.values.recipe import FLOAT_BITS, FORMATS, WEIGHT_FORMATS, Recipe, Term
from medquanbench.values.record import SCHEMA, CaseResult, Draw, Fact, Presence, Record, Row, Run, Target

__all__ = [
    "Case",
    "CaseResult",
    "Choice",
    "Cost",
    "Draw",
    "EveryLabel",
    "FLOAT",
    "FLOAT_BITS",
    "FORMATS",
    "Fact",
    "Findings",
    "Judgement",
    "LabelJudgement",
    "LayerGain",
    "Line",
    "Loaded",
    "Presence",
    "Receipt",
    "Recipe",
    "Record",
    "RequestError",
    "Row",
    "Run",
    "RunError",
    "SCHEMA",
    "Share",
    "State",
    "Tails",
    "Target",
    "TensorNote",
    "Term",
    "Trial",
    "WEIGHT_FORMATS",
    "distance",
    "from_plain",
    "not_found",
    "to_plain",
]
