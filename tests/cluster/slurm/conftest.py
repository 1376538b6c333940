"""A Slurm of this host's own for the tests in this folder: `make test-slurm`."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Ask = Callable[..., str]


@pytest.fixture(scope="session")
def slurm() -> Iterator[Ask]:
    """The commands of a Slurm that was brought up for this session; what one prints."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        try:
            subprocess.run([HERE / "up", folder], check=True)
            os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"

            def ask(*command: str) -> str:
                return subprocess.run(command, check=True, capture_output=True, text=True).stdout

            yield ask
        finally:
            subprocess.run([HERE / "down", folder], check=False)
            os.environ.pop("SLURM_CONF", None)
