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
        "--input", metavar="1,C,H,W", help=r"Sizes of the input.  \[default: the study's, else 1,3,32,32]"
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
            min=1, help=r"Trials at a time.  \[default: one a core, at most 4; 1 with a GPU or timed metrics]"
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
    # Not before: a driver does without plotly.
    from searcher.publish import publish

    console.print(report.front_table(chosen, state.front))
    if lacking := publish(runs_dir, chosen.stored_name):
        console.print(lacking, highlight=False)
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


@app.command()
def export(
    study: Annotated[str, typer.Option(help="A stored study's name.")],
    pick: Annotated[
        str, typer.Option(help='best, knee, a trial\'s number, or a condition such as "top1>=0.90".')
    ] = "best",
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe file.")] = Path("best.toml"),
    runs_dir: RunsDir = RUNS,
) -> None:
    """Write one trial's recipe to a file that retrains without the study."""
    from searcher import storage
    from searcher.export import export as make_file
    from searcher.pick import pick as choose
    from searcher.report import complete_trials, words

    stored_name, hint = storage.resolve(runs_dir, study)
    if hint:
        typer.echo(hint, err=True)
    stored, searched = storage.load(runs_dir, stored_name)
    trial = choose(searched, complete_trials(stored), pick)
    file = make_file(searched, trial, stored.user_attrs["identity"]["data fingerprint"])
    file.save(output)
    figures = ", ".join(f"{o.key} {trial.user_attrs['metrics'][o.key]:.5g}" for o in searched.objectives)
    typer.echo(f"trial {trial.number}: {words(trial)}")
    typer.echo(f"{figures}: {output}; searcher retrain {output} trains it again")


@app.command()
def retrain(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, from searcher export.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings; the first seed is the file's.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the file's budget.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=r"The folder.  \[default: the file's name]")
    ] = None,
) -> None:
    """Train a recipe file's recipe again and write the model that deploys; Ctrl-C stops, again goes on.

    Exit status 3 where a figure is further from the expected one than its tolerance.
    """
    from rich.console import Console

    from searcher import deliver, recipe_file, retrain_table

    console = Console(soft_wrap=not sys.stdout.isatty())
    file, folder = recipe_file.load(recipe), output or recipe.with_suffix("")
    try:
        delivery = deliver.retrain_into(file, folder, seeds, epochs, console)
    except KeyboardInterrupt:
        console.print("stopped: the same command goes on from the last epoch", highlight=False)
        raise typer.Exit(130) from None
    for title, rows in retrain_table.sections(delivery.result, delivery.onnx):
        console.print(retrain_table.table(title, rows))
    console.print(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}", highlight=False)
    if not delivery.result.met:
        raise typer.Exit(3)


@app.command()
def verify(
    study: Annotated[str, typer.Option(help="A stored study's name.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each point.")] = 3,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at a time.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Train the front again with other seeds, read the test split, and say which points were luck."""
    from rich.console import Console

    from searcher import report, storage
    from searcher.front import front
    from searcher.search import default_workers
    from searcher.verify import verify as again

    stored_name, hint = storage.resolve(runs_dir, study)
    if hint:
        typer.echo(hint, err=True)
    stored, searched = storage.load(runs_dir, stored_name)
    points, count = front(searched, report.complete_trials(stored)), workers or default_workers(searched)
    console = Console(soft_wrap=not sys.stdout.isatty())
    try:
        verified = again(searched, points, runs_dir / stored_name, seeds, count, console.print)
    except KeyboardInterrupt:
        console.print("stopped: the same command goes on from there", highlight=False)
        raise typer.Exit(130) from None
    console.print(report.verified_table(searched, verified))


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
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of the processor.")] = 1,
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


@app.command("report")
def report_(
    study: StudyName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help=r"\[default: report.html in the study's folder]"),
    ] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """A stored study as a page: one HTML file that needs nothing from the network."""
    from searcher import storage
    from searcher.html_report import write_report

    stored_name, hint = storage.resolve(runs_dir, study)
    if hint:
        typer.echo(hint, err=True)
    path = output or runs_dir / stored_name / "report.html"
    write_report(runs_dir, stored_name, path)
    typer.echo(path)


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
