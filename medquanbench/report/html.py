"""The page of a study: one HTML file that holds its pictures and opens offline."""

from __future__ import annotations

from medquanbench.report import wording
from medquanbench.report.agreement_section import agreement_section
from medquanbench.report.choice_section import choice_section
from medquanbench.report.labels_section import labels_section, presence_section, scene_section
from medquanbench.report.markup import Content, Markup, definitions, join, section, tag
from medquanbench.report.model import StudyReport
from medquanbench.report.page import page
from medquanbench.report.receipt_section import image_section, receipt_section
from medquanbench.report.results_section import results_section
from medquanbench.report.statistics_section import statistics_section

_LINKS = (
    ("results", "Results"),
    ("structures", "Structures"),
    ("picture", "One slice"),
    ("presence", "Appeared or vanished"),
    ("agreement", "Agreement and calibration"),
    ("receipt", "What was quantized"),
    ("image", "The image"),
    ("statistics", "How to read the numbers"),
    ("facts", "What was run"),
)

_PHANTOM = (
    "The numbers show that the pipeline works and what rounding does to this network. They say nothing about "
    "accuracy in patients."
)
_ORIGIN = "The scores say how far the network agrees with this reference:"
_FOOTER = (
    "Made by medquanbench. The files beside this page hold the numbers (results.csv, labels.csv, cases.csv), all that "
    "is needed to repeat them (record.json), and the arrays of the pictures (figures/)."
)


def report_html(report: StudyReport) -> str:
    """The page as text; it needs nothing outside itself, and the same report gives the same text."""
    body = join(
        (
            _header(report),
            tag("main", join(_sections(report))),
            tag("footer", _FOOTER),
        )
    )
    return page(report.title, body)


def _header(report: StudyReport) -> Markup:
    run = report.reference.record.run
    cases = wording.counted(len(report.reference.record.cases), "case")
    lead = f"Bundle {run.bundle}, variant {run.variant}; dataset {run.dataset}, {run.split} split, {cases}"
    shown = (("best", "What the search chose"), *_LINKS) if report.choices else _LINKS
    links = (tag("a", name, attributes=(("href", f"#{identity}"),)) for identity, name in shown)
    warning = wording.few_cases_warning(report)
    notes = (*report.notes, *([warning] if warning else []))
    return tag(
        "header",
        _banner(report),
        tag("h1", report.title),
        tag("p", lead, css="lead"),
        *(tag("p", note, css="note") for note in notes),
        tag("nav", *links),
    )


def _banner(report: StudyReport) -> Markup:
    if report.phantom:
        return _strip("phantom", wording.PHANTOM, _PHANTOM)
    sentence = f"Measured on images of the dataset {report.reference.record.run.dataset}."
    if report.reference_origin:
        return _strip(
            "real", "Real images, reference not by experts", f"{sentence} {_ORIGIN} {report.reference_origin}."
        )
    return _strip("real", "Real images", sentence)


def _strip(css: str, heading: str, sentence: str) -> Markup:
    return tag("div", tag("strong", heading), sentence, css=f"banner {css}", attributes=(("role", "note"),))


def _sections(report: StudyReport) -> tuple[Content, ...]:
    return (
        results_section(report),
        *((choice_section(report),) if report.choices else ()),
        labels_section(report),
        scene_section(report),
        presence_section(report),
        agreement_section(report),
        receipt_section(report),
        image_section(report),
        statistics_section(report),
        section("facts", "What was run", definitions((fact.name, fact.text) for fact in report.facts)),
    )
