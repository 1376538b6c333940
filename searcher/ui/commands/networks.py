"""Commands on one network, whether or not a search has found it: `cost`, `measure`, `evaluate`, `doctor`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searcher.errors import SearcherError, TrialError
from searcher.ui.commands.options import RUNS, AsJson, Force, RunsDir, chosen, print_json, write_csv
from searcher.ui.commands.own import (
    TASK,
    DataKeys,
    ModelArguments,
    ModelName,
    given_data,
    given_model,
    searched_model,
)

if TYPE_CHECKING:
    from rich.status import Status

    from searcher.config.deployment import Deployment
    from searcher.execution.steps import Step

Target = Annotated[
    str,
    typer.Argument(
        help="A recipe's file, STUDY#TRIAL, a study (for its reference), or pkg.mod:function; to measure, "
        "an ONNX file as well.",
    ),
]
InputSizes = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="1,C,H,W", help=r"Sizes of the input.  \[default: the study's, else 1,3,32,32]"
    ),
]
Classes = Annotated[int, typer.Option(min=1, help="Outputs, where no study says it.")]

MEASURING = "measuring latency and memory …"


def cost(
    target: Target,
    input_sizes: InputSizes = None,
    classes: Classes = 10,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Show a network's cost: every operation, the totals, and all score variants side by side."""
    from rich.console import Console

    from searcher.costs.op import not_counted
    from searcher.ui.commands.target import resolve
    from searcher.ui.terminal import costs

    found = resolve(target, runs_dir, input_sizes, classes)
    ops, how = found.ops()
    console = Console()
    console.print(f"{found.title}, {how}", soft_wrap=True, highlight=False)
    console.print(costs.LayerTable(ops))
    for line in not_counted(ops):
        console.print(f"not counted: {line}", style="bold", soft_wrap=True, highlight=False)
    console.print(costs.variant_table(ops))
    for line in costs.references():
        console.print(line, soft_wrap=True, highlight=False)
    if csv:
        write_csv(costs.frame(ops), csv, force=force)


def measure(
    target: Target,
    input_sizes: InputSizes = None,
    classes: Classes = 10,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of the processor.")] = 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it runs.")] = "cpu",
    warmup: Annotated[int, typer.Option(min=0, help="Runs before those that are timed.")] = 10,
    runs: Annotated[int, typer.Option(min=1, help="Runs that are timed.")] = 50,
    by_block: Annotated[bool, typer.Option(help="Show the latency of the blocks as well.")] = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Measure a network: size of its file, latency, FPS and memory, in a process of its own."""
    from rich.console import Console

    from searcher.compression.engines import weights
    from searcher.config.deployment import Deployment
    from searcher.costs.block_latency import measure_blocks, named_blocks
    from searcher.costs.latency import check_device, run_inference
    from searcher.ui.commands.target import resolve
    from searcher.ui.terminal import costs

    asked = Deployment(batch=batch, threads=threads, device=device, warmup=warmup, runs=runs)
    check_device(asked)
    if target.endswith(".onnx"):
        if by_block:
            raise SearcherError("--by-block: an ONNX file has no blocks that could be told apart")
        _measure_onnx(Path(target), asked)
        return
    found, console = resolve(target, runs_dir, input_sizes, classes), Console()
    with console.status("making the network …") as status:
        network = found.network()
        executed = network.executed
        status.update(MEASURING)
        try:
            inference = run_inference(executed, found.example(), asked)
            names = named_blocks(network.architecture)
            parts = measure_blocks(executed, names, found.example(), asked) if by_block else None
        except TrialError as error:
            raise SearcherError(f"{found.title}: {error}") from error
    console.print(found.title, soft_wrap=True, highlight=False)
    console.print(costs.inference_table(inference, weights.size_mb(executed)))
    if parts:
        console.print(costs.block_table(parts))


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="The file of weights.")],
    model: ModelName,
    data: Annotated[str, typer.Option(metavar="TASK", help=TASK)],
    arguments: ModelArguments = None,
    keys: DataKeys = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="The images that quality is read on.")
    ] = "test",
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE[=16]", help="A module that int8 leaves at 32 bits, or at 16."),
    ] = None,
    int8: Annotated[bool, typer.Option(help="Quantize it as well.")] = True,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads while latency is measured.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint: quality, cost in every variant, size and latency, in float32 and in int8."""
    from dataclasses import asdict

    from rich.console import Console

    from searcher.config.deployment import Deployment
    from searcher.deploy.evaluate import evaluate as evaluated
    from searcher.ui.terminal import evaluated as terminal
    from searcher.wording import fidelity, kernels

    if not checkpoint.is_file():
        raise SearcherError(f"no file {checkpoint}")
    named = given_model(model, arguments, checkpoint)
    kept = _widths(exclude or ()) if int8 else None
    entry = given_data(data, keys)
    console = Console(stderr=as_json)
    with console.status("loading …") as status:
        task = entry.load()
        found = evaluated(named, task, split, Deployment(threads=threads), kept, _shown_in(status))
    if as_json:
        print_json(asdict(found))
        return
    console.print(terminal.table(found, task.labels))
    for one in found.evaluations:
        if isinstance(ran := one.circumstances.get("int8"), dict):
            console.print(f"int8 by {kernels(ran)}; {fidelity(ran)} from exact arithmetic", highlight=False)
    if found.refused:
        console.print(f"no int8: {found.refused}", soft_wrap=True, highlight=False)


