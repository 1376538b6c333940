"""A space made from any model: what is in it, what is left out and why; and a search of one."""

from pathlib import Path

import optuna
import pytest
import torch

from searcher import tasks
from searcher.compression.predict import predict
from searcher.config import catalog
from searcher.config.examined import Examined
from searcher.config.recipe import Model, Quantize, Recipe, Train
from searcher.errors import SearcherError
from searcher.execution import examination
from searcher.execution.examination import examine
from searcher.execution.rehearsal import rehearse
from searcher.searching.check import check_parts, describe
from searcher.searching.loading import load_space
from searcher.searching.storage.studies import load
from tests.helpers import own_nets
from tests.helpers.studies import study

NETS = ("cnn", "ResNet", "depthwise", "Transformer", "Branching")
SPACE = catalog.load(catalog.find("spaces", "module"))
OFF = {"channels_ratio": 0.0, "sparsity": 0.0}


def model(name: str, weights: Path | None = None) -> Model:
    return Model(name=f"tests.helpers.own_nets:{name}", weights=str(weights) if weights else None)


def asked(name: str, **changes):
    content = {"space": "module", "model": model(name).model_dump(), "constraints": ()}
    return study(**content | changes)


def axes(examined: Examined) -> set[str]:
    """All that the space asks for, whatever is chosen."""
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    names: set[str] = set()
    for _ in range(40):
        trial = drawing.ask()
        assert SPACE.suggest(trial, examined).model == examined.model
        names |= set(trial.params)
    return names


TRAINS = {"lr", "sparsity", "sparsity_scope"}
PRUNES = {"channels_ratio", "channels_criterion", "channels_engine", "distill"}
IN_INT8 = {"int8"}
NO_CHANNELS = {
    "prune_channels torch-pruning": "mlp.0 differs from what it was with the removed channels at zero",
    "prune_channels nni": "could remove 0.0%",
}
FOUND = {
    "cnn": (TRAINS | PRUNES | IN_INT8, ["0-1", "3-4", "8"], {}, {}),
    "ResNet": (
        TRAINS | PRUNES | IN_INT8,
        ["stem", "layer1", "layer2.body.0-1", "layer2.body.3-4", "layer2.shortcut", "fc"],
        {},
        {},
    ),
    "depthwise": (
        TRAINS | PRUNES | IN_INT8,
        ["0-1", "3-4", "6-7", "9-10", "12-13", "15-16", "18-19", "23"],
        {},
        {},
    ),
    "Transformer": (
        TRAINS | IN_INT8,
        ["patches", "norm", "attention", "mlp", "head"],
        NO_CHANNELS,
        {"attention": "attention.out_proj is not executed"},
    ),
    "Branching": (
        TRAINS | PRUNES,
        ["body.0-1", "head"],
        {"prune_channels nni": "control flow", "quantize": "Branching cannot be traced"},
        {},
    ),
}


@pytest.fixture(scope="module")
def found():
    return {name: examine(model(name), "digits") for name in NETS}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_axes_of_a_model_are_what_can_be_done_with_it(name, found):
    examined = found[name]
    wanted, blocks, refused, kept_out = FOUND[name]
    assert {axis for axis in axes(examined) if not axis.startswith("exclude_")} == wanted
    assert list(examined.blocks) == blocks
    for given, known in ((examined.refused, refused), (examined.kept_out, kept_out)):
        assert given.keys() == known.keys()
        assert all(known[what] in reason for what, reason in given.items())
    assert len(examined.left_out()) == len(refused) + len(kept_out)
    asked = {axis.removeprefix("exclude_") for axis in axes(examined) if axis.startswith("exclude_")}
    assert asked == (set(blocks) - set(kept_out) if "quantize" not in refused else set())


@pytest.mark.slow
def test_a_drawn_recipe_can_be_executed_and_is_predicted(found):
    task = tasks.entry("digits").load()
    for name, examined in found.items():
        drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
        recipe = SPACE.suggest(drawing.ask(), examined)
        rehearse(recipe, task, torch.device("cpu"))
        assert (predict(recipe, task.image, task.classes).ops is None) == (name == "Branching")


def test_a_search_begins_with_the_network_as_it_came(found):
    for name, examined in found.items():
        space = load_space(asked(name))
        assert space.examined == examined
        assert space.as_it_came == space.suggest(optuna.trial.FixedTrial(space.known[0]))
        assert [stage.kind for stage in space.as_it_came.stages] == ["train"]
        assert len(space.known) == (1 if name == "Branching" else 2)


def weights(folder: Path, classes: int = 10) -> Path:
    torch.save(own_nets.ResNet(classes).state_dict(), folder / "resnet.pt")
    return folder / "resnet.pt"


@pytest.mark.slow
def test_a_model_with_weights_is_measured_first_and_finetuned_later(tmp_path):
    given = model("ResNet", weights(tmp_path))
    space = load_space(asked("ResNet", model=given.model_dump()))
    assert space.examined.whole
    assert space.as_it_came == Recipe(model=given, stages=())
    params = {"finetune": False, "sparsity": 0.0, "channels_ratio": 0.5, "lr": 5e-4, "int8": False}
    ways = {"distill": True, "channels_criterion": "l1", "channels_engine": "nni"}
    pruned, distill = space.suggest(optuna.trial.FixedTrial(params | ways)).stages
    assert (pruned.ratio, pruned.share, distill.teacher) == (0.5, 0.0, given)
    assert distill.teacher_training.share == 0
    finetuned = space.suggest(optuna.trial.FixedTrial(OFF | {"finetune": True, "lr": 1e-4, "int8": False}))
    assert finetuned.stages == (Train(optimizer="adam", weight_decay=0.0, lr=1e-4, batch_size=16),)


