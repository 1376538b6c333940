"""Where a benchmark's figures are written, with the machine, its load and the commit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def write(name: str, figures: dict[str, Any]) -> None:
    """Write `benchmarks/results/NAME.json` and print it, without the traces."""
    result = rounded(figures) | {
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
        "commit": commit(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "traces"}, indent=1))


def commit(folder: Path = HERE) -> str | None:
    """The commit of the code that a folder is in, with a ``+`` where the code has changes that are not in it.

    None, with git's own words on standard error, where git does not tell: in a folder of another owner, or
    in a copy without its history. The figures are measured by then, and are not thrown away for it.
    """

    def git(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True)

    named = git("rev-parse", "--short", "HEAD")
    if named.returncode:
        print(f"the commit is not recorded: {named.stderr.strip()}", file=sys.stderr)
        return None
    changed = git("diff", "--quiet", "HEAD", "--", ":/*.py", ":/*.toml").returncode
    return named.stdout.strip() + ("+" if changed else "")


def machine() -> str:
    """The processor and the cores that this process may use."""
    # Not before: what a benchmark with trials imports at its head, each of its trials imports as well.
    from searcher.costs.latency import processor
    from searcher.execution.launcher import cores

    return f"{processor()}, {cores()} cores"


def rounded(value: Any) -> Any:
    """The same with every number to four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
