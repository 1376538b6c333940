"""SwiftNet on CamVid, its channels pruned by encoder block: the rows of the published table.

The whole network; half of the channels of the stem and the first two blocks, and of all four; each trained on
from its weights (FT), from those that it began with (LTH, the lottery ticket) and from new ones (RI), for as
many epochs as the whole one; the whole one and the smallest one in 16 and in 8 bits. mIoU is that of the test
split in the size of the images, the mean over the seeds, `spread` the largest less the smallest. `fps` are
images a second on one thread of the processor, `fps_cuda` on the GPU in float32, where there is one. `ratio`
is the mean mIoU of FT over that of RI.

    SEARCHER_DATA=… python -m benchmarks.segmentation [--epochs 100] [--seeds 0 1] [--width 1] [--pyramid]
        [--encoder resnet18] [--size HEIGHT WIDTH] [--images N]

A GPU is used where there is one. What was trained is kept under `benchmarks/runs/segmentation`: a run that
was killed goes on. Writes `benchmarks/results/segmentation.json` after every row, and in `results/camvid` the
recipe files of the rows, for `searcher retrain`.
"""

import argparse
import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.figures import HERE, write
from searcher import tasks
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.data import Data
from searcher.config.deployment import Deployment
from searcher.config.recipe import Model, PruneChannels, Quantize, Recipe, Stage, Train
from searcher.config.recipe_file import FORMAT, Expected, Provenance, RecipeFile
from searcher.costs.latency import run_inference
from searcher.execution.measurement import Measurement
from searcher.tasks.base import Task

FOLDER = HERE / "runs" / "segmentation"
RECIPES = HERE.parent / "results" / "camvid"
TOLERANCE = 0.03
"""Of mIoU on the validation split, which of two seeds differs by as much."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TRAINING: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "batch_size": 16,
    "colour": 0.3,
}
BLOCKS = {"blocks 1 and 2": 2, "all blocks": 4}
AFTER = {"FT": "finetune", "LTH": "rewind", "RI": "reinitialize"}
PARTS = ("encoder", "laterals", "pyramid", "decoder", "head")


@dataclass(frozen=True)
class Setting:
    """What is trained, and for how long."""

    model: Model
    epochs: int
    seeds: tuple[int, ...]
    size: tuple[int, int] | None
    images: int | None

    def task(self) -> Task:
        """CamVid."""
        data = Data(size=self.size) if self.size else None
        return tasks.entry("camvid", data).load().trained_on(self.images)

    @property
    def digest(self) -> str:
        """A name for the rows of this setting."""
        told = [self.model.model_dump(), self.epochs, self.size, self.images, str(DEVICE.type)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and write every row as soon as it is there."""
    setting = asked(arguments)
    task, place = setting.task(), FOLDER / f"{setting.digest}.json"
    FOLDER.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = json.loads(place.read_text()) if place.is_file() else {}
    for seed in setting.seeds:
        for name, stages in rows().items():
            key = f"{name}, seed {seed}"
            if key not in found:
                found[key] = measured(setting, task, stages, seed)
                place.write_text(json.dumps(found, indent=1))
            write("segmentation", summary(setting, found))
    recipes(setting, task, found)


def recipes(setting: Setting, task: Task, found: dict[str, dict[str, Any]]) -> None:
    """Write the recipe file of every row, with the figures of its first seed."""
    RECIPES.mkdir(parents=True, exist_ok=True)
    for number, (name, stages) in enumerate(rows().items()):
        key = f"{name}, seed {setting.seeds[0]}"
        if key not in found:
            continue
        data = Data(size=setting.size) if setting.size else None
        made = Recipe(model=setting.model, stages=tuple(_of(setting.model, stage) for stage in stages))
        row = found[key]
        RecipeFile(
            format=FORMAT,
            recipe=made,
            provenance=Provenance(
                study="segmentation",
                trial=number,
                task=task.name,
                data=data,
                data_fingerprint=task.fingerprint,
                seed=setting.seeds[0],
                epochs=setting.epochs,
            ),
            expected={
                "miou": Expected(value=row["validation_miou"], tolerance=TOLERANCE, goal="maximize"),
                "params": Expected(value=row["params"], tolerance=0),
                "macs": Expected(value=round(row["gmacs"] * 1e9), tolerance=0),
            },
        ).save(RECIPES / f"{name.replace(',', '').replace(' ', '-')}.toml")


