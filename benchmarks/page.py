"""Makes `docs/benchmarks.md` and its chart from the files in `benchmarks/results`.

python -m benchmarks.page
"""

import ast
import json
from pathlib import Path
from typing import Any

from benchmarks import chart, scatter
from benchmarks.figures import RESULTS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
ORDER = (
    "search_efficiency",
    "search_efficiency_cifar10",
    "training_throughput",
    "training_throughput_cuda",
    "cpu_training",
    "side_by_side",
    "side_by_side_cuda",
    "published_cuda",
    "overhead",
    "scale",
    "driver_cost",
    "trial_start",
    "prediction",
    "fidelity",
    "runtimes",
    "prepare",
    "published_front",
    "headline",
    "segmentation",
)
GOALS = {
    "search_efficiency": "≤ 0.2",
    "search_efficiency_cifar10": "≤ 0.2",
    "training_throughput": "≥ 3",
    "training_throughput_cuda": "≥ 7.7",
    "side_by_side_cuda": "≥ 2",
    "published_cuda": "≤ 1",
    "overhead": "< 0.01",
    "headline": "≤ 0.6",
    "segmentation": "> 1",
}
OF_A_TASK = {"search_efficiency_cifar10": ("search_efficiency", " --task cifar10 --trials 12")}
"""The benchmark that makes a result of another name, and with which options."""

ON_A_GPU = "_cuda"
"""The end of the name of a result that was measured on a GPU."""

HIDDEN = ("ratio", "runs", "traces", "points", "machine", "load", "commit")
HEAD = """# Benchmarks

Every figure is a ratio of two things measured side by side in one run, and its parts. This page is made from
`benchmarks/results/*.json` by `python -m benchmarks.page`; each of those files is written by the command
named with it and has every single measurement.
"""


def main() -> None:
    """Write the page and the charts."""
    text, charts = made()
    for name, chart_of_it in charts.items():
        (DOCS / name).write_text(chart_of_it)
    (DOCS / "benchmarks.md").write_text(text)


def made() -> tuple[str, dict[str, str]]:
    """The page, and the charts by the names of their files."""
    names = [name for name in ORDER if (RESULTS / f"{name}.json").is_file()]
    results = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}
    rows = [[f"[{n}](#{n})", _number(r["ratio"]), GOALS.get(n, "")] for n, r in results.items()]
    parts, charts = [HEAD, _table(["benchmark", "ratio", "goal"], rows)], {}
    for name, result in results.items():
        parts += [f"## {name}\n", _about(name), *_tables(result), _circumstances(name, result)]
        if "traces" in result:
            medians = {method: chart.median(found) for method, found in result["traces"].items()}
            charts[f"{name}.svg"] = chart.steps(medians, **result["axes"])
            parts.append(f"![{result['axes']['title']}]({name}.svg)\n")
        if "points" in result:
            charts[f"{name}.svg"] = scatter.drawn(result["points"], **result["chart"])
            parts.append(f"![{result['chart']['title']}]({name}.svg)\n")
        note = HERE / "notes" / f"{name}.md"
        if note.is_file():
            parts.append(note.read_text())
    return "\n".join(parts), charts


def _about(name: str) -> str:
    """The first paragraphs of a benchmark's own docstring; it is told once."""
    if name in OF_A_TASK:
        return f"The same as [{OF_A_TASK[name][0]}](#{OF_A_TASK[name][0]}) on another task.\n"
    cpu = name.removesuffix(ON_A_GPU)
    if cpu != name and (RESULTS / f"{cpu}.json").is_file():
        return f"The same as [{cpu}](#{cpu}) on a GPU.\n"
    text = ast.get_docstring(ast.parse((HERE / f"{cpu}.py").read_text())) or ""
    kept = [p for p in text.split("\n\n") if "python -m" not in p and not p.startswith("Writes")]
    return "\n\n".join(kept) + "\n"


def _circumstances(name: str, result: dict[str, Any]) -> str:
    load = f", load {result['load']}" if isinstance(result.get("load"), int | float) else ""
    module, options = OF_A_TASK.get(name, (name.removesuffix(ON_A_GPU), ""))
    command = f"python -m benchmarks.{module}{options}"
    commit = result["commit"] or "not recorded"
    return f"`{command}` on {result['machine']}{load}, commit {commit}.\n"


def _tables(result: dict[str, Any]) -> list[str]:
    """A table for everything in a result that has rows; the rest is a list."""
    shown = {key: value for key, value in result.items() if key not in (*HIDDEN, "axes", "chart")}
    lines = [f"- {_words(k)}: {_number(v)}" for k, v in shown.items() if not isinstance(v, dict | list)]
    tables = []
    for key, value in shown.items():
        if not isinstance(value, dict):
            continue
        cells = {row: v if isinstance(v, dict) else {"": v} for row, v in value.items()}
        columns = list(dict.fromkeys(column for row in cells.values() for column in row))
        if any(isinstance(v, dict) for row in cells.values() for v in row.values()):
            tables += [_nested(row, v) for row, v in cells.items()]
            continue
        rows = [[row, *(_number(v.get(c, "")) for c in columns)] for row, v in cells.items()]
        tables.append(_table([_words(key), *columns], rows))
    return [*(["\n".join(lines) + "\n"] if lines else []), *tables]


def _nested(name: str, value: dict[str, dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in value.values() for column in row))
    return _table(
        [name, *columns], [[r, *(_number(v.get(c, "")) for c in columns)] for r, v in value.items()]
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _number(value: Any) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or value >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
