"""Agreement and calibration: a row a configuration, means as percentages, and n/a where nothing was measured."""

from dataclasses import replace

from medquanbench.report.agreement_section import agreement_section


def with_details(report, value: float | None):
    rows = []
    for entry in report.rows:
        record = entry.record
        cases = tuple(
            replace(case, targets=tuple(replace(t, details=(value,)) for t in case.targets), details=(0.0123,))
            for case in record.cases
        )
        record = replace(record, cases=cases, details=("ece",), case_details=("flip_rate",))
        rows.append(replace(entry, record=record))
    return replace(report, rows=tuple(rows))


def test_measured_columns_stand_with_their_means(make_report):
    html = agreement_section(with_details(make_report(n_cases=3), 0.04567)).html
    assert "Labels flipped (%)" in html and ">1.23<" in html and ">0.0457<" in html
    assert "Brier score</th>" not in html, "a column that was not measured is left out"


def test_what_no_case_has_is_not_available(make_report):
    report = with_details(make_report(n_cases=3), None)
    assert agreement_section(report).html.count(">n/a<") == len(report.rows)


def test_a_record_without_details_shows_what_appeared_or_vanished(make_report):
    report = make_report(n_cases=3)
    assert agreement_section(report).html.count("<tr>") == 1 + len(report.rows)
