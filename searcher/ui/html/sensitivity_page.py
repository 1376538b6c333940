"""The sensitivity of a network's blocks as a page: a heat map of blocks by techniques, and the table."""

import plotly.graph_objects as go

from searcher.searching.sensitivity import Sensitivity
from searcher.ui.html import page
from searcher.ui.html.plots import ORANGE, PAPER, figure_of, titled
from searcher.ui.terminal.sensitivity import lead, points

ROW_HEIGHT = 34
"""Pixels of a block in the heat map."""


def heat_map(found: Sensitivity) -> go.Figure:
    """The points that each technique costs in each block, in the order of the network."""
    blocks = list(found.params)
    techniques = list(dict.fromkeys(effect.technique for effect in found.effects))
    by_place = {(effect.block, effect.technique): effect for effect in found.effects}
    cells = [[by_place[block, technique] for technique in techniques] for block in blocks]
    chart = figure_of(titled("technique"), titled("block") | {"autorange": "reversed", "type": "category"})
    chart.add_heatmap(
        x=techniques,
        y=blocks,
        z=[[found.loss(effect) for effect in row] for row in cells],
        text=[[points(found, effect) for effect in row] for row in cells],
        texttemplate="%{text}",
        customdata=[[effect.reason or f"{effect.quality:.4f}" for effect in row] for row in cells],
        hovertemplate="%{y}, %{x}: %{text} points, %{customdata}<extra></extra>",
        colorscale=[[0, PAPER], [1, ORANGE]],
        zmin=0,
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": "loss, points"}, "thickness": 12},
    )
    chart.update_layout(height=110 + ROW_HEIGHT * len(blocks))
    return chart


def sensitivity_page(found: Sensitivity) -> str:
    """The whole page."""
    cells = [
        [
            page.text(effect.block),
            page.text(effect.technique),
            page.amount(points(found, effect), _sorted_by(found.loss(effect))),
            page.amount("–" if effect.quality is None else f"{effect.quality:.4f}", effect.quality or 0.0),
            page.amount(f"{found.params[effect.block]:,}", found.params[effect.block]),
            page.text(effect.reason),
        ]
        for effect in found.ordered()
    ]
    headers = ("block", "technique", "loss, points", found.figure, "parameters", "")
    note = "One block at a time is compressed, without finetuning; the others are as they came."
    return page.page(
        f"Sensitivity of {found.title}",
        [
            page.Section("Loss by block and technique", [page.figure(heat_map(found))], note),
            page.Section("The least harmful first", [page.table(headers, cells, sortable=True)]),
        ],
        lead=lead(found),
    )


def _sorted_by(loss: float | None) -> float:
    return 1e9 if loss is None else loss
