"""What pruning leaves goes on from its own values, from the recipe's first ones, or from new ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.build import start
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.pipeline import run_recipe, run_stages
from searcher.compression.store import Store
from searcher.compression.training import Run, fit
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Recipe, Stage, Train

NET = Model(name="densenet", args={"growth_rate": 4, "groups_1x1": 2, "blocks": [1, 2, 1, 1]})
TASK = tasks.entry("digits").load().trained_on(200)
EPOCHS, SEED = 4, 3
CHANNELS: dict[str, Any] = {"kind": "prune_channels", "ratio": 0.4, "share": 0}
WEIGHTS: dict[str, Any] = {"kind": "prune_weights", "sparsity": 0.5, "share": 0}
both = pytest.mark.parametrize("asked", [CHANNELS, WEIGHTS], ids=["channels", "weights"])
engines = pytest.mark.parametrize("engine", ["torch-pruning", "nni"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def recipe(*stages: Any) -> Recipe:
    return Recipe.model_validate({"model": NET, "stages": stages})


def a_run(report: Callable[..., None] = lambda *point: None, **named: Any) -> Run:
    return Run(TASK, EPOCHS, SEED, torch.device("cpu"), report, **named)


def made(*stages: Any, run: Run | None = None) -> nn.Module:
    return run_recipe(recipe(*stages), run or a_run()).architecture


def began(seed: int = SEED) -> nn.Module:
    torch.manual_seed(seed)
    return start(NET, TASK)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def masks(net: nn.Module) -> dict[str, Tensor]:
    kinds = (nn.Conv2d, nn.Linear)
    return {f"{n}.weight": m.weight != 0 for n, m in net.named_modules() if isinstance(m, kinds)}


@pytest.mark.parametrize("steps", [1, 3])
def test_a_rewound_weight_is_its_first_one_where_the_mask_is_one(steps: int) -> None:
    trained = made(Train(), WEIGHTS | {"steps": steps})
    rewound = made(Train(), WEIGHTS | {"steps": steps, "after": "rewind"})
    first, found = began().state_dict(), rewound.state_dict()
    for name, mask in masks(rewound).items():
        assert torch.equal(found[name], first[name] * mask)
    assert all(torch.equal(found[n], value) for n, value in first.items() if n not in masks(rewound))
    every = torch.cat([mask.flatten() for mask in masks(rewound).values()])
    assert float(every.float().mean()) == pytest.approx(0.5, abs=0.01)
    if steps == 1:
        expected = masks(trained)
        assert all(torch.equal(mask, expected[name]) for name, mask in masks(rewound).items())


def test_between_steps_the_rewound_weights_are_trained_and_judged() -> None:
    once, steps = (made(Train(), WEIGHTS | {"steps": s, "after": "rewind", "share": 1}) for s in (1, 2))
    assert not same(once, steps)


@engines
@pytest.mark.parametrize("steps", [1, 2])
def test_channels_that_are_left_have_their_first_values(engine: str, steps: int) -> None:
    asked = CHANNELS | {"engine": engine, "steps": steps, "criterion": "random"}
    finetuned, rewound = (made(Train(), asked | {"after": after}) for after in ("finetune", "rewind"))
    trained, first = made(Train()).state_dict(), began().state_dict()
    left = finetuned.state_dict()
    for name, value in rewound.state_dict().items():
        # What was kept is told by the trained values, no two of which are the same.
        if value.dim() == 4:
            kept = [_place(trained[name], one) for one in left[name].flatten()]
            assert torch.equal(value.flatten(), first[name].flatten()[kept])
    assert all(not value for n, value in rewound.state_dict().items() if n.endswith("tracked"))


def _place(values: Tensor, one: Tensor) -> int:
    (place,) = (values.flatten() == one).nonzero().flatten().tolist()
    return int(place)


@both
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_early_epoch_is_the_trainings_own(asked: dict[str, Any], ema: float) -> None:
    snapshots: dict[int, dict[str, Tensor]] = {}
    model = began()

    def report(stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        snapshots[epoch] = {name: value.clone() for name, value in model.state_dict().items()}

    torch.manual_seed(SEED)
    fit(model, a_run(report), Train(ema=ema), "train")
    assert sorted(snapshots) == [1, 2, 3, 4]
    rewound = made(Train(ema=ema), asked | {"after": "rewind", "rewind_to": 0.5})
    found, epoch = rewound.state_dict(), snapshots[2]
    if "ratio" in asked:
        for name, value in found.items():
            assert torch.isin(value, epoch[name]).all()
    else:
        for name, mask in masks(rewound).items():
            assert torch.equal(found[name], epoch[name] * mask)


@both
@pytest.mark.parametrize(
    "how", [{"after": "rewind"}, {"after": "rewind", "rewind_to": 0.5}, {"after": "reinitialize"}], ids=str
)
def test_the_store_gives_it_back_bitwise(asked: dict[str, Any], how: dict[str, Any], tmp_path: Path) -> None:
    stages = (Train(), asked | how | {"share": 0.5, "steps": 2})
    points: list[Any] = []
    run = a_run(store=Store(tmp_path))
    plain, first = made(*stages), made(*stages, run=run)
    found = made(*stages, run=replace(run, report=lambda *point: points.append(point)))
    assert same(plain, first)
    assert same(first, found)
    assert points == []
    # What was trained to an early epoch is no entry of the whole training.
    whole = made(Train(), run=run)
    assert same(whole, made(Train()))


class Killed(Exception):
    pass


@both
@pytest.mark.parametrize("reports", [3, 5, 6, 7, 8])
def test_what_was_killed_goes_on_to_the_same_weights(
    asked: dict[str, Any], reports: int, tmp_path: Path
) -> None:
    stages = (Train(), asked | {"after": "rewind", "rewind_to": 0.25, "share": 0.75, "steps": 2})
    left = [reports]

    def report(*point: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with pytest.raises(Killed):
        made(*stages, run=a_run(report, checkpoints=Checkpoints(tmp_path)))
    assert same(made(*stages, run=a_run(checkpoints=Checkpoints(tmp_path))), made(*stages))


def test_an_early_epoch_is_trained_once_and_is_no_progress(tmp_path: Path) -> None:
    points: list[Any] = []
    run = a_run(lambda *point: points.append(point), store=Store(tmp_path))
    early = {"after": "rewind", "rewind_to": 0.5}
    made(Train(), CHANNELS | early, run=run)
    assert [p[:3] for p in points] == [*(("train", e, 4) for e in range(1, 5)), *[("rewind", 0, 2)] * 2]
    points.clear()
    made(Train(), WEIGHTS | early, run=run)
    assert points == []


@both
def test_reinitialized_weights_are_of_another_draw_and_always_the_same(asked: dict[str, Any]) -> None:
    nets = [made(Train(), asked | {"after": "reinitialize"}) for _ in range(2)]
    assert same(*nets)
    rewound = made(Train(), asked | {"after": "rewind"})
    assert [v.shape for v in nets[0].state_dict().values()] == [
        v.shape for v in rewound.state_dict().values()
    ]
    stem, other = (net.state_dict()["stem.weight"] for net in (nets[0], rewound))
    assert not ((stem == other) & (stem != 0)).any()
    assert stem.std() == pytest.approx(float(other.std()), rel=0.3)


@both
def test_a_distillation_before_is_rewound_to_too(asked: dict[str, Any]) -> None:
    teacher = Model(name="densenet", args={"growth_rate": 2, "blocks": [1, 1, 1, 1]})
    points: list[Any] = []
    stages: list[Stage | dict[str, Any]] = [
        Distill(teacher=teacher), asked | {"after": "rewind", "rewind_to": 0.25}
    ]  # fmt: skip
    made(*stages, run=a_run(lambda *point: points.append(point)))
    # Its teacher is trained whole again, where no store has it.
    assert [p[:3] for p in points if p[0] == "rewind"] == [("rewind", 0, 1)] * (EPOCHS + 1)


@both
def test_a_network_of_ones_own_is_rewound_to_how_it_came(asked: dict[str, Any]) -> None:
    model = began()
    stages = recipe(Train(), asked | {"after": "rewind"}).stages
    assert same(run_stages(began(), stages, a_run()).architecture, made(*stages))
    redrawn = run_stages(model, recipe(Train(), asked | {"after": "reinitialize"}).stages, a_run())
    assert not same(redrawn.architecture, made(*stages))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([WEIGHTS | {"rewind_to": 0.5}], "rewind_to is of after rewind, not of finetune"),
        ([WEIGHTS | {"after": "rewind", "rewind_to": 0.5}], "no training is before it"),
        ([Train(), CHANNELS, WEIGHTS | {"after": "rewind"}], "do not fit what prune_channels makes of the"),
        ([WEIGHTS, WEIGHTS | {"after": "reinitialize"}], "do not fit what prune_weights makes"),
        ([Train(), CHANNELS | {"after": "rewnd"}], "Input should be 'finetune', 'rewind' or 'reinitialize'"),
    ],
)
def test_what_cannot_be_gone_back_to_is_refused(stages: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(*stages)


def test_words() -> None:
    said = recipe(Train(), CHANNELS | {"after": "rewind", "rewind_to": 0.1}).words()
    assert said.endswith("channels -40% (l1, rewound to 10%, torch-pruning)")
    assert PruneWeights(sparsity=0.5, after="reinitialize", steps=2).words() == (
        "50.0% sparse (global, reinitialized in 2 steps)"
    )
    assert PruneChannels(ratio=0.5, after="rewind").words() == "channels -50% (l1, rewound, torch-pruning)"
