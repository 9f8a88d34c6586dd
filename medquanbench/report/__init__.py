"""Records in, tables, pictures and one HTML page out (floor 2); matplotlib is imported only when a picture is drawn."""

from medquanbench.report.figures import per_label_figure, save_arrays, scene_figure
from medquanbench.report.html import report_html
from medquanbench.report.model import Scene, StudyReport
from medquanbench.report.tables import cases_csv, labels_csv, results_csv, terminal_table

__all__ = [
    "Scene",
    "StudyReport",
    "cases_csv",
    "labels_csv",
    "per_label_figure",
    "report_html",
    "results_csv",
    "save_arrays",
    "scene_figure",
    "terminal_table",
]
