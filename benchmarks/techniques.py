"""Every technique alone, on a ResNet-20 that others have trained on CIFAR-10.

    SEARCHER_DATA=… python -m benchmarks.techniques [--workers 6] [--only TEXT]

Wants `cifar-10-batches-bin` and `resnet_cifar10` in $SEARCHER_DATA. A row that was measured is kept in
`benchmarks/runs/techniques` and not measured again while its recipe stays. Writes
`benchmarks/results/techniques.json` and `docs/techniques.md`.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.figures import HERE, RESULTS, machine, write
from searcher.config.recipe import (
    Distill,
    LowRank,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    QuantizeAware,
    Recipe,
    Stage,
    Teaching,
    Ternary,
    Train,
    Training,
)
from searcher.config.stages.int8 import Widths

ROWS = HERE / "runs" / "techniques"
PAGE = HERE.parent / "docs" / "techniques.md"
EPOCHS = 2
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
SHORT: dict[str, Any] = {"lr": 0.01}
"""Of a training of weights that are trained already."""
EIGHT = {"conv1": Widths(), "linear": Widths()}
"""The first and the last layer keep 8 bits where the others have fewer, as in the literature."""


@dataclass(frozen=True)
class Row:
    """One technique: stages of the trained network, or of random weights where `begins` is empty."""

    group: str
    stages: tuple[Stage, ...]
    epochs: int = EPOCHS
    begins: str = "resnet20"

    @property
    def recipe(self) -> Recipe:
        """The row as a recipe."""
        return Recipe(
            model=trained("resnet20") if self.begins else Model(name="resnet20"), stages=self.stages
        )

    @property
    def key(self) -> str:
        """The name of its file."""
        told = {"recipe": self.recipe.model_dump(mode="json"), "epochs": self.epochs}
        told = json.loads(json.dumps(told).replace(str(checkpoints()), ""))
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def words(self) -> str:
        """The stages as a reader says them."""
        return "; ".join(stage.words() or stage.kind for stage in self.stages)


@cache
def checkpoints() -> Path:
    """The folder of the trained networks."""
    return Path(os.environ["SEARCHER_DATA"]).absolute() / "resnet_cifar10"


def trained(name: str) -> Model:
    """A network with the weights that others have trained."""
    return Model(name=name, weights=str(checkpoints() / CHECKPOINTS[name]))


def rows() -> list[Row]:
    """All that is measured."""
    teacher = trained("resnet56")
    narrow = {"weight_bits": 4, "activation_bits": 4, "bits": EIGHT}

    def channels(**options: Any) -> PruneChannels:
        return PruneChannels.model_validate({"ratio": 0.3} | SHORT | options)

    def weights(**options: Any) -> PruneWeights:
        return PruneWeights.model_validate({"sparsity": 0.8} | SHORT | options)

    def aware(**options: Any) -> QuantizeAware:
        return QuantizeAware.model_validate(options)

    grouped: dict[str, list[tuple[Stage, ...]]] = {
        "Quantization after training": [
            (Quantize(),),
            *[
                (Quantize.model_validate({"observer": o}),)
                for o in ("histogram", "percentile", "moving_average")
            ],
            (Quantize(weights_per="tensor"),),
            (Quantize(weights_per="tensor", equalize=True),),
            (Quantize(calibration_share=0.02, calibration_split="validation"),),
            (Quantize(dynamic=True),),
            (Quantize(weight_bits=4),),
            (Quantize(weight_bits=4, bias_correction=True),),
            (Quantize.model_validate(narrow),),
        ],
        "Quantization in training": [
            (aware(),),
            (aware(**narrow),),
            (aware(**narrow, teaching=Teaching()),),
            (aware(weight_bits=2, activation_bits=4, bits=EIGHT),),
            (Ternary(),),
            (Ternary(teaching=Teaching()),),
        ],
        "Fewer channels": [
            *[
                (channels(criterion=c),)
                for c in ("l1", "l2", "fpgm", "random", "bn_scale", "activation", "taylor")
            ],
            (channels(engine="nni"),),
            (channels(scope="global"),),
            (channels(ratio=0, ratios={"layer1": 0.5, "layer2": 0.5}),),
            (channels(round_to=8),),
            (channels(steps=2),),
            (Train(share=0.5, **SHORT), channels(after="rewind", share=0.5)),
            (channels(after="reinitialize", lr=0.1),),
            (channels(teaching=Teaching()),),
        ],
        "Fewer weights": [
            (weights(),),
            (weights(scope="local"),),
            (weights(layers="convolutions"),),
            (weights(steps=2),),
            (weights(pattern="4x1"),),
            (weights(sparsity=0.5, pattern="2:4"),),
            (weights(sparsity=0.5, criterion="movement"),),
            (Train(share=0.5, **SHORT), weights(after="rewind", share=0.5)),
            (weights(after="reinitialize", lr=0.1),),
            (weights(teaching=Teaching(teacher=teacher)),),
        ],
        "Low rank": [
            (LowRank(ratio=0.5, **SHORT),),
            (LowRank(ratio=0.5, method="spatial", **SHORT),),
            (LowRank(energy=0.9, **SHORT),),
            (LowRank(energy=0.9, method="spatial", **SHORT),),
        ],
        "A teacher": [
            (Distill(teacher=teacher, **SHORT),),
            (Distill(teacher=teacher, features={"layer3": "layer3"}, **SHORT),),
            (Distill(teacher=teacher, attention={"layer2": "layer2", "layer3": "layer3"}, **SHORT),),
            (Distill(teacher=teacher, views=4, **SHORT),),
        ],
        "Training": [
            *[
                (Train.model_validate(SHORT | options),)
                for options in (
                    {},
                    {"label_smoothing": 0.1},
                    {"mixup": 0.2},
                    {"cutmix": 1.0},
                    {"cutout": 0.5},
                    {"colour": 0.2, "rotation": 10},
                    {"ema": 0.99},
                    {"schedule": "one-cycle", "optimizer": "adamw", "lr": 0.001},
                    {"schedule": "step"},
                    {"precision": "fp32"},
                    {"precision": "bf16"},
                )
            ],
        ],
    }
    every = [Row(group, stages) for group, found in grouped.items() for stages in found]
    every.append(Row("Quantization in training", (aware(**narrow),), epochs=30))
    scratch = "A teacher of random weights, and its outputs of fixed views"
    for stage in (Train(), Distill(teacher=teacher), *(Distill(teacher=teacher, views=n) for n in (2, 8))):
        every.append(Row(scratch, (stage,), epochs=20, begins=""))
    order = {group: place for place, group in enumerate(grouped)}
    return sorted(every, key=lambda row: order.get(row.group, len(order)))


def measured(row: Row, threads: int, few: bool) -> dict[str, Any]:
    """The figures of a row: right after its stages, and after their epochs."""
    import torch

    from searcher.compression.pipeline import run_recipe
    from searcher.compression.training import Run
    from searcher.costs.scores import score
    from searcher.execution.measurement import Measurement
    from searcher.execution.rehearsal import few_images
    from searcher.tasks.base import Task
    from searcher.tasks.classification.cifar10 import cifar10

    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task: Task = cifar10()
    if few:
        task = replace(few_images(task), test=task.test.first(200))
    trained_epochs: list[str] = []

    def report(stage: str, epoch: int, epochs: int, quality: float) -> None:
        if epoch and stage != "teacher":
            trained_epochs.append(stage)

    def quality(recipe: Recipe) -> Measurement:
        network = run_recipe(recipe, Run(task, row.epochs, 0, device, report))
        return Measurement(network, task, task.test, device=device)

    begun = time.perf_counter()
    stages = [s.model_copy(update={"share": 0.0}) if isinstance(s, Training) else s for s in row.stages]
    untrained = quality(row.recipe.model_copy(update={"stages": tuple(stages)}))
    assert not trained_epochs
    trains = any(isinstance(stage, Training) for stage in row.stages)
    made = quality(row.recipe) if trains else untrained
    ops = made.ops
    return {
        "group": row.group,
        "words": row.words,
        "right_after": untrained.figures["top1"],
        "top1": made.figures["top1"],
        "epochs": len(trained_epochs),
        "params": sum(op.params for op in ops),
        "macs": sum(op.macs for op in ops),
        "size_mb": made.size_mb,
        "imt-2022": score(ops, "imt-2022").value,
        "imt-2025": score(ops, "imt-2025").value,
        "executed": executed(made),
        "seconds": time.perf_counter() - begun,
        "machine": machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
    }


def executed(made: Any) -> str:
    """The arithmetic that executes the convolutions and linear layers, by the operations."""
    ran = made.circumstances.get("int8")
    layers = [op for op in made.ops if op.kind in ("conv", "linear")]
    bits = "/".join(str(b) for b in sorted({op.weight_bits for op in layers}))
    if ran is None:
        return "float32" if bits == "32" else f"float32, weights of {bits} bits"
    return f"int8 ({ran['engine']})" + ("" if bits == "8" else f", weights of {bits} bits")


def main() -> None:
    """Measure the rows that are not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="rows that are measured at once")
    parser.add_argument("--only", default="", help="rows whose words have this text")
    parser.add_argument("--few", action="store_true", help="a few images only, to try it; nothing is kept")
    args = parser.parse_args()
    chosen = [row for row in rows() if args.only in f"{row.group} {row.words}"]
    ROWS.mkdir(parents=True, exist_ok=True)
    missing = [row for row in chosen if args.few or not _file(row).is_file()]
    threads = max(1, (os.cpu_count() or 1) // args.workers)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=context) as pool:
        longest = sorted(missing, key=lambda row: -row.epochs)
        work = {pool.submit(measured, row, threads, args.few): row for row in longest}
        for done in as_completed(work):
            row = work[done]
            try:
                figures = done.result()
            except Exception:
                print(f"{row.words}: {traceback.format_exc()}", flush=True)
                continue
            if not args.few:
                _file(row).write_text(json.dumps(figures) + "\n")
            print(
                f"{row.words}: {figures['right_after']:.4f} -> {figures['top1']:.4f} "
                f"({figures['epochs']} epochs, {figures['seconds']:.0f} s)",
                flush=True,
            )
    if args.few:
        return
    found = [json.loads(_file(row).read_text()) for row in rows() if _file(row).is_file()]
    write("techniques", {"rows": found})
    PAGE.write_text(page(json.loads((RESULTS / "techniques.json").read_text())["rows"]))


def _file(row: Row) -> Path:
    return ROWS / f"{row.key}.json"


HEAD = """# Techniques

Each technique alone, on a ResNet-20 that others have trained on CIFAR-10's training images (its weights are
not part of this project): {before} of the 10,000 test images right as it came, in float32. "Right after" is
the accuracy before any training, "accuracy" that after the epochs of the column beside it; a dash is a row
without training. Parameters and MACs are of the architecture, zeros included; the scores count what is
executed. Two epochs show what a technique breaks and how fast it mends, and not what it gives in the end.

This page is made by `python -m benchmarks.techniques`; it was measured on {machines}.
"""


def page(found: list[dict[str, Any]]) -> str:
    """The page of all rows."""
    machines = " and ".join(dict.fromkeys(f"{row['machine']}, {row['device']}" for row in found))
    plain = next((row for row in found if row["words"] == "train"), None)
    before = f"{plain['right_after']:.2%}" if plain else "not measured"
    text = [HEAD.format(before=before, machines=machines)]
    head = (
        "technique",
        "right after",
        "accuracy",
        "epochs",
        "parameters",
        "MACs",
        "MB",
        "imt-2022",
        "imt-2025",
    )
    columns = (*head, "executed in")
    for group in dict.fromkeys(row["group"] for row in found):
        lines = [columns, ("---",) * len(columns)]
        lines += [_cells(row) for row in found if row["group"] == group]
        text.append(f"## {group}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join([*text, (HERE / "notes" / "techniques.md").read_text()])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["words"].replace("|", "\\|"),
        f"{row['right_after']:.2%}",
        f"{row['top1']:.2%}",
        str(row["epochs"] or "–"),
        f"{row['params']:,.0f}",
        f"{row['macs'] / 1e6:.2f} M",
        f"{row['size_mb']:.3f}",
        f"{row['imt-2022']:.5f}",
        f"{row['imt-2025']:.5f}",
        row["executed"],
    )


if __name__ == "__main__":
    main()
