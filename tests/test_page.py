import json
import re

import plotly.graph_objects as go
import pytest

from searcher.ui.html import page, plots
from searcher.ui.html.page import Section


def test_a_figure_cannot_end_its_script():
    title = "</script><b>&lt;"
    made = page.figure(go.Figure(layout={"title": {"text": title}}), caption="<i>")
    assert made.count("</script>") == 1
    assert "<figcaption>&lt;i&gt;</figcaption>" in made
    spec = re.search(r'<script type="application/json">(.*)</script>', made)
    assert spec is not None
    assert json.loads(spec[1])["layout"]["title"]["text"] == title


def test_a_table_has_numbers_on_the_right_and_what_they_are_sorted_by():
    rows = [["<one>", page.amount("1,000", 1000.0)], ["two", page.amount("")]]
    made = page.table(["name", "score:imt"], rows, trials=[7, 8], sortable=True)
    assert "score:<wbr>imt" in made
    assert '<td class="" data-value="&lt;one&gt;">&lt;one&gt;</td>' in made
    assert '<td class="right" data-value="1000.0">1,000</td>' in made
    assert re.findall(r'<th class="(\w*)"', made) == ["", "right"]
    assert re.findall(r'<tr data-trial="(\d)"', made) == ["7", "8"]


def test_plotly_is_in_pages_with_figures_alone():
    facts = Section(
        "Facts", [page.facts([("a", "<b>")]), page.folded("more", [page.paragraph("x", "warning")])]
    )
    plain = page.page("<u>", [facts], lead="l", foot="f")
    assert len(plain) < 20_000
    assert "<title>&lt;u&gt;</title>" in plain
    assert "<dd>&lt;b&gt;</dd>" in plain
    drawn = page.page("t", [Section("Plot", [page.figure(go.Figure())])])
    assert len(drawn) > 4_000_000


def test_halves_stand_together_in_the_order_of_the_page():
    sections = [Section("a", []), Section("b", [], half=True), Section("c", [], half=True), Section("d", [])]
    made = page.page("t", sections)
    opened, closed = made.index('<div class="halves">'), made.index("</section>\n</div>")
    assert (
        made.index("<h2>a")
        < opened
        < made.index("<h2>b")
        < made.index("<h2>c")
        < closed
        < made.index("<h2>d")
    )


def test_a_name_cannot_end_the_script_of_a_comparison():
    made = page.comparison([(1, "<b>"), (2, "two")], (2, 1), {"trials": {"</script>": "<!--"}})
    assert made.count("</script>") == 1
    assert "<!--" not in made
    assert re.findall(r'<option value="(\d)"( selected)?>', made) == [
        ("1", ""),
        ("2", " selected"),
        ("1", " selected"),
        ("2", ""),
    ]
    assert "1: &lt;b&gt;" in made


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet by name, light and dark."""
    css = page._asset("page.css")
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in css.split("@media screen")[:2])
    return {"light": light, "dark": light | dark}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1 of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_either_scheme(scheme: str):
    """AA of WCAG 2.1: 4.5 for text."""
    colours = schemes()[scheme]
    for ink in ("ink", "soft", "accent", "good", "bad"):
        for ground in ("paper", "tint", "chosen", "alarm"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def test_every_colour_of_a_figure_has_one_for_a_dark_page():
    script = page._asset("page.js")
    dark = dict(re.findall(r'"(#\w{6})": "(#\w{6})"', script[script.index("const DARK") :]))
    named = [value for name, value in vars(plots).items() if name.isupper()]
    used = {
        c
        for value in named
        for c in (value if isinstance(value, tuple) else [value])
        if str(c).startswith("#")
    }
    assert used == set(dark)
    assert dark[plots.PAPER] == schemes()["dark"]["paper"]
    for colour in used - {plots.PAPER, plots.LINES}:
        # AA of WCAG 2.1: 3 for what is drawn.
        assert contrast(colour, plots.PAPER) >= 3, colour
        assert contrast(dark[colour], dark[plots.PAPER]) >= 3, colour
    assert "white" not in plots.figure_of({}, {}).to_json()
