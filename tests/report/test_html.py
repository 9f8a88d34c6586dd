"""The page: well-formed, self-contained, safe with any name, and clear about phantoms."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from medquanbench.report import report_html
from medquanbench.values import Fact

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Keeps the open tags, all attributes, identities and visible text; a wrong end tag fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def html(report) -> str:
    return report_html(report)


@pytest.fixture(scope="module")
def words(html) -> str:
    return Page(html).words


def test_the_page_is_well_formed_and_needs_nothing_outside_itself(html):
    page = Page(html)
    assert page.open == []
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert links and all(value.startswith(("data:image/", "#")) for value in links)
    assert {value[1:] for value in links if value.startswith("#")} <= {v for name, v in page.attributes if name == "id"}
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in html and "@import" not in html


def test_a_page_without_a_slice_says_so(small):
    page = Page(report_html(replace(small, scene=None)))
    assert page.open == [] and "No slice was kept" in page.words


def test_names_from_outside_are_only_text(small):
    report = small
    bad = "<script>alert('x')</script>"
    rows = tuple(
        replace(
            row,
            record=replace(
                row.record,
                run=replace(row.record.run, bundle=bad, dataset=bad),
                cases=tuple(
                    replace(case, case=bad, targets=tuple(replace(t, name=bad + t.name) for t in case.targets))
                    for case in row.record.cases
                ),
            ),
        )
        for row in report.rows
    )
    facts, names = (Fact(bad, bad),), tuple((index, bad + name) for index, name in report.label_names)
    html = report_html(
        replace(report, rows=rows, title=bad, facts=facts, notes=(bad,), tolerances=bad, intensity_unit=bad,
                label_names=names, scene=replace(report.scene, case=bad, axis_note=bad))
    )  # fmt: skip
    page = Page(html)
    assert page.open == [] and "script" not in page.tags
    assert page.words.count(bad) >= 10


def test_a_phantom_is_named_at_the_top_and_under_every_figure(html, small):
    assert html.index("PHANTOM: generated images") < html.index("<h1>")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert len(captions) == 2 and all("PHANTOM: generated images, not patients" in caption for caption in captions)
    real = Page(report_html(replace(small, phantom=False))).words
    assert "PHANTOM" not in real and "Real images" in real and "not by experts" not in real


def test_a_reference_that_no_expert_drew_is_named_at_the_top(small):
    html = report_html(replace(small, phantom=False, reference_origin="model output of <X>"))
    assert "Real images, reference not by experts" in html and html.index("model output of &lt;X&gt;") < html.index(
        "<h1>"
    )


def test_the_main_table_holds_the_numbers_and_verdicts(report, words):
    minus = "\N{MINUS SIGN}"
    row = report.rows[5]
    said = row.primary
    assert f"W4A4per-tensor0.000(100.0%)0.000(100.0%){minus}{-said.difference:.4f} [{minus}{-said.ci_low:.4f}" in words
    assert "6 quantized configurations against FP32 on 8 cases: 2 non-inferior, 3 inferior, 1 inconclusive." in words


def test_each_metric_has_its_statistics_and_the_tails_their_table(words):
    assert "DSC: difference, margin and p" in words and "NSD: difference, margin and p" in words
    said = "".join(words.split("DSC: difference, margin and p")[1].split("NSD: difference")[0].split())
    assert "W8A8per-channel\N{MINUS SIGN}0.0010" in said and "non-inferior0.0020.0018<0.001<0.0010.031" in said
    assert "\N{MINUS SIGN}0.06543 casesspleen" in words
    assert "Verdicts: NSD per structure, W4A4 adaptive (13 " in words


def test_too_few_cases_leave_every_structure_untested(make_report):
    words = Page(report_html(make_report(n_cases=3, names=("liver", "aorta"), scene=False))).words
    assert "inconclusive (2 not tested)" in words


def test_transforms_stand_in_the_table(make_report):
    words = Page(
        report_html(make_report(block=(("fp32", 0.8), ("w4a4 adaptive svd(rank=4) keep(a.*)", 0.7)), names=("liver",)))
    ).words
    assert "adaptivesvd(rank=4) keep(a.*)" in words


def test_hallucinated_lost_and_not_counted_structures_are_counted(words):
    assert "W4A4 per-tensor01040" in words.replace("\n", "")  # 13 labels lost in 8 cases
    assert "lost: liver in case_000 (900 voxels in the reference, 0 predicted)" in words
    assert "and 64 more, see cases.csv" in words


def test_the_image_row_is_in_the_unit_of_the_image(words):
    assert "Median step (HU)" in words and "31.2" in words and "32.7" in words


def test_few_cases_are_called_few_where_they_matter(make_report):
    words = Page(report_html(make_report(n_cases=3, names=("liver",), scene=False))).words
    assert words.count("Only 3 cases: no interval and no test is given below 6") == 2
    assert "[no interval]" in words


def test_a_study_of_the_reference_alone_has_a_page(make_report):
    words = Page(report_html(make_report(block=(("fp32", 0.8),), names=("liver",)))).words
    assert "Only the FP32 reference was run" in words


def test_the_same_report_gives_the_same_page(small):
    assert report_html(small) == report_html(small)


def test_rows_without_any_score_have_a_page(make_report):
    report = make_report(n_cases=1, names=("liver",))
    rows = tuple(
        replace(
            row,
            means=(None, None),
            drops_pct=(None, None),
            record=replace(
                row.record,
                cases=tuple(
                    replace(case, targets=tuple(replace(t, scores=(None, None)) for t in case.targets))
                    for case in row.record.cases
                ),
            ),
        )
        for row in report.rows
    )
    page = Page(report_html(replace(report, rows=rows)))
    assert page.open == [] and "n/a (n/a)" in page.words.replace("n/a(", "n/a (")
