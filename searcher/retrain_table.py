"""A retraining in rows: what was expected and what came out, what compression changed, how ONNX agrees."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from searcher.changes import changes
from searcher.engines.onnx import Agreement
from searcher.report import number, spread
from searcher.retrain import Line, Result, Retrained

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""The columns' names, and the rows."""

SEEN = "The given weights have probably seen the validation images: the test split counts"


def expected_rows(result: Result) -> Rows:
    """Every expected metric beside the retrained one."""
    return ("metric", "expected", "tolerance", "retrained", ""), [
        (
            line.key,
            number(line.expected),
            f"± {spread(line.expected, line.tolerance)}",
            number(line.mean) + _over_seeds(line, len(result.seeds)),
            "met" if line.met else "MISSED",
        )
        for line in result.lines
    ]


def test_rows(result: Result) -> Rows:
    """Quality on the test split, a row a seed."""
    names = tuple(result.seeds[0].test)
    return ("seed", *names), [(str(s.seed), *(number(s.test[n]) for n in names)) for s in result.seeds]


def change_rows(seed: Retrained) -> Rows:
    """Figures of the model before it was pruned and quantized, and after; no rows where it is neither."""
    found = changes(seed.before, seed.after)
    return ("figure", "before", "after", "change"), [(c.label, c.before, c.after, c.change) for c in found]


def agreement_rows(files: Mapping[str, Agreement]) -> Rows:
    """Each ONNX file against the network that it was made of, on the test split."""
    figure = next((a.metric for a in files.values()), "")
    return ("file", f"{figure} of the network", f"{figure} of the file", "equal predictions"), [
        (name, f"{a.quality:.4f}", f"{a.quality_onnx:.4f}", f"{a.equal_share:.2%}")
        for name, a in files.items()
    ]


def sections(result: Result, files: Mapping[str, Agreement]) -> list[tuple[str, Rows]]:
    """Everything that a reader is told, titled."""
    every = [
        ("Expected and retrained, on the validation split", expected_rows(result)),
        ("Test split, which nothing else has seen", test_rows(result)),
        ("Before and after pruning and quantization, on the validation split", change_rows(result.seeds[0])),
        ("ONNX files on the test split", agreement_rows(files)),
    ]
    return [(title, rows) for title, rows in [*every, (SEEN, seen_rows(result))] if rows[1]]


def table(title: str, rows: Rows) -> Table:
    """Rows on a terminal."""
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(rows[0]):
        drawn.add_column(name, justify="right" if i else "left")
    for row in rows[1]:
        drawn.add_row(*row)
    return drawn


def seen_rows(result: Result) -> Rows:
    """Figures that given weights have on validation and cannot have by chance, beside those on test."""
    seed = result.seeds[0]
    return ("metric", "validation", "test", "standard errors apart"), [
        (key, number(seed.validation[key]), number(seed.test[key]), f"{apart:.1f}")
        for key, apart in result.beyond_test.items()
    ]


def markdown(rows: Rows) -> str:
    """Rows in Markdown."""
    lines: Sequence[Sequence[str]] = [rows[0], ["---"] * len(rows[0]), *rows[1]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _over_seeds(line: Line, seeds: int) -> str:
    return f" ± {spread(line.mean, line.deviation)}" if seeds > 1 else ""
