"""The commands. Each imports what it needs inside itself, so that `--help` stays quick."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searcher.errors import SearcherError, TrialError

if TYPE_CHECKING:
    from pandas import DataFrame

    from searcher.study import Study

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(no_args_is_help=True, help="Data sets on this machine.")
app.add_typer(data, name="data")

RunsDir = Annotated[Path, typer.Option(help="Where everything is stored.", show_default=True)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study, e.g. budget.trials=20."),
]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study's name, or a path to its TOML file.")
]
Target = Annotated[
    str,
    typer.Argument(
        help="A recipe's file, STUDY#TRIAL, a study (for its reference), or pkg.mod:function.",
    ),
]
InputSizes = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="1,C,H,W", help="Sizes of the input.  [default: the study's, else 1,3,32,32]"
    ),
]
Classes = Annotated[int, typer.Option(min=1, help="Outputs, where no study says it.")]
RUNS = Path("runs")


def _choose(study: str, overrides: list[str] | None) -> "Study":
    """The study on the first of its tasks whose data is here; says what was passed over."""
    from searcher import tasks
    from searcher.study import StudyFile

    file = StudyFile(study, overrides or [])
    task, passed_over = tasks.choose(file.tasks)
    if passed_over:
        typer.echo(passed_over)
    return file.study(task)


def _write_csv(frame: "DataFrame", path: Path) -> None:
    try:
        frame.to_csv(path, index=False)
    except OSError as error:
        raise SearcherError(f"{path} cannot be written: {error.strerror or error}") from error


@app.callback()
def _searcher() -> None:
    """Search over neural-network compression recipes: the front of quality against cost."""


@app.command()
def run(
    study: Annotated[str, typer.Option(help="A study's name, or a path to its TOML file.")],
    override: Overrides = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials at a time.  [default: one a core, at most 4; 1 with a GPU or timed metrics]"
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Search: run a study's trials. Ctrl-C stops; the same command goes on from there.

    Exit status 1 where not one trial is complete, 2 for bad input, 130 after Ctrl-C.
    """
    from rich.console import Console

    from searcher import report
    from searcher.live import LiveView, PlainView
    from searcher.search import default_workers, search

    console = Console(soft_wrap=not sys.stdout.isatty())
    chosen = _choose(study, override)
    count = workers or default_workers(chosen)
    console.print(f"{chosen.stored_name}: {chosen.budget.trials} trials, {count} at a time", highlight=False)
    try:
        if console.is_terminal:
            with LiveView(console) as view:
                state = search(chosen, runs_dir, count, view)
        else:
            state = search(chosen, runs_dir, count, PlainView(console))
    except KeyboardInterrupt:
        again = f"the same command goes on; searcher show {chosen.name} has the table"
        console.print(f"stopped: {again}", highlight=False)
        raise typer.Exit(130) from None
    console.print(report.front_table(chosen, state.front))
    console.print(
        f"{len(state.complete)} complete trials, {state.failed} failed: {chosen.stored_name} in {runs_dir}",
        highlight=False,
    )
    if not state.complete:
        raise typer.Exit(1)


@app.command()
def show(
    study: StudyName,
    every: Annotated[bool, typer.Option("--all", help="All trials, not the front alone.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """The front of a stored study as a table."""
    from rich.console import Console

    from searcher import report, storage

    stored_name, hint = storage.resolve(runs_dir, study)
    if hint:
        typer.echo(hint, err=True)
    stored, searched = storage.load(runs_dir, stored_name)
    console = Console()
    console.print(report.study_table(searched, stored, every))
    if csv:
        _write_csv(report.frame(searched, stored, every), csv)


@app.command("ls")
def list_(runs_dir: RunsDir = RUNS) -> None:
    """The studies that can be run, and those that are stored."""
    from rich.console import Console

    from searcher import catalog, report, storage

    console = Console()
    console.print(report.catalog_table(catalog.files("studies")))
    names = storage.stored_names(runs_dir)
    if names:
        console.print(report.stored_table([storage.load(runs_dir, name) for name in names]))


@app.command()
def check(study: StudyName, override: Overrides = None) -> None:
    """Check a study without running it: its keys, task, space and metrics."""
    from searcher.check import check_parts, describe

    chosen = _choose(study, override)
    for line in describe(chosen, check_parts(chosen)):
        typer.echo(line)


@app.command()
def cost(
    target: Target,
    input_sizes: InputSizes = None,
    classes: Classes = 10,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """What a network costs: every operation, the totals, and all score variants side by side."""
    from rich.console import Console

    from searcher import cost_table
    from searcher.costs.op import not_counted
    from searcher.target import resolve

    found = resolve(target, runs_dir, input_sizes, classes)
    ops, how = found.ops()
    console = Console()
    console.print(f"{found.title}, {how}", soft_wrap=True, highlight=False)
    console.print(cost_table.LayerTable(ops))
    for line in not_counted(ops):
        console.print(f"not counted: {line}", style="bold", soft_wrap=True, highlight=False)
    console.print(cost_table.variant_table(ops))
    for line in cost_table.references():
        console.print(line, soft_wrap=True, highlight=False)
    if csv:
        _write_csv(cost_table.frame(ops), csv)


@app.command("measure")
def measure_(
    target: Target,
    input_sizes: InputSizes = None,
    classes: Classes = 10,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it runs.")] = "cpu",
    warmup: Annotated[int, typer.Option(min=0, help="Runs before those that are timed.")] = 10,
    runs: Annotated[int, typer.Option(min=1, help="Runs that are timed.")] = 50,
    runs_dir: RunsDir = RUNS,
) -> None:
    """How a network runs: size of its file, latency, FPS and memory, in a process of its own."""
    from rich.console import Console

    from searcher import cost_table
    from searcher.costs.latency import check_device, run_inference
    from searcher.deployment import Deployment
    from searcher.engines import weights
    from searcher.target import resolve

    asked = Deployment(batch=batch, threads=threads, device=device, warmup=warmup, runs=runs)
    check_device(asked)
    found = resolve(target, runs_dir, input_sizes, classes)
    executed = found.network().executed
    try:
        inference = run_inference(executed, found.example(), asked)
    except TrialError as error:
        raise SearcherError(f"{found.title}: {error}") from error
    console = Console()
    console.print(found.title, soft_wrap=True, highlight=False)
    console.print(cost_table.inference_table(inference, weights.size_mb(executed)))


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On the loopback interface.")] = 8080,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Optuna's dashboard on everything stored; Ctrl-C ends it."""
    from searcher.dashboard import serve

    serve(runs_dir, port)


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="TASK", help="The task whose data to download.")],
) -> None:
    """Download a task's data into the user's cache and check it."""
    from searcher import tasks

    task = tasks.entry(name)
    if task.fetch is None:
        raise SearcherError(f"task {name} needs no download: its data comes with the installation")
    typer.echo(f"{name} is in {task.fetch()}")


def main() -> None:
    """The console command: bad input is one message and exit status 2."""
    try:
        app()
    except SearcherError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
