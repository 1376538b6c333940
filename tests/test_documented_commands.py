"""Every command of the README and of the pages in `docs/`, executed, or shown where it is.

A page's commands run in their order, in a folder of a user that has `nets.py`, images in class folders, and
small networks in the place of the shipped spaces. A command that is in none of the tables fails a test.
"""

import ast
import functools
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import typer

from searcher.ui.cli import COMMANDS, app
from tests.conftest import TINY_SPACE, Run, commands_in
from tests.helpers.folders import digits

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ONE = ("--set", "budget.trials=1", "--set", "budget.epochs=1")
TWO = ("--set", "budget.trials=2", "--set", "budget.epochs=1")
ANY = (*TWO, "--set", "constraints=[]")
SWEPT = ("--set", "budget.epochs=1")
SCENES = (*ONE, "--set", "task=digit-scenes", "--set", "budget.train_images=32")

CUT = {
    "micronet#17": "micronet#1",
    "--seeds 3": "--seeds 2",
    "=0,0.02,0.04,0.05,0.08,0.1,0.15,0.2,0.25,0.3,0.5": "=0,0.1",
    "=0,0.2,0.4": "=0,0.4",
    "=0,0.3,0.5,0.7": "=0,0.5",
    "=random,l1,activation": "=random,activation",
}
"""What is shorter in a command when it is executed, so that it takes seconds."""

SMALL_DETECTOR = """
from searcher.recipe import Model, Recipe, Train

ENQUEUE = [{"finest": 8}]


def suggest(trial):
    args = {"width": 0.25, "finest": trial.suggest_categorical("finest", [8, 16])}
    return Recipe(model=Model(name="ssd_mobilenet_v2", args=args), stages=(Train(batch_size=16),))
"""

EXECUTED: dict[str, tuple[str, ...]] = {
    # README.md
    'searcher init own --model nets:build --data ./photos --budget "macs <= 0.5x"': (),
    "searcher doctor own": (),
    "searcher run own": TWO,
    "searcher export own --pick best -o best.toml": ("--force",),
    "searcher retrain best.toml": ("--force",),
    "searcher run --study micronet": ANY,
    "searcher show micronet --all --csv all.csv": (),
    "searcher report micronet": (),
    # cluster.md
    "searcher status": (),
    "searcher cancel micronet": (),
    # concepts.md
    "searcher measure half.toml": (),
    "searcher cost half.toml": (),
    "searcher measure resnet20": (),
    "searcher run micronet --set early_stopping.min_epochs=2 --set early_stopping.reduction_factor=3": ANY,
    "searcher sweep micronet --stage prune_channels.ratio=0,0.2,0.4 "
    "--stage quantize.calibration_images=128": SWEPT,
    "searcher export micronet --pick best -o small.toml": ("--force",),
    "searcher retrain small.toml": ("--force",),
    # costs.md
    "searcher cost best.toml": (),
    "searcher cost 'micronet#17'": (),
    "searcher cost micronet": (),
    "searcher cost resnet20 --input 1,3,64,64": (),
    "searcher cost nets:build --csv cost.csv": (),
    "searcher cost small.toml": (),
    # data.md
    "searcher check micronet --set task=./photos": (),
    # deploy.md
    "searcher export --study micronet --pick best -o best.toml": ("--force",),
    "searcher retrain best.toml --seeds 3": ("--force",),
    "searcher verify --study micronet --seeds 3": (),
    # detection.md
    "searcher run --study pedestrian": SCENES,
    "searcher run --study yolo": SCENES,
    "searcher sweep navya --stage prune.sparsity=0,0.02,0.04,0.05,0.08,0.1,0.15,0.2,0.25,0.3,0.5 "
    "--stage prune_weights.layers=convolutions --csv navya.csv": SCENES,
    "searcher sweep navya --stage train.precision=fp32,bf16": SCENES,
    # models.md
    "searcher check own": (),
    "searcher run --study own": TWO,
    # results.md
    "searcher sweep pedestrian --set budget.epochs=100 --stage prune_channels.ratio=0,0.3,0.5,0.7 --stage "
    "prune_channels.criterion=activation --stage prune_channels.share=0.5 --stage "
    "quantize.calibration_images=64 --csv ratio.csv": SCENES,
    "searcher sweep pedestrian --set budget.epochs=100 --stage prune_channels.criterion=random,l1,activation "
    "--stage prune_channels.ratio=0.5 --stage prune_channels.share=0.5 --stage "
    "quantize.calibration_images=64": SCENES,
    "searcher sweep navya --set task=pennfudan --set budget.epochs=20 "
    "--stage train.precision=fp32,bf16": SCENES,
    "searcher sweep pedestrian --set budget.epochs=100 --stage train.share=1": SCENES,
    "searcher sweep pedestrian --set budget.epochs=100 --stage ternary.share=0.25,0.5": SCENES,
    "searcher sweep yolo --set task=pennfudan --set budget.epochs=40 "
    "--stage prune_weights.sparsity=0": SCENES,
    "searcher sweep yolo --set task=pennfudan --set budget.epochs=40 --stage low_rank.ratio=0.25,0.5 "
    "--stage low_rank.share=0.5 --stage prune_weights.sparsity=0": SCENES,
    "searcher sweep yolo --set budget.epochs=100 --stage prune_weights.sparsity=0": SCENES,
    "searcher sweep yolo --set budget.epochs=100 --stage low_rank.ratio=0.25,0.5 --stage low_rank.share=0.5 "
    "--stage prune_weights.sparsity=0": SCENES,
    # search.md
    "searcher store ls": (),
    "searcher store gc --max-size 10GB": (),
    # segmentation.md
    "searcher check swiftnet": ("--set", "task=digit-masks"),
    "searcher run --study swiftnet": (*ONE, "--set", "task=digit-masks", "--set", "budget.train_images=32"),
    "searcher measure 'swiftnet#0' --by-block": (),
    # studies.md
    "searcher check mine": (),
    "searcher run mine --set budget.trials=60": ANY,
    "searcher check deployed": (),
    "searcher new space mine": (),
    "searcher new metric mine": (),
    "searcher new task mine": (),
    # lists.md
    "searcher ls models": (),
    "searcher ls spaces": (),
}
"""Commands by what is added to them, so that a small search is enough."""

