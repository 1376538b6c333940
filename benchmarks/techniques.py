"""Every technique alone, on a ResNet-20 that others have trained on CIFAR-10.

    SEARCHER_DATA=… python -m benchmarks.techniques [--workers 6] [--only TEXT]

Wants `cifar-10-batches-bin` and `resnet_cifar10` in $SEARCHER_DATA. A row that was measured is kept in
`benchmarks/runs/techniques` and not measured again while its recipe stays. Writes
`benchmarks/results/techniques.json` and `docs/techniques.md`.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.figures import HERE, RESULTS, machine, write
from benchmarks.pool import done
from benchmarks.technique_rows import Row, rows
from searcher.recipe import Recipe, Training

ROWS = HERE / "runs" / "techniques"
PAGE = HERE.parent / "docs" / "techniques.md"


def measured(row: Row, few: bool) -> dict[str, Any]:
    """The figures of a row: right after its stages, and after their epochs."""
    import torch

    from searcher.compression.pipeline import run_recipe
    from searcher.compression.training import Run
    from searcher.costs.scores import score
    from searcher.execution.measurement import Measurement
    from searcher.execution.rehearsal import few_images
    from searcher.tasks.base import Task
    from searcher.tasks.classification.cifar10 import cifar10

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
    longest = sorted(missing, key=lambda row: -row.epochs)
    for (row, _), figures in done(measured, [(row, args.few) for row in longest], args.workers):
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