def asked(arguments: Sequence[str] | None) -> Setting:
    """The setting that the options ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--pyramid", action="store_true")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, nargs=2)
    parser.add_argument("--images", type=int)
    given = parser.parse_args(arguments)
    args = {key: getattr(given, key) for key in ("encoder", "pyramid", "width", "features")}
    size = tuple(given.size) if given.size else None
    return Setting(Model(name="swiftnet", args=args), given.epochs, tuple(given.seeds), size, given.images)


def rows() -> dict[str, tuple[Stage, ...]]:
    """The stages of every row, by its name."""
    found: dict[str, tuple[Stage, ...]] = {"full": (Train(**TRAINING),)}
    for blocks, count in BLOCKS.items():
        for name, after in AFTER.items():
            parts = ["stem", *(f"block{number + 1}" for number in range(count))]
            pruned = {"ratio": 0.0, "ratios": {f"encoder.{part}": 0.5 for part in parts}, "after": after}
            stage = PruneChannels.model_validate(pruned | {"share": 1.0} | TRAINING)
            found[f"half of {blocks}, {name}"] = (*found["full"], stage)
    for name in ("full", "half of all blocks, FT"):
        found[f"{name}, 16 bits"] = (*found[name], Quantize(exclude=dict.fromkeys(PARTS, 16)))
        found[f"{name}, int8"] = (*found[name], Quantize())
    return found


def measured(setting: Setting, task: Task, stages: tuple[Stage, ...], seed: int) -> dict[str, Any]:
    """One row of one seed."""

    def report(stage: str, epoch: int, epochs: int, quality: float) -> None:
        print(f"seed {seed}, {stage} {epoch}/{epochs}: {quality:.4f}", flush=True)

    stages = tuple(_of(setting.model, stage) for stage in stages)
    run = Run(task, setting.epochs, seed, DEVICE, report, store=Store(FOLDER / "store"), replay=report)
    network = run_recipe(Recipe(model=setting.model, stages=stages), run)
    test = Measurement(network, task, task.test, device=DEVICE)
    validation = Measurement(network, task, task.validation, device=DEVICE)
    found = {
        "params": sum(op.params for op in test.ops),
        "gmacs": sum(op.macs for op in test.ops) / 1e9,
        "size_mb": test.size_mb,
        "miou": test.figure("miou"),
        "validation_miou": validation.figure("miou"),
        "fps": test.inference.fps,
        "figures": test.figures,
    }
    if DEVICE.type == "cuda" and network.prepared is None:
        conditions = Deployment(device="cuda")
        found["fps_cuda"] = run_inference(network.executed, task.example(), conditions).fps
    return found


def _of(model: Model, stage: Stage) -> Stage:
    """A stage without what a network of one resolution alone has."""
    if isinstance(stage, Quantize) and model.args["pyramid"]:
        kept = {part: bits for part, bits in stage.exclude.items() if part != "pyramid"}
        return stage.model_copy(update={"exclude": kept})
    return stage


def summary(setting: Setting, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows over the seeds, and what finetuning gains."""
    table: dict[str, dict[str, float]] = {}
    for name in rows():
        seeds = [found[key] for seed in setting.seeds if (key := f"{name}, seed {seed}") in found]
        if not seeds:
            continue
        mious = [row["miou"] for row in seeds]
        columns = [key for key in ("gmacs", "size_mb", "fps", "fps_cuda") if key in seeds[0]]
        table[name] = {
            "mIoU": statistics.fmean(mious),
            "spread": max(mious) - min(mious),
            "seeds": len(seeds),
            "params": seeds[0]["params"],
            **{key: statistics.fmean(row[key] for row in seeds) for key in columns},
        }
    pairs = [(f"half of {blocks}, FT", f"half of {blocks}, RI") for blocks in BLOCKS]
    gains = [table[ft]["mIoU"] / table[ri]["mIoU"] for ft, ri in pairs if ft in table and ri in table]
    return {
        "ratio": statistics.fmean(gains) if gains else None,
        "epochs": setting.epochs,
        "network": setting.model.words(),
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "training_images": setting.images or "all",
        "rows": table,
        "runs": found,
    }


if __name__ == "__main__":
    main()