ELSEWHERE = {
    "searcher data fetch cifar10": (
        "test_tasks.py::test_fetch_unpacks_where_the_task_looks_and_mends_what_was_cut_short"
    ),
    "searcher dashboard": "test_cli.py::test_the_dashboard_serves_what_is_stored",
    "searcher run --study micronet --cluster slurm --slurm-partition gpu --gpus 1 --time 2:00:00 --mem 16G": (
        "cluster/slurm/test_slurm.py::test_two_trials_share_a_gpu"
    ),
    "searcher batch studies/*.toml --cluster slurm --workers 64": (
        "cluster/slurm/test_slurm.py::test_a_batch_that_is_disturbed_finds_what_an_undisturbed_one_does"
    ),
    "python docs/onnx_example.py model.int8.onnx images.npy": (
        "engines/test_onnx.py::test_the_example_prints_the_classes"
    ),
    "searcher retrain resnet20.toml": (
        "known_answers/test_checkpoints.py::test_published_accuracy_and_int8_within_half_a_point"
    ),
    "searcher retrain densenet.toml": "test_deliver.py::test_from_search_to_onnx_runtime",
}
"""Commands that want a cluster, a network or an hour, or end by Ctrl-C: the tests that do so otherwise."""

SHOWN = {
    "plugins/mine.py": "test_extending.py::test_all_of_a_users_own_goes_from_a_search_to_a_deployed_file",
    "my_data.py": "data/test_docs.py::test_the_task_of_the_page_can_be_searched",
}
"""Files of the pages that are parts of a whole, or searched apart: the test that runs them."""

MADE = {
    "make run": "searcher run --study micronet",
    "make test": "pytest -n 2",
    "make quick": "pytest -n 2 -m 'not slow'",
    "make check": "lint-imports",
}
"""The Makefile's targets, and what each executes."""

MEASURED = {
    "python -m benchmarks.runtimes resnet20.toml densenet.toml": "benchmarks/results/runtimes.json",
    "python -m benchmarks.headline results/cifar10/*.toml --at-once 4": "benchmarks/results/headline.json",
}
"""Benchmarks, whose figures are kept."""

INSTALLED = {"pip install neural-searcher": ""}
"""Commands that want a package index."""

PROGRAMS = ("searcher ", "python ", "pip ", "make ", "pytest ", "tests/")


def code(text: str) -> list[str]:
    """The blocks of a page, fenced and indented, as they would be typed."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return fenced + [dedent(block) for block in re.findall(r"^ {4}.*\n(?:^ {4}.*\n|^\n)*", rest, re.M)]


def commands(text: str) -> list[str]:
    """The commands in a page's blocks, without their comments, once each."""
    lines = [line for block in code(text) for line in block.replace("\\\n", " ").splitlines()]
    plain = [" ".join(re.sub(r"(^|\s+)#\s.*", "", line).removeprefix("$ ").split()) for line in lines]
    return list(dict.fromkeys(line for line in plain if line.startswith(PROGRAMS)))


