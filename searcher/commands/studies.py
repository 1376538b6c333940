"""Commands on studies that can be run: `run`, `check` and `ls`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searcher.commands.common import (
    RUNS,
    Overrides,
    RunsDir,
    StudyName,
    chosen,
    stopped_by_ctrl_c,
    write_csv,
)
from searcher.commands.launching import (
    Account,
    Asked,
    Gpus,
    Memory,
    NodeFeatures,
    OnCluster,
    Partition,
    Storage,
    TimeLimit,
    TrialsPerGpu,
    Workers,
    goes_on,
    launched,
)
from searcher.wording import several

if TYPE_CHECKING:
    from rich.console import Console

    from searcher.launch import Launcher
    from searcher.state import State
    from searcher.study import Study


def run(
    study: Annotated[str, typer.Option(help="A study's name, or a path to its TOML file.")],
    override: Overrides = None,
    workers: Workers = None,
    storage: Storage = None,
    cluster: OnCluster = None,
    slurm_partition: Partition = None,
    slurm_account: Account = None,
    slurm_constraint: NodeFeatures = None,
    gpus: Gpus = None,
    trials_per_gpu: TrialsPerGpu = None,
    time: TimeLimit = None,
    mem: Memory = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Search: run a study's trials. Ctrl-C stops; the same command goes on from there.

    With --cluster each trial is a job, which goes on after Ctrl-C, and is found again by the same command.

    Exit status 1 where not one trial is complete, 2 for bad input, 130 after Ctrl-C.
    """
    from rich.console import Console

    from searcher.check import doubts

    console = Console(soft_wrap=not sys.stdout.isatty())
    asked = Asked(cluster, slurm_partition, slurm_account, slurm_constraint, gpus, time, mem)
    searched = chosen(study, [*(override or []), *asked.overrides(trials_per_gpu)])
    launcher = launched([searched], cluster, workers, console)
    text = f"{searched.stored_name}: {several(searched.budget.trials, 'trial')}, {launcher.workers} at a time"
    console.print(text, highlight=False)
    for line in doubts(searched):
        console.print(f"warning: {line}", style="yellow", highlight=False)
    with stopped_by_ctrl_c(goes_on(launcher, searched.name)):
        state = _search(searched, runs_dir, launcher, storage, console)
    _tell(searched, state, runs_dir, console)
    if not state.complete:
        raise typer.Exit(1)


def _search(
    study: "Study", runs_dir: Path, launcher: "Launcher", storage: str | None, console: "Console"
) -> "State":
    from searcher.live import LiveView, PlainView
    from searcher.search import search

    if not console.is_terminal:
        return search(study, runs_dir, launcher, PlainView(console), storage)
    with LiveView(console) as view:
        return search(study, runs_dir, launcher, view, storage)


def _tell(study: "Study", state: "State", runs_dir: Path, console: "Console") -> None:
    # Not before: a driver does without plotly.
    from searcher import report
    from searcher.publish import publish

    console.print(report.front_table(study, state.front))
    if lacking := publish(runs_dir, study.stored_name):
        console.print(lacking, highlight=False)
    counts = ", ".join(f"{count} {name}" for count, name in state.counts)
    text = f"{counts}: {study.stored_name} in {runs_dir}"
    console.print(text, highlight=False)


def sweep(
    study: StudyName,
    stage: Annotated[
        list[str],
        typer.Option(
            metavar="STAGE.PARAMETER=VALUES", help="e.g. prune.sparsity=0,0.02,...,0.5; may repeat."
        ),
    ],
    recipe: Annotated[
        Path | None, typer.Option(help="Begin with this recipe file, not with the space's first known one.")
    ] = None,
    override: Overrides = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """One recipe with several values of a stage's parameter, and the table of what comes out."""
    from rich.console import Console

    from searcher import recipe_file, sweep_table
    from searcher import sweep as sweeping

    console = Console(soft_wrap=not sys.stdout.isatty())
    searched = chosen(study, override)
    settings = [sweeping.parse(text) for text in stage]
    first = recipe_file.load(recipe).recipe if recipe else sweeping.base(searched)
    wanted = sweeping.recipes(first, settings)

    def told(row: sweeping.Row) -> None:
        console.print(sweep_table.line(row, searched), highlight=False)

    with stopped_by_ctrl_c("the same command goes on; what is done is kept"):
        rows = sweeping.sweep(searched, wanted, runs_dir, told)
    console.print(sweep_table.table(rows, searched, settings))
    if csv:
        write_csv(sweep_table.frame(rows, searched), csv)


def check(study: StudyName, override: Overrides = None) -> None:
    """Check a study without running it: its keys, task, space and metrics."""
    from searcher.check import check_parts, describe

    checked = chosen(study, override)
    for line in describe(checked, check_parts(checked)):
        typer.echo(line)


def ls(runs_dir: RunsDir = RUNS) -> None:
    """The studies that can be run, and those that are stored."""
    from rich.console import Console

    from searcher import catalog, report, storage

    console = Console()
    console.print(report.catalog_table(catalog.files("studies")))
    names = storage.stored_names(runs_dir)
    if names:
        console.print(report.stored_table([storage.load(runs_dir, name) for name in names]))
