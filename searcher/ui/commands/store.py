"""Commands on the store: `store ls`, `store gc`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searcher.ui.commands.options import RUNS, RunsDir
from searcher.wording import several

if TYPE_CHECKING:
    from searcher.compression.store import Store


def ls(runs_dir: RunsDir = RUNS) -> None:
    """List what is stored of trained stages, what was used last first."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from searcher.compression.store import size_text

    entries = _store(runs_dir).entries()
    if not entries:
        typer.echo(f"nothing is stored in {_store(runs_dir).folder}")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("entry", "size", "used", "task", "seed", "epochs", "what it is"):
        table.add_column(name, justify="right" if name in ("size", "seed", "epochs") else "left")
    for entry in entries:
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        about = [str(entry.about.get(key, "")) for key in ("task", "seed", "epochs")]
        words = str(entry.about.get("words", "a training that is not finished"))
        table.add_row(entry.digest[:8], size_text(entry.bytes), used, *about, words)
    Console().print(table)
    typer.echo(f"{several(len(entries), 'entry')}, {size_text(sum(e.bytes for e in entries))}")


def gc(
    max_size: Annotated[str, typer.Option(help="What may stay, e.g. 10GB.")],
    runs_dir: RunsDir = RUNS,
) -> None:
    """Drop what was not used for longest until the rest fits; what is being trained stays."""
    from searcher.compression.store import size, size_text

    store = _store(runs_dir)
    dropped = store.collect(size(max_size))
    left = store.entries()
    freed = size_text(sum(e.bytes for e in dropped))
    typer.echo(
        f"dropped {several(len(dropped), 'entry')}, {freed}; "
        f"{len(left)} stay, {size_text(sum(entry.bytes for entry in left))}"
    )


def _store(runs_dir: Path) -> "Store":
    from searcher.compression.store import Store
    from searcher.execution.layout import STORE

    return Store(runs_dir / STORE)
