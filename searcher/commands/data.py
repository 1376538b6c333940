"""Commands on data sets: `data fetch`."""

from typing import Annotated

import typer

from searcher.errors import SearcherError


def fetch(
    name: Annotated[str, typer.Argument(metavar="TASK", help="The task whose data to download.")],
) -> None:
    """Download a task's data into the user's cache and check it."""
    from searcher import tasks

    task = tasks.entry(name)
    if task.fetch is None:
        raise SearcherError(f"task {name} needs no download: its data comes with the installation")
    typer.echo(f"{name} is in {task.fetch()}")
