"""A retraining in rows: what was expected and what came out, what compression changed, how ONNX agrees."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from searcher.deploy.agreement import Agreement
from searcher.deploy.retrain import Line, Result, Retrained
from searcher.ui.comparison import Goal, changes, class_changes, class_headings
from searcher.wording import fidelity, kernels, number, spread

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""The columns' names, and the rows."""

SEEN_VALIDATION = "The given weights have probably seen the validation images: the test split counts"


def expected_rows(result: Result) -> Rows:
    """Every expected metric beside the retrained one."""
    return ("metric", "expected", "retrained", ""), [
        (line.key, expected(line), retrained(line, len(result.seeds)), "met" if line.met else "MISSED")
        for line in result.lines
    ]


def expected(line: Line) -> str:
    """A metric's expected value and tolerance."""
    return f"{number(line.expected)} ± {spread(line.expected, line.tolerance)}"


def retrained(line: Line, seeds: int) -> str:
    """A metric's retrained value; with several seeds their mean and deviation."""
    over = f" ± {spread(line.mean, line.deviation)}" if seeds > 1 else ""
    return number(line.mean) + over


def test_rows(result: Result) -> Rows:
    """Quality on the test split, a row a seed."""
    names = tuple(result.seeds[0].test)
    return ("seed", *names), [(str(s.seed), *(number(s.test[n]) for n in names)) for s in result.seeds]


def change_rows(seed: Retrained, goals: Mapping[str, Goal | None]) -> Rows:
    """Figures of the model before it was pruned and quantized, and after; no rows where it is neither.

    Args:
        seed: What came out.
        goals: Of the metrics that are expected.
    """
    found = changes(seed.before, seed.after, goals)
    return ("figure", "before", "after", "change"), [(c.label, c.before, c.after, c.said) for c in found]


def class_rows(seed: Retrained) -> Rows:
    """The figures that there are of each class, before and after."""
    return ("class", *class_headings(seed.after)), [
        (name, *(c.whole for c in every)) for name, every in class_changes(seed.before, seed.after)
    ]


def agreement_rows(files: Mapping[str, Agreement]) -> Rows:
    """Each ONNX file against the network that it was made of, on the test split."""
    figure = next((a.metric for a in files.values()), "")
    return ("file", f"{figure} of the network", f"{figure} of the file", "equal predictions"), [
        (name, f"{a.quality:.4f}", f"{a.quality_onnx:.4f}", f"{a.equal_share:.2%}")
        for name, a in files.items()
    ]


def sections(
    result: Result, files: Mapping[str, Agreement], goals: Mapping[str, Goal | None] | None = None
) -> list[tuple[str, Rows]]:
    """Everything that a reader is told, titled.

    Args:
        result: What came out.
        files: How each ONNX file agrees with its network.
        goals: Of the metrics that are expected, for what is said to be better.
    """
    first = result.seeds[0]
    of = f", seed {first.seed}" if len(result.seeds) > 1 else ""
    every = [
        ("Expected and retrained, on the validation split", expected_rows(result)),
        ("Test split, which nothing else has seen", test_rows(result)),
        (f"ONNX files on the test split{of}", agreement_rows(files)),
        ("int8, as it was executed", int8_rows(result)),
        (
            f"Before and after pruning and quantization, on the validation split{of}",
            change_rows(first, goals or {}),
        ),
        (f"Before and after by class, on the validation split{of}", class_rows(first)),
    ]
    return [(title, rows) for title, rows in [*every, (SEEN_VALIDATION, seen_rows(result))] if rows[1]]


def table(title: str, rows: Rows) -> Group:
    """Rows on a terminal, and the title above, which may be wider than they are."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(rows[0]):
        drawn.add_column(name, justify="right" if i else "left")
    for row in rows[1]:
        drawn.add_row(*row)
    return Group(Text(title, style="table.title"), drawn)


def seen_rows(result: Result) -> Rows:
    """Figures that given weights have on validation and cannot have by chance, beside those on test."""
    seed = result.seeds[0]
    return ("metric", "validation", "test", "standard errors apart"), [
        (key, number(seed.validation[key]), number(seed.test[key]), f"{apart:.1f}")
        for key, apart in result.beyond_test.items()
    ]


def int8_rows(result: Result) -> Rows:
    """The kernels of an int8 model, and how far it is from exact arithmetic, a row a seed."""
    ran = [(str(s.seed), kernels(s.int8), fidelity(s.int8)) for s in result.seeds if s.int8]
    return ("seed", "kernels", "from exact arithmetic"), list(ran)


def markdown(rows: Rows) -> str:
    """Rows in Markdown."""
    lines: Sequence[Sequence[str]] = [rows[0], ["---"] * len(rows[0]), *rows[1]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
