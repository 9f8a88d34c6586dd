"""Text from outside never becomes a tag."""

from medquanbench.report.markup import Markup, details, image, numeric, numeric_heading, row, table, tag


def test_text_is_escaped_and_markup_is_not():
    assert tag("p", "a < b & 'c'", tag("b", '"d"')).html == "<p>a &lt; b &amp; &#x27;c&#x27;<b>&quot;d&quot;</b></p>"


def test_attributes_are_escaped():
    made = tag("a", "x", css='q" onclick="', attributes=(("href", '"><script>'),)).html
    assert made == '<a class="q&quot; onclick=&quot;" href="&quot;&gt;&lt;script&gt;">x</a>'
    assert image("data:,", '"') == Markup('<img src="data:," alt="&quot;">')


def test_a_cell_is_not_wrapped_twice():
    made = table(["A", numeric_heading("B")], [row(["x", numeric("1")])]).html
    assert made == (
        '<div class="scroll"><table><thead><tr><th scope="col">A</th><th class="number" scope="col">B</th></tr></thead>'
        '<tbody><tr><td>x</td><td class="number">1</td></tr></tbody></table></div>'
    )


def test_details_open_on_a_click():
    assert details("more", tag("p", "x")).html == "<details><summary>more</summary><p>x</p></details>"
