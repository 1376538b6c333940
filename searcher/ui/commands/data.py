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
        reason = f"cannot be downloaded: {task.how}" if task.how else "comes with the installation"
        raise SearcherError(f"the data of task {name} {reason}")
    typer.echo(f"{name} is in {task.fetch()}")
