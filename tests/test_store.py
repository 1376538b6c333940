import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from searcher import tasks
from searcher.compression import cached, stages
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import CONTENT, Store, size, size_text
from searcher.compression.training import Run
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train
from searcher.errors import SearcherError

NET = Model(name="densenet", args={"growth_rate": 4, "groups_1x1": 2, "blocks": [1, 2, 1, 1]})
RECIPE = Recipe(
    model=NET,
    stages=(
        Train(lr=0.05),
        PruneChannels(ratio=0.3, share=0.5, lr=0.05),
        Distill(teacher=Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]}), share=0.5),
        PruneWeights(sparsity=0.4, steps=2, share=0.5),
        Quantize(calibration_images=64),
    ),
)


def a_run(store: Store | None, points: list[tuple[object, ...]]) -> Run:
    def report(*point: object) -> None:
        points.append(point)

    task = tasks.entry("digits").load().trained_on(300)
    return Run(task, 2, 3, torch.device("cpu"), report, store=store, replay=lambda *p: report("again", *p))


def logits(recipe: Recipe, run: Run) -> torch.Tensor:
    torch.set_num_threads(1)
    network = run_recipe(recipe, run)
    with torch.no_grad():
        return network.executed(run.task.normalise(run.task.validation.images))


@pytest.mark.parametrize("engine", ["torch-pruning", "nni"])
def test_what_comes_from_the_store_is_what_was_trained(tmp_path: Path, engine: str):
    others = (RECIPE.stages[0], RECIPE.stages[1].model_copy(update={"engine": engine}), *RECIPE.stages[2:])
    recipe = RECIPE.model_copy(update={"stages": others})
    trained: list[tuple[object, ...]] = []
    found: list[tuple[object, ...]] = []
    plain = logits(recipe, a_run(None, []))
    first = logits(recipe, a_run(Store(tmp_path), trained))
    second = logits(recipe, a_run(Store(tmp_path), found))
    assert torch.equal(plain, first)
    assert torch.equal(first, second)
    assert [p[:2] for p in found if p[0] != "again"] == [("quantize", 0)]
    again = [p[1:] for p in found if p[0] == "again"]
    assert again == [p for p in trained if p[0] != "quantize"]


CHANNELS = [
    {"criterion": "taylor", "steps": 2},
    {"criterion": "bn_scale", "scope": "global"},
    {"ratio": 0.0, "ratios": {"dense1": 0.5}, "round_to": 2, "criterion": "fpgm"},
]


WEIGHTS = [
    {"pattern": "2:4", "layers": "convolutions"},
    {"pattern": "4x1", "steps": 2, "scope": "local"},
    {"criterion": "movement", "steps": 2},
]
WAYS: list[Stage] = [
    *(PruneChannels.model_validate({"ratio": 0.3, "share": 1, "lr": 0.05} | asked) for asked in CHANNELS),
    *(PruneWeights.model_validate({"sparsity": 0.5, "share": 1, "lr": 0.05} | asked) for asked in WEIGHTS),
]


@pytest.mark.parametrize("pruned", WAYS, ids=str)
def test_every_way_of_pruning_comes_back_bitwise(tmp_path: Path, pruned: Stage):
    recipe = Recipe(model=NET, stages=(Train(lr=0.05), pruned))
    found: list[tuple[object, ...]] = []
    first = logits(recipe, a_run(Store(tmp_path), []))
    assert torch.equal(first, logits(recipe, a_run(Store(tmp_path), found)))
    assert {p[0] for p in found} == {"again"}


def test_a_shared_prefix_is_trained_once(tmp_path: Path):
    store, points = Store(tmp_path), list[tuple[object, ...]]()
    run_recipe(Recipe(model=NET, stages=(Train(),)), a_run(store, []))
    other = Recipe(model=NET, stages=(Train(), PruneWeights(sparsity=0.5, share=0.5)))
    run_recipe(other, a_run(store, points))
    assert {p[0] for p in points} == {"again", "prune weights 1/1"}
    teacher = Recipe(model=RECIPE.model, stages=(Distill(teacher=NET, share=0.5),))
    points.clear()
    run_recipe(teacher, a_run(store, points))
    assert {p[0] for p in points} == {"distill"}, "the teacher is the network that was trained above"


def test_the_digest_names_all_that_a_model_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = a_run(None, [])
    prefix = Recipe(model=NET, stages=(Train(),))
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1")
    loaded = prefix.model_copy(update={"model": NET.model_copy(update={"weights": str(weights)})})
    with_weights = cached.digest(loaded, run)
    weights.write_bytes(b"2")
    digests = [
        cached.digest(prefix, run),
        cached.digest(prefix, replace(run, seed=4)),
        cached.digest(prefix, replace(run, epochs=3)),
        cached.digest(prefix, replace(run, task=run.task.trained_on(200))),
        cached.digest(cached.first(RECIPE, 4), run),
        with_weights,
        cached.digest(loaded, run),
    ]
    monkeypatch.setattr(stages.RUNNERS["train"], "version", 1000)
    digests.append(cached.digest(prefix, run))
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("damage", [b"", b"not a model", None])
def test_a_damaged_entry_is_dropped_and_made_again(tmp_path: Path, damage: bytes | None):
    store, points = Store(tmp_path), list[tuple[object, ...]]()
    recipe = Recipe(model=NET, stages=(Train(),))
    whole = logits(recipe, a_run(store, []))
    (content,) = tmp_path.glob(f"*/{CONTENT}")
    if damage is None:
        content.unlink()
    else:
        content.write_bytes(damage)
    assert torch.equal(logits(recipe, a_run(store, points)), whole)
    assert [p[:2] for p in points] == [("train", 1), ("train", 2)]


def _hold(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with Store(folder).slot("a"):
        ready.set()
        time.sleep(60)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(600)
    assert Store(tmp_path).collect(0) == []
    holder.kill()
    with Store(tmp_path).slot("a") as slot:
        slot.save(b"content", {"words": "it"})
    holder.join()
    found = Store(tmp_path).find("a")
    assert found is not None
    assert found.content == b"content"


def test_collecting_drops_what_was_not_used_for_longest(tmp_path: Path):
    store = Store(tmp_path)
    for digest in ("a", "b", "c"):
        with store.slot(digest) as slot:
            slot.save(b"x" * 10_000, {})
        time.sleep(0.02)
    store.find("a")
    dropped = store.collect(25_000)
    assert [e.digest for e in dropped] == ["b"]
    assert {e.digest for e in store.entries()} == {"a", "c"}


@pytest.mark.parametrize(
    ("text", "count"), [("10GB", 10**10), ("1.5 MB", 1_500_000), ("7 B", 7), ("2KB", 2000)]
)
def test_sizes(text: str, count: int):
    assert size(text) == count


def test_what_is_no_size():
    with pytest.raises(SearcherError, match="expected a number and one of"):
        size("many")
    assert size_text(1_234_567) == "1.2 MB"
    assert size_text(12) == "12 B"
