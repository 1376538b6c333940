"""Networks that are taught while they are pruned: in steps, by movement, from rewound weights."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from searcher import tasks
from searcher.compression import training
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import Store
from searcher.compression.teaching import teacher_of
from searcher.compression.training import Run
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Recipe, Teaching, Train
from searcher.models import build
from tests.helpers.tape import TapeRecorder

CPU = torch.device("cpu")
SMALL = Model(name="densenet", args={"growth_rate": 2, "blocks": [1, 1, 1, 1]})
LARGER = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]})
SEEN = Teaching(teacher=LARGER, teacher_training=Train(share=0.5, lr=0.05), views=2)
ALIKE = Teaching(features={"dense2": "dense2"}, attention={"dense3": "dense3"})
SHORT = {"lr": 0.01, "batch_size": 50}


def a_run(epochs=2, report=lambda *_: None, **others):
    task = tasks.entry("digits").load()
    task = replace(task, train=task.train.first(230), validation=task.validation.first(120))
    return Run(task, epochs, 0, CPU, report, **others)


def recipe(*stages):
    return Recipe(model=SMALL, stages=(Train(ema=0.9, **SHORT), *stages))


def made(stages, run):
    return run_recipe(recipe(*stages), run).architecture


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def channels(**options):
    return PruneChannels.model_validate({"ratio": 0.4, "steps": 2, "teaching": ALIKE} | SHORT | options)


def weights(**options):
    moved = {"sparsity": 0.5, "criterion": "movement", "teaching": SEEN, "ema": 0.9, "mixup": 0.0}
    return PruneWeights.model_validate(moved | SHORT | options)


PRUNED = {
    "both": (channels(after="finetune"), weights(steps=2)),
    "rewound": (weights(after="rewind", rewind_to=0.5, steps=4, teaching=ALIKE),),
}


@pytest.fixture(scope="module", params=PRUNED)
def pruned(request):
    """Stages, and what they make undisturbed."""
    stages = PRUNED[request.param]
    undisturbed = made(stages, a_run())
    assert all(tensor.isfinite().all() for tensor in undisturbed.state_dict().values())
    return stages, undisturbed


@pytest.mark.parametrize("reports", range(3, 9))
def test_what_was_killed_goes_on_to_the_same_weights(pruned, reports, tmp_path):
    (stages, undisturbed), left = pruned, [reports]

    def report(*_):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(stages, a_run(report=report, checkpoints=Checkpoints(tmp_path)))
    resumed = made(stages, a_run(checkpoints=Checkpoints(tmp_path)))
    assert same(resumed, undisturbed)


def test_the_store_gives_it_back_bitwise(pruned, tmp_path):
    (stages, undisturbed), points = pruned, []
    stored = made(stages, a_run(store=Store(tmp_path)))
    found = made(stages, a_run(report=lambda *point: points.append(point), store=Store(tmp_path)))
    assert same(stored, undisturbed)
    assert same(found, stored)
    assert not points


def test_all_of_its_stages_are_taught(pruned):
    stages, undisturbed = pruned
    for place in range(len(stages)):
        alone = list(stages)
        alone[place] = stages[place].model_copy(update={"teaching": None})
        assert not same(made(alone, a_run()), undisturbed)


def test_a_replayed_training_is_the_training(monkeypatch):
    plain = made(PRUNED["both"], a_run(6))
    recorder = TapeRecorder()
    monkeypatch.setattr(training, "recorder", lambda device: recorder)
    assert same(plain, made(PRUNED["both"], a_run(6)))
    assert max(recorder.played) > 3


def test_weights_move_by_what_a_teacher_says():
    masks = []
    for teaching in (None, SEEN):
        net = made([weights(teaching=teaching)], a_run())
        masks.append([m.weight == 0 for m in net.modules() if isinstance(m, torch.nn.Conv2d)])
    assert any(not torch.equal(one, other) for one, other in zip(*masks, strict=True))


def test_the_teacher_of_a_training_that_stops_early_is_the_whole_one(tmp_path):
    stages = (
        Distill(**SEEN.model_dump(), **SHORT),
        weights(teaching=None, after="rewind", rewind_to=0.5),
    )
    run_recipe(Recipe(model=SMALL, stages=stages), a_run(4, store=Store(tmp_path)))
    words = [entry.about["words"] for entry in Store(tmp_path).entries()]
    assert words.count("a teacher's outputs of 2 views") == 1
    assert words.count(LARGER.words()) == 1
    assert len(words) == 5  # and the student early, trained, and pruned


def test_movement_is_not_of_scaled_gradients():
    with pytest.raises(ValidationError, match="criterion movement adds up gradients, which precision fp16"):
        weights(precision="fp16")


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((weights(), channels()), "prune_weights, prune_channels: a later stage would undo"),
        ((channels(), weights(after="rewind")), "do not fit what prune_channels makes of the network"),
    ],
)
def test_what_makes_a_teacher_is_a_recipe(stages, said):
    with pytest.raises(ValidationError, match=said):
        recipe(channels(teaching=Teaching(teacher=LARGER, teacher_stages=stages)))


def test_words():
    said = channels(after="rewind", ema=0.99).words()
    assert said == (
        "channels -40% (l1, 2 steps, rewound, torch-pruning), averaged 0.99, distilled from itself, "
        "features, attention"
    )
    assert weights(teaching=Teaching(), ema=0.0).words() == (
        "50.0% sparse (global, movement), distilled from itself"
    )


@pytest.mark.parametrize(
    "stage",
    [
        PruneChannels(ratio=0.5, teaching=Teaching(attention={"dense2": "dense2"}), lr=0.05),
        PruneWeights(sparsity=0.5, steps=2, teaching=Teaching(teacher=LARGER, views=2), lr=0.05),
    ],
    ids=lambda stage: stage.kind,
)
def test_a_network_is_taught_while_it_is_pruned(stage, tmp_path):
    recipe = Recipe(model=SMALL, stages=(Train(lr=0.05), stage))
    alone = recipe.stages[1].model_copy(update={"teaching": None})
    plain = run_recipe(recipe, a_run(2)).architecture
    stored = [run_recipe(recipe, a_run(2, store=Store(tmp_path))).architecture for _ in range(2)]
    assert all(same(plain, network) for network in stored)
    other = run_recipe(Recipe(model=SMALL, stages=(recipe.stages[0], alone)), a_run(2)).architecture
    assert not same(plain, other)
    assert [x.shape for x in plain.state_dict().values()] == [x.shape for x in other.state_dict().values()]


def test_a_network_teaches_itself_as_the_stage_finds_it():
    run = a_run(1)
    torch.manual_seed(0)
    model = build(SMALL.name, SMALL.args, in_channels=1, classes=10)
    pruned = PruneChannels(ratio=0.5, teaching=Teaching())
    teacher = teacher_of(pruned.teaching, pruned, run, model)
    assert teacher.network is not model
    assert same(teacher.network, model)
    untrained = pruned.model_copy(update={"share": 0.0})
    assert teacher_of(untrained.teaching, untrained, run, model) is None