def inline(text: str) -> list[str]:
    """The commands in a page's sentences and tables, once each."""
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"`([^`]+)`", " ".join(rest.split()))
    return list(dict.fromkeys(one for one in found if f"{one} ".startswith(PROGRAMS)))


EVERY = [line for page in PAGES for line in commands(page.read_text())]
MENTIONED = [line for page in PAGES for line in inline(page.read_text())]
WAYS: list[dict[str, Any]] = [EXECUTED, ELSEWHERE, MADE, MEASURED, INSTALLED]


def test_every_command_is_executed_in_one_way():
    assert len(EVERY) > 40
    for line in EVERY:
        assert sum(line in way for way in WAYS) == 1, line
    stale = [line for way in WAYS for line in way if line not in EVERY + MENTIONED]
    assert not stale


@pytest.mark.parametrize("where", [*ELSEWHERE.values(), *SHOWN.values()])
def test_what_is_executed_elsewhere_is(where: str):
    file, name = where.split("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert name in names


@pytest.mark.parametrize("line", MADE)
def test_what_is_made_is_what_the_makefile_has(line: str):
    said = subprocess.run(
        [*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert MADE[line] in said


@pytest.mark.parametrize("line", MEASURED)
def test_what_was_measured_left_its_figures(line: str):
    module, figures = line.split()[2], MEASURED[line]
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert (ROOT / figures).is_file()


def test_what_is_installed_is_this_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {line.split()[2] for line in INSTALLED} == {project["name"]}


@pytest.mark.parametrize("line", [x for x in dict.fromkeys(EVERY + MENTIONED) if x.startswith("searcher")])
def test_a_command_and_its_options_exist(line: str):
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and (inner := getattr(command, "commands", None)):
        command = inner[words.pop(0)]
    known = {option for one in command.params for option in one.opts}
    assert {word for word in words if re.match(r"--?[a-z]", word)} <= known


@pytest.mark.parametrize("line", [x for x in dict.fromkeys(MENTIONED) if not x.startswith("searcher")])
def test_what_else_is_mentioned_exists(line: str):
    program, *rest = line.split()
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.M)
    elif rest[:1] == ["-m"]:
        assert (ROOT / f"{rest[1].replace('.', '/')}.py").is_file()
    else:
        paths = [word for word in (program, *rest) if "/" in word]
        assert all((ROOT / path).exists() for path in paths)


def test_the_readme_has_every_command():
    rows = re.findall(r"^\| `(.+?)` \|", (ROOT / "README.md").read_text(), re.M)
    named = {" ".join(row.split()[1:2]) for row in rows}
    assert set(COMMANDS) | {"data", "store"} == named


def test_make_run_and_make_test_are_how_it_begins():
    (first, *_) = [block for block in code((ROOT / "README.md").read_text()) if "make " in block]
    assert first == "make run\nmake test\n"


def write_files(folder: Path, text: str) -> None:
    """The blocks of a page that are files, which begin with their path in a comment."""
    for block in code(text):
        path = re.match(r"# ([\w/]+\.(?:py|toml))\b", block)
        if path and path[1] not in SHOWN:
            (folder / path[1]).parent.mkdir(exist_ok=True)
            (folder / path[1]).write_text(block)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Run]:
    """A user who follows the pages: with their network, their images and small spaces."""
    digits(tmp_path / "photos", 300)
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "micronet.py").write_text(TINY_SPACE)
    for name in ("pedestrian", "yolo", "navya"):
        (tmp_path / "spaces" / f"{name}.py").write_text(SMALL_DETECTOR)
    write_files(tmp_path, (ROOT / "docs" / "models.md").read_text())
    with commands_in(tmp_path) as run:
        yield run


def follow(run: Run, page: Path, folder: Path) -> None:
    """Write the files of a page, and execute its commands in their order."""
    text = page.read_text()
    write_files(folder, text)
    for line in [x for x in commands(text) + inline(text) if x in EXECUTED]:
        short = functools.reduce(lambda text, cut: text.replace(*cut), CUT.items(), line)
        ran = run(*shlex.split(short)[1:], *EXECUTED[line])
        assert ran.status == 0, f"{page.name}: {line}\n{ran.out}{ran.err}"


@pytest.mark.slow
def test_the_commands_of_the_readme_run(user: Run, tmp_path: Path):
    (tmp_path / "studies" / "own.toml").unlink()  # which the README writes
    follow(user, ROOT / "README.md", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("detection", [False, True])
def test_the_commands_of_the_pages_run(detection: bool, user: Run, tmp_path: Path):
    if not detection:
        assert user("run", "micronet", *ANY).status == 0
        assert user("export", "micronet", "-o", "best.toml").status == 0
    for page in PAGES[1:]:
        if (page.stem in ("detection", "results")) == detection:
            follow(user, page, tmp_path)
