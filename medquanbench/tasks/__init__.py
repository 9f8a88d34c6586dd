"""Tasks: how outputs become answers and answers become scores. One file and one line here for each (floor 2)."""

from medquanbench.tasks.segmentation import SEGMENTATION
from medquanbench.tasks.targets import Targets
from medquanbench.tasks.task import Answer, Detail, Measurement, Task, Truth

TASKS: dict[str, Task] = {"segmentation": SEGMENTATION}

__all__ = ["TASKS", "Answer", "Detail", "Measurement", "Targets", "Task", "Truth"]
