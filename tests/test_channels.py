"""Structured pruning as it is predicted, against both engines: they agree, or nothing is predicted."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from searcher.compression.engines.amount import Amount
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, Recipe
from searcher.costs.counting.recorder import record
from searcher.costs.shapes.outline import outline, returned
from searcher.errors import TrialError
from tests.helpers.engines import ENGINES
from tests.helpers.pruned_nets import LOST, REPEATED, SAME

SIZES = (1, 3, 16, 16)


def predicted(build: Callable[[], nn.Module], ratio: float) -> Any:
    model = build().to("meta")
    channels = outline(model, SIZES).channels
    return channels.lost or outline(model, SIZES, channels.after(Amount(ratio).left)).ops


CASES = [*((name, engine) for name in SAME for engine in ENGINES), *((n, "torch-pruning") for n in REPEATED)]


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_pruned_as_predicted(name: str, engine: str) -> None:
    torch.manual_seed(0)
    build = (SAME | REPEATED)[name]
    expected = predicted(build, 0.3)
    net = build().eval()
    small = ENGINES[engine](net, torch.randn(SIZES), 0.3, "l1", returned(net, SIZES))
    found = record(small, torch.randn(SIZES))
    assert not isinstance(expected, str), expected
    reconcile(expected, found, Recipe(model=Model(name=name), stages=()))


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_certain_is_not_predicted(name: str) -> None:
    reason, build = LOST[name]
    assert reason in predicted(build, 0.3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*LOST, *REPEATED])
def test_an_engine_prunes_or_says_in_one_line_that_it_cannot(name: str, engine: str) -> None:
    torch.manual_seed(0)
    said, net = None, REPEATED.get(name) or LOST[name][1]
    try:
        ENGINES[engine](net().eval(), torch.randn(SIZES), 0.3, "l1")(torch.randn(SIZES))
    except TrialError as error:
        said = str(error)
    lines = r"(torch-pruning|NNI) (cannot prune this network: |was asked to remove ).+"
    assert said is None or re.fullmatch(lines, said)
