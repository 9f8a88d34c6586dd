"""Numbers as they are printed, and what is said of few cases."""

import pytest

from medquanbench.report import wording
from medquanbench.values import Line, Receipt, State


@pytest.mark.parametrize(
    ("value", "text"), [(None, "n/a"), (-0.00001, "0.0000"), (0.00005001, "+0.0001"), (-0.5, "-0.5000")]
)
def test_signed_numbers_have_no_negative_zero(value, text):
    assert wording.signed(value, 4) == text


@pytest.mark.parametrize(
    ("n_cases", "warning"), [(1, "Only 1 case:"), (5, "no interval"), (6, "wide"), (19, "wide"), (20, "")]
)
def test_few_cases_are_called_few(make_report, n_cases, warning):
    said = wording.few_cases_warning(make_report(names=("liver",), n_cases=n_cases, scene=False))
    assert warning in said and bool(said) == bool(warning)


def test_extras_are_what_bits_and_policy_do_not_say(make_report):
    report = make_report(block=(("fp32", 0.8), ("w4a4 adaptive smooth keep(a) input(8)", 0.7)), n_cases=1)
    assert [wording.extras(row) for row in report.rows] == ["", "smooth keep(a) input(8)"]
    assert [wording.configuration(row) for row in report.rows] == ["FP32", "W4A4 adaptive smooth keep(a) input(8)"]


@pytest.mark.parametrize(
    "lists, short", [("keep(a,b) at8(c,d*,e)", "keep(a,b) at8(c and 2 more)"), ("at8(c,d)", "at8(c,d)")]
)
def test_a_configuration_names_the_first_of_many_layers(make_report, lists, short):
    report = make_report(block=(("fp32", 0.8), (f"w4a4 engine {lists} calib(2,percentile)", 0.7)), n_cases=1)
    assert wording.configuration(report.rows[1]) == f"W4A4 engine {short} calib(2,percentile)"
    assert wording.extras(report.rows[1]) == f"{lists} calib(2,percentile)"


def _line(path: str, tag: str, reason: str, state: State = State.QUANTIZED) -> Line:
    return Line(path, (), "conv 1x1x1", state, "", 1, hardware=tag, hardware_reason=reason)


def test_layers_are_counted_by_what_could_run_them():
    lines = (_line("a", "gemm", "r"), _line("b", "simulation", "s"), _line("c", "gemm", "t"))
    receipt = Receipt("w4a4 adaptive", (*lines, _line("d", "", "", State.KEPT), _line("e", "gemm", "r")))
    assert wording.machines(receipt) == "3 gemm, 1 simulation"
    assert wording.machine_reasons(receipt) == (("gemm", "r"), ("gemm", "t"), ("simulation", "s"))
    nothing = Receipt("fp32", (_line("d", "", "", State.KEPT),))
    assert wording.machines(nothing) == "-" and wording.machine_reasons(nothing) == ()