@pytest.mark.slow
def test_weights_with_another_head_are_trained_first_and_said(tmp_path):
    searched = asked("ResNet", model=model("ResNet", weights(tmp_path, 1000)).model_dump())
    space = check_parts(searched)
    assert not space.examined.whole
    assert [stage.kind for stage in space.as_it_came.stages] == ["train"]
    lines = describe(searched, space)
    assert "  weights of fc are new: 1,000 classes in the file, 10 here" in lines


def test_what_is_left_out_is_said_by_check(found):
    searched = asked("Branching")
    lines = [line for line in describe(searched, check_parts(searched)) if line.startswith("  left out, ")]
    assert lines == [f"  left out, {line}" for line in found["Branching"].left_out()]
    assert len(lines) == 2


def test_what_is_kept_out_of_int8_always_is():
    examined = Examined(model=model("cnn"), blocks={"a": ("a",), "b-c": ("b", "c")}, kept_out={"b-c": "no"})
    choices = OFF | {"lr": 2e-3, "int8": True, "exclude_a": False}
    *_, last = SPACE.suggest(optuna.trial.FixedTrial(choices), examined).stages
    assert last == Quantize(exclude={"b": 32, "c": 32})


def test_a_model_is_examined_once_for_its_code_and_weights(tmp_path, monkeypatch):
    count = []
    monkeypatch.setattr(examination, "_refusal", lambda *args: count.append(args) or "")
    examination._examined.cache_clear()
    first = examine(model("Branching"), "digits", store=tmp_path)
    done = len(count)
    examination._examined.cache_clear()
    assert examine(model("Branching"), "digits", store=tmp_path) == first
    assert len(count) == done > 0
    (file,) = tmp_path.iterdir()
    file.write_text("{}")
    assert examine(model("Branching"), "digits", store=tmp_path) == first
    assert len(count) == 2 * done
    examine(
        Model(name="tests.helpers.own_nets:Branching", args={"num_classes": 10}), "digits", store=tmp_path
    )
    assert len(count) == 3 * done
    examination._examined.cache_clear()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": None}, 'space module is one of a given model: model = "my_package.nets:build"'),
        ({"space": "micronet"}, "space micronet makes models of its own, and takes none"),
        ({"model": "tests.helpers.own_nets:Untrainable"}, "cannot be trained on digits: "),
        (
            {"model": "tests.helpers.own_nets:nothing"},
            "no function in tests.helpers.own_nets named 'nothing'",
        ),
        ({"model": "tests.helpers.own_nets:convolution"}, "cannot be built with {}: TypeError"),
        ({"model": "nowhere:net"}, "cannot import 'nowhere'"),
        ({"model": {"name": "resnet20", "weights": "none.pt"}}, "weights none.pt: No such file or directory"),
        ({"model": {"name": f"{own_nets.__name__}:cnn", "args": {"num_classes": 7}}}, "10"),
    ],
)
def test_a_model_that_cannot_be_searched_is_one_error(changes, said):
    with pytest.raises(SearcherError) as caught:
        check_parts(asked("cnn", **changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_budget_that_nothing_can_meet_is_told_with_the_nearest():
    with pytest.raises(SearcherError) as caught:
        check_parts(asked("cnn", constraints=({"metric": "macs", "at_most": "0.01x"},)))
    assert "no recipe of space module that was found satisfies macs <= 0.01x (832.6)" in str(caught.value)
    assert "the nearest has macs predicted " in str(caught.value)
    within = asked("cnn", constraints=({"metric": "macs", "at_most": "0.5x"},))
    check_parts(within)
    assert str(within.constraints[0]) == "macs <= 0.5x (41,632)"


STUDY = """
task = "digits"
space = "module"
model = "nets:cnn"
[[objectives]]
metric = "top1"
goal = "maximize"
[[objectives]]
metric = "size_mb"
goal = "minimize"
[[constraints]]
metric = "macs"
at_most = "0.9x"
[[constraints]]
metric = "top1"
at_most_drop = 0.9
[budget]
trials = 4
epochs = 2
"""


@pytest.mark.slow
def test_a_search_of_a_users_model(place, run_command):
    (place / "nets.py").write_text(Path(own_nets.__file__).read_text())
    (place / "studies" / "own.toml").write_text(STUDY)
    ran = run_command("run", "--study", "own", "--workers", "1")
    assert ran.status == 0, ran.err
    # What the budgets are relative to is measured, though it does not satisfy them itself.
    assert "trial 0: top1" in ran.out
    assert "trial 1: infeasible: macs <= 0.9x (74,938), predicted 83,264" in ran.out
    reached = float(ran.out.partition("trial 0: top1 ")[2].partition(",")[0])
    _, searched = load(place / "runs", "own@digits")
    drop = searched.constraints[1]
    assert drop.binds
    assert drop.bound == pytest.approx(reached - 0.9, abs=1e-4)
    assert len(list((place / "runs" / "store").glob("*.examined"))) == 1
    again = run_command("run", "--study", "own", "--set", "budget.trials=5", "--workers", "1")
    assert again.status == 0, again.err


@pytest.mark.parametrize(
    ("images", "size"), [(1, 16), (3199, 16), (3200, 32), (6400, 64), (12799, 64), (12800, 128), (50000, 128)]
)
def test_few_images_are_trained_in_small_batches(images: int, size: int):
    assert examination.batch_size(images) == size