def doctor(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A study; with --data a model's name, or pkg.mod:function."),
    ],
    data: Annotated[str | None, typer.Option(metavar="TASK", help=f"{TASK} Of a model.")] = None,
    arguments: ModelArguments = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study; of a model, of data."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try every engine on a model, untrained: what works, what does not and why, and what a trial takes.

    Exit status 1 where something does not work.
    """
    from dataclasses import asdict

    from rich.console import Console

    from searcher import tasks
    from searcher.config.study import Budget
    from searcher.deploy.doctor import examine
    from searcher.ui.terminal import examined

    if data is None and arguments:
        raise SearcherError("--arg: a study says the arguments of its model; --data TASK examines a model")
    # Its own handle: while something is tried, what libraries print goes nowhere.
    console = Console(file=sys.stderr if as_json else sys.stdout)
    budget: Budget | None = None
    with console.status("loading …") as status:
        if data is None:
            study = chosen(target, override)
            model, entry, budget = searched_model(study), tasks.of(study), study.budget
        else:
            model, entry = given_model(target, arguments), given_data(data, override)
        task = entry.load()
        findings = examine(model, task, _shown_in(status), budget)
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        console.print(examined.table(f"{model.words()} on {task.name}", findings))
    if not all(one.works for one in findings):
        raise typer.Exit(1)


def _shown_in(status: "Status") -> "Step":
    """Shows steps, and the images that are done, as a terminal's status."""

    def step(name: str, done: int = 0, count: int = 0) -> None:
        status.update(f"{name} {done:,}/{count:,} …" if count else f"{name} …")

    return step


def _widths(excluded: Sequence[str]) -> dict[str, Literal[16, 32]]:
    """Modules that int8 leaves out, by name, with their widths."""
    widths: dict[str, Literal[16, 32]] = {}
    for text in excluded:
        name, _, bits = text.partition("=")
        if bits not in ("", "16", "32") or not name:
            raise SearcherError(f"--exclude {text}: expected MODULE, MODULE=16 or MODULE=32")
        widths[name] = 16 if bits == "16" else 32
    return widths


def _measure_onnx(path: Path, asked: "Deployment") -> None:
    from rich.console import Console

    from searcher.deploy.onnx_latency import run_onnx
    from searcher.ui.terminal import costs

    if not path.is_file():
        raise SearcherError(f"no file {path}")
    if asked.device != "cpu":
        raise SearcherError("--device: an ONNX file is measured on the processor")
    console = Console()
    try:
        with console.status(MEASURING):
            inference = run_onnx(path, asked)
    except TrialError as error:
        raise SearcherError(f"{path}: {error}") from error
    console.print(f"{path}, by ONNX Runtime", soft_wrap=True, highlight=False)
    console.print(costs.inference_table(inference, path.stat().st_size / 1e6))
