"""All stages on the untrained network: what cannot be done is told before anything is trained."""

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.errors import SearcherError, TrialError
from searcher.execution import rehearsal
from searcher.execution.rehearsal import rehearse, rehearse_once
from searcher.searching.check import rehearsals

CPU = torch.device("cpu")
INT8 = Quantize(calibration_images=16)
TINY = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]})
EVERY = (
    Train(mixup=0.2),
    Distill(teacher=TINY),
    PruneChannels(ratio=0.5),
    PruneWeights(sparsity=0.5, steps=3),
    INT8,
)


class Shuffled(nn.Module):
    """A channel shuffle between two convolutions, as torch-pruning gets it wrong."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv, self.next, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, classes)

    def forward(self, x):
        x = self.conv(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.next(x).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 4, stride=4), nn.Linear(8, classes)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x)[0].mean(1))


def recipe(*stages, name=None):
    return Recipe(model=Model(name=f"tests.test_rehearsal:{name}") if name else TINY, stages=stages)


@pytest.fixture(scope="module")
def digits():
    return tasks.entry("digits").load()


def run(digits, store=None):
    return Run(digits, 2, 0, CPU, lambda *progress: None, store=store)


def test_every_stage_is_rehearsed(digits):
    network = rehearse(recipe(*EVERY), digits, CPU)
    assert network.prepared is not None
    with torch.no_grad():
        assert network.executed(digits.example()).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("Shuffled", PruneChannels(ratio=0.5), "in a rehearsal, before any training: torch-pruning"),
        ("Attention", INT8, "in a rehearsal, before any training: .*attention.out_proj is not executed"),
    ],
)
def test_what_an_engine_cannot_do_is_told_before_a_training(digits, name, stage, message):
    with pytest.raises(TrialError, match=message):
        rehearse_once(recipe(Train(), stage, name=name), run(digits))


def test_no_split_is_seen_but_its_first_images(digits, monkeypatch):
    seen = []
    ran = rehearsal.run_recipe
    monkeypatch.setattr(rehearsal, "run_recipe", lambda recipe, run: seen.append(run) or ran(recipe, run))
    rehearse(recipe(Train(), INT8), digits, CPU)
    assert [len(seen[0].task.train), len(seen[0].task.validation)] == [rehearsal.REHEARSAL_IMAGES] * 2
    assert seen[0].store is None


def test_it_is_rehearsed_once_for_all_ratios_and_not_where_nothing_trains(digits, tmp_path, monkeypatch):
    count = []
    monkeypatch.setattr(rehearsal, "rehearse", lambda *args: count.append(args))
    with_store = run(digits, Store(tmp_path))
    for ratio in (0.3, 0.5):
        rehearse_once(recipe(Train(lr=ratio), PruneChannels(ratio=ratio)), with_store)
    assert len(count) == 1
    rehearse_once(recipe(Train(), PruneChannels(ratio=0.5, engine="nni")), with_store)
    assert len(count) == 2
    assert Store(tmp_path).entries() == []
    # What only trains has nothing that an engine could refuse.
    rehearse_once(recipe(Train(mixup=0.2), Train()), run(digits))
    assert len(count) == 2
    # A teacher may not fit.
    rehearse_once(recipe(Train(), Distill(teacher=TINY)), run(digits))
    assert len(count) == 3


def test_check_says_which_recipes_cannot_be_executed(digits):
    good, bad = recipe(Train()), recipe(Train(), INT8, name="Attention")
    (line,) = rehearsals([good, bad, bad], digits)
    assert line.startswith("tests.test_rehearsal:Attention; int8: in a rehearsal")
    with pytest.raises(SearcherError, match="no recipe of the space that was tried can be executed"):
        rehearsals([bad], digits)
