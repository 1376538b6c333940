"""The table of operators is whole, and what is derived from it is not empty."""

from searcher.compression.engines.channel_pruning import FOLLOWING
from searcher.compression.engines.fx_widths import BETWEEN, FUNCTIONS, MODULES
from searcher.costs.arithmetic import KINDS, MOVES, SWALLOWED, WEIGHED, elementwise, reduction
from searcher.costs.op import UNCOUNTED
from searcher.costs.operators_table import OPERATORS, listed, torchs
from searcher.costs.shapes.channel_rules import BINARY, CHANNELWISE, REDUCTIONS, RESHAPES
from searcher.costs.shapes.fast import QUICK


def test_every_row_has_a_kind_of_its_own_and_every_name_one_row():
    kinds = [row.kind for row in OPERATORS]
    assert len(set(kinds)) == len(kinds)
    for lists in (
        [row.names for row in OPERATORS],
        [f"{row.channelwise} {row.binary} {row.reductions} {row.reshapes}" for row in OPERATORS],
        [f"{row.int8} {row.int8_between}" for row in OPERATORS],
    ):
        names = " ".join(lists).split()
        assert len(set(names)) == len(names)
    assert len(KINDS) + len(MOVES) == len(listed(lambda row: row.names))


def test_every_row_has_one_arithmetic():
    for row in OPERATORS:
        each, window = elementwise(row.kind, (2, 3)), reduction(row.kind, (2, 3), 4)
        assert not (each and window), row.kind
        assert each or window or row.weighed or row.kind == UNCOUNTED, row.kind


def test_what_runs_in_int8_is_in_torch():
    named = listed(lambda row: row.int8) | listed(lambda row: row.int8_between)
    found = {name: torchs(name) for name in named}
    assert all(map(callable, found.values()))
    modules = {name for name in named if name.startswith("nn.")}
    assert len(set(found.values())) == len(MODULES | FUNCTIONS | BETWEEN) == len(named)
    assert {f"nn.{by}" for by in MODULES | BETWEEN if isinstance(by, str)} == modules


def test_no_derived_table_is_empty():
    tables = (SWALLOWED, WEIGHED, CHANNELWISE, BINARY, REDUCTIONS, RESHAPES, FOLLOWING, FUNCTIONS, QUICK)
    assert all(tables)
