"""The command line: every command by name, in the order of `searcher --help`."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from searcher.config import catalog
from searcher.errors import SearcherError
from searcher.ui.commands import (
    batch,
    content,
    data,
    deploy,
    init,
    networks,
    sensitivity,
    store,
    studies,
    views,
)
from searcher.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {
    "run": studies.run,
    "batch": batch.batch,
    "status": batch.status,
    "cancel": batch.cancel,
    "sweep": studies.sweep,
    "show": views.show,
    "report": views.report,
    "dashboard": views.dashboard,
    "export": deploy.export,
    "retrain": deploy.retrain,
    "verify": deploy.verify,
    "cost": networks.cost,
    "measure": networks.measure,
    "evaluate": networks.evaluate,
    "doctor": networks.doctor,
    "sensitivity": sensitivity.sensitivity,
    "init": init.init,
    "check": studies.check,
    "ls": content.ls,
    "new": content.new,
}

_DIGITS = re.compile(r"(\d{20})\d{20,}")
"""Of a number that nobody reads to its end, what is said again in a message."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)

_data = typer.Typer(no_args_is_help=True, help="Data sets on this machine.")
_data.command("fetch")(data.fetch)
app.add_typer(_data, name="data")

_store = typer.Typer(no_args_is_help=True, help="What was trained once and is used again.")
_store.command("ls")(store.ls)
_store.command("gc")(store.gc)
app.add_typer(_store, name="store")


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"searcher {__version__}")
        raise typer.Exit


@app.callback()
def _searcher(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which, and end.")
    ] = False,
) -> None:
    """Search over neural-network compression recipes: the front of quality against cost."""
    catalog.load_plugins()


def main(arguments: Sequence[str] | None = None) -> None:
    """The console command: bad input is one message and exit status 2.

    Args:
        arguments: Of the command; by default those of this process.

    Raises:
        SystemExit: Always; its code is the exit status.
    """
    try:
        app(arguments)
    except SearcherError as error:
        _refuse(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror or error}")


def _refuse(message: str) -> NoReturn:
    shortened = _DIGITS.sub(r"\1…", message)
    typer.echo(f"error: {shortened}", err=True)
    sys.exit(2)
