import json
import re

import plotly.graph_objects as go

from searcher import page
from searcher.page import Section


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
