"""Receipt: counts, paths and one sentence."""

from medquanbench.values import FLOAT, Line, Receipt, State, TensorNote


def line(path: str, state: State) -> Line:
    return Line(path, (), "conv 3x3x3", state, "", 10)


RECEIPT = Receipt(
    "w4a4 adaptive",
    (
        line("a", State.QUANTIZED), line("b", State.KEPT), line("c", State.QUANTIZED), line("d", State.NEVER_RUN),
        line("e", State.UNSUPPORTED),
    ),
)  # fmt: skip


def test_count_and_paths():
    assert [RECEIPT.count(state) for state in State] == [2, 1, 1, 1]
    assert RECEIPT.paths(State.QUANTIZED) == ("a", "c") and RECEIPT.paths(State.UNSUPPORTED) == ("e",)
    assert sum(RECEIPT.count(state) for state in State) == len(RECEIPT.lines)


def test_summary_leaves_out_what_there_is_none_of():
    assert RECEIPT.summary() == "2 quantized, 1 kept, 1 unsupported, 1 never-run"
    assert Receipt("fp32", RECEIPT.lines[1:2]).summary() == "1 kept"
    assert Receipt("fp32", ()).summary() == "no layers"


def test_with_lines_changes_nothing_else():
    image = TensorNote(8, "per-channel", 4, 16.0)
    changed = RECEIPT.with_lines(RECEIPT.lines[:1], image)
    assert (changed.recipe, changed.lines, changed.image) == (RECEIPT.recipe, RECEIPT.lines[:1], image)
    assert RECEIPT.image is None and len(RECEIPT.lines) == 5


def test_float_is_32_bits_without_a_scale():
    assert (FLOAT.bits, FLOAT.granularity, FLOAT.effective_bits, FLOAT.elements_per_scale) == (32, "-", 32.0, 0)
    assert line("a", State.KEPT).weight == line("a", State.KEPT).activation == FLOAT
