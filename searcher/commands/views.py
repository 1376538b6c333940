"""Commands that show a stored study: `show`, `report` and `dashboard`."""

from pathlib import Path
from typing import Annotated

import typer

from searcher.commands.common import (
    RUNS,
    Force,
    RunsDir,
    StudyName,
    load,
    refuse_foreign,
    stored_name,
    write_csv,
)


def show(
    study: StudyName,
    every: Annotated[bool, typer.Option("--all", help="All trials, not the front alone.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")] = None,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """The front of a stored study as a table."""
    from rich.console import Console

    from searcher import report
    from searcher.records import damaged

    stored, searched = load(runs_dir, study)
    console = Console()
    console.print(report.study_table(searched, stored, every))
    if said := damaged(stored.get_trials(deepcopy=False)):
        console.print(f"{said}: left out of the front", style="bold", highlight=False)
    if csv:
        write_csv(report.frame(searched, stored, every), csv, force=force)


def report(
    study: StudyName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help=r"\[default: report.html in the study's folder]"),
    ] = None,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """A stored study as a page: one HTML file that needs nothing from the network."""
    from searcher.html_report import write_report
    from searcher.page import is_page

    name = stored_name(runs_dir, study)
    path = output or runs_dir / name / "report.html"
    if output:
        refuse_foreign(output, is_page, "a page of a study", force=force)
    write_report(runs_dir, name, path)
    typer.echo(path)


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On the loopback interface.")] = 8080,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Optuna's dashboard on everything stored; Ctrl-C ends it."""
    from searcher.dashboard import serve

    serve(runs_dir, port)
