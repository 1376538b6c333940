"""The weights that each pattern and criterion takes of layers made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from searcher import tasks
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.engines.weight_masks import weight_masks
from searcher.compression.movement import Movement
from searcher.compression.stages.prune_weights import prune_weights
from searcher.compression.training import Run
from searcher.config.recipe import PruneWeights
from searcher.errors import TrialError
from searcher.models import build


def linear(rows: list[list[float]]) -> nn.Module:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows).float()
    return nn.Sequential(layer)


def masked(model: nn.Module, *asked: Any) -> list[list[float]]:
    masks = weight_masks(model, *asked)
    assert list(masks) == ["0.weight"]
    return masks["0.weight"].tolist()


def test_two_of_four_keeps_the_larger_two() -> None:
    model = linear([[1, -3, 2, 0.5, 9, 8, 7, 6], [0.1, 0, 0, 1, -1, -2, -3, -4]])
    expected = [[0, 1, 1, 0, 1, 1, 0, 0], [1, 0, 0, 1, 0, 0, 1, 1]]
    assert masked(model, 0.5, "global", "all", "2:4") == expected


def test_blocks_of_four_output_channels_go_together() -> None:
    model = linear([[1, 9], [-1, 0], [1, 0], [1, 0], [3, 0.1], [3, 0.1], [3, 0.1], [3, 5]])
    # Means: 1, 2.25; 3, 1.325.
    assert masked(model, 0.25, "local", "all", "4x1") == [[0, 1]] * 4 + [[1, 1]] * 4
    assert masked(model, 0.5, "global", "all", "4x1") == [[0, 1]] * 4 + [[1, 0]] * 4


@example(16982, (12, 16, 1, 1), "global")
@given(
    st.integers(0, 2**16),
    st.sampled_from([(4, 8, 3, 3), (8, 4, 1, 1), (12, 16, 1, 1)]),
    st.sampled_from(["local", "global"]),
)
def test_patterns_hold_in_every_convolution(seed: int, shape: tuple[int, ...], scope: str) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(shape[1], shape[0], shape[2], bias=False)
    model = nn.Sequential(conv)
    twos = weight_masks(model, 0.5, scope, "all", "2:4")["0.weight"]
    fours = twos.movedim(1, -1).reshape(-1, 4)
    assert (fours.sum(1) == 2).all()
    weights = conv.weight.detach().abs().movedim(1, -1).reshape(-1, 4)
    assert ((weights * fours).sum(1) >= (weights * (1 - fours)).sum(1)).all()
    blocks = weight_masks(model, 0.5, scope, "all", "4x1")["0.weight"].view(-1, 4, *shape[1:])
    assert torch.equal(blocks.amin(1), blocks.amax(1))
    kept = blocks[:, 0]  # in whole numbers: half of them to one block, as two with the same score go together
    assert abs(int(kept.sum()) - kept.numel() / 2) <= 1


def test_what_does_not_come_out_even_stays_dense() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(24, 10))
    assert list(weight_masks(model, 0.5, "global", "all", "2:4")) == ["1.weight", "3.weight"]
    assert list(weight_masks(model, 0.5, "global", "all", "4x1")) == ["0.weight"]
    assert list(weight_masks(model, 0.5, "global", "convolutions")) == ["0.weight", "1.weight"]
    with pytest.raises(TrialError, match="no convolution with a multiple of 4 input channels"):
        weight_masks(model[:1], 0.5, "global", "convolutions", "2:4")


def test_the_lowest_scores_go_whatever_the_weights_and_zeros_first() -> None:
    model = linear([[9, 0, 1, 2]])
    scores = {"0": torch.tensor([[-5.0, 7.0, -1.0, 3.0]])}
    for scope in ("local", "global"):
        assert masked(model, 0.25, scope, "all", "single", scores) == [[1, 0, 1, 1]]
        assert masked(model, 0.5, scope, "all", "single", scores) == [[0, 0, 1, 1]]


def test_weights_that_move_to_zero_have_the_lower_score() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0, -1.0, -1.0]))
    moved = Movement({"a": weight})
    moved.add()
    assert torch.equal(moved.scores["a"], torch.zeros(4))
    for _ in range(2):
        # Down the gradient the first and the last come nearer to zero.
        weight.grad = torch.tensor([2.0, -2.0, 3.0, -3.0])
        moved.add()
    assert moved.scores["a"].tolist() == [-4.0, 4.0, 6.0, -6.0]
    again = Movement({"a": weight})
    again.load_state_dict(moved.state_dict())
    assert torch.equal(again.scores["a"], moved.scores["a"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("epochs", range(1, 6))
def test_movement_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, epochs: int) -> None:
    torch.set_num_threads(1)
    task = tasks.entry("digits").load().trained_on(256)
    stage = PruneWeights(sparsity=0.6, steps=2, criterion="movement", lr=0.02)
    left = [epochs]

    def report(*point: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def made(run: Run) -> nn.Module:
        torch.manual_seed(0)
        model = build("densenet", {"growth_rate": 2, "blocks": [1, 1]}, in_channels=1, classes=10)
        return prune_weights(model, stage, run)

    run = Run(task, 5, 0, torch.device("cpu"), lambda *point: None)
    whole = made(run).state_dict()
    with pytest.raises(Killed):
        made(replace(run, report=report, checkpoints=Checkpoints(tmp_path)))
    again = made(replace(run, checkpoints=Checkpoints(tmp_path))).state_dict()
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    zeros = [(value == 0).float().mean() for name, value in whole.items() if value.dim() > 1]
    assert max(zeros) > 0.5
