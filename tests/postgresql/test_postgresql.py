"""Trials stored on a PostgreSQL server of this test's own, on loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, Searcher
from tests.helpers.processes import until

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/nowhere"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server's URL; the server ends with the tests, by its own process."""
    if not (BIN / "postgres").exists():
        pytest.skip("PostgreSQL is not here")
    # It does not run as root.
    other = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if other:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run(
        [*other, BIN / "initdb", "-D", data, "-U", "searcher", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    asked = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen([*other, BIN / "postgres", *asked], stdout=log, stderr=log, cwd=folder)
    try:
        until(lambda: "ready to accept connections" in (folder / "log").read_text())
        yield f"postgresql://searcher@127.0.0.1:{port}/postgres"
    finally:
        running.terminate()
        running.wait(30)
        shutil.rmtree(folder)


# In processes of their own, with which their connections end.
@pytest.mark.slow
def test_a_study_on_a_server(place: Path, searcher: Searcher, server: str):
    asked = ["run", "--study", "tiny", "--set", "budget.epochs=1"]
    result = searcher(*asked, "--storage", server, "--set", "budget.trials=1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (place / "runs" / "optuna.db").exists()
    # Every other command knows from the runs folder, and nobody else may read how it is reached.
    assert "top1" in searcher("show", "tiny").stdout
    assert (place / "runs" / "storage.txt").stat().st_mode & 0o077 == 0
    again = searcher(*asked, "--set", "budget.trials=2")
    assert "2 complete" in again.stdout, again.stderr


def test_a_server_that_is_not_there_is_one_message(place: Path, run_command: Run):
    result = run_command(
        "run",
        "--study",
        "tiny",
        "--storage",
        "postgresql://me:secret@127.0.0.1:1/there",
        "--runs-dir",
        "other",
    )
    assert result.returncode == 2
    assert "postgresql://me:***@127.0.0.1:1/there cannot be used" in result.stderr, result.stderr
    assert "secret" not in result.stderr
