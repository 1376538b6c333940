"""Commands that show a stored study: `show`, `report` and `dashboard`."""

from pathlib import Path
from typing import Annotated

import typer

from searcher.ui.commands.options import (
    RUNS,
    AsJson,
    Force,
    RunsDir,
    StudyName,
    StudyOption,
    load,
    print_json,
    refuse_foreign,
    stored_name,
    the_study,
    write_csv,
)


def show(
    study: StudyName = None,
    option: StudyOption = None,
    every: Annotated[bool, typer.Option("--all", help="All trials, not the front alone.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")] = None,
    force: Force = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """The front of a stored study as a table."""
    from rich.console import Console

    from searcher.searching.records import damaged
    from searcher.ui.terminal.trials import frame, records, study_table

    stored, searched = load(runs_dir, the_study(study, option))
    said = damaged(stored.get_trials(deepcopy=False))
    if as_json:
        trials = records(searched, stored, every)
        print_json({"study": searched.stored_name, "damaged": said, "trials": trials})
    else:
        console = Console()
        console.print(study_table(searched, stored, every))
        if said:
            console.print(f"{said}: left out of the front", style="bold", highlight=False)
    if csv:
        write_csv(frame(searched, stored, every), csv, force=force)


def report(
    study: StudyName = None,
    option: StudyOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help=r"\[default: report.html in the study's folder]"),
    ] = None,
    force: Force = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """A stored study as a page: one HTML file that needs nothing from the network."""
    from searcher.ui.html.page import is_page
    from searcher.ui.html.study_page import write_report

    name = stored_name(runs_dir, the_study(study, option))
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
    from searcher.ui.dashboard.server import serve

    serve(runs_dir, port)
