"""Where a benchmark's figures are written, with the machine, its load and the commit."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, Any]) -> None:
    """Write `benchmarks/results/NAME.json` and print it, without the traces."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = rounded(figures) | {
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
        "commit": commit.stdout.strip(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "traces"}, indent=1))


def machine() -> str:
    """The processor and the cores that this process may use."""
    # Not before: what a benchmark with trials imports at its head, each of its trials imports as well.
    from searcher.costs.latency import processor
    from searcher.launch import cores

    return f"{processor()}, {cores()} cores"


def rounded(value: Any) -> Any:
    """The same with every number to four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
