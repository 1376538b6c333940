"""Batches on a real Slurm: what is killed is tried again, nothing is lost, nothing is done twice."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest

from searcher.execution.curve import CURVE
from searcher.execution.curve import read as read_curve
from searcher.searching.storage import studies
from tests.cluster.slurm.conftest import Ask
from tests.conftest import Searcher, command, make_place
from tests.helpers.processes import until

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
TRIALS = 6
STUDIES = ("tiny", "second")
# The order in which trials are told decides nothing: what a random sampler asks depends on the ordinal alone.
FIXED = [("store = false", 'sampler = { name = "random" }'), ("trials = 4", f"trials = {TRIALS}")]
QUICK = ("--cluster", "slurm", "--mem", "2G", "--time", "30", "--set", "cluster.poll=2")
Driver = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's folder with two studies of a fixed order, whose trials take some seconds."""
    make_place(tmp_path)
    study = tmp_path / "studies" / "tiny.toml"
    text = study.read_text()
    for old, new in FIXED:
        assert old in text
        text = text.replace(old, new)
    study.write_text(text)
    (tmp_path / "studies" / "second.toml").write_text(text)
    return tmp_path


@pytest.fixture
def driver(slurm: Ask, place: Path) -> Iterator[Driver]:
    """Start a command in the background; it ends with the test, and so do all jobs."""
    with ExitStack() as stack:
        log = stack.enter_context((place / "driver.log").open("a"))

        def start(*asked: str, path: Path | None = None) -> subprocess.Popen[str]:
            environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
            process = stack.enter_context(
                subprocess.Popen(
                    command(*asked), cwd=place, env=environment, stdout=log, stderr=log, text=True
                )
            )
            stack.callback(process.kill)
            return process

        yield start
        slurm("scancel", "--user=root")


def trials(place: Path, name: str, runs: str = "runs") -> list[optuna.trial.FrozenTrial]:
    if f"{name}@digits" not in studies.stored_names(place / runs):
        return []
    return studies.load(place / runs, f"{name}@digits")[0].trials


def states(place: Path, name: str = "tiny") -> Counter[str]:
    return Counter(t.state.name for t in trials(place, name))


def points(place: Path, name: str, runs: str) -> dict[int, tuple[dict[str, object], list[float]]]:
    """Parameters and values of the complete trials, by ordinal."""
    complete = [t for t in trials(place, name, runs) if t.state.name == "COMPLETE"]
    return {t.user_attrs["ordinal"]: (t.params, t.values) for t in complete}


def queue(slurm: Ask, state: str = "all") -> list[str]:
    """The jobs of searches, by id; those that are over are left out."""
    states = "PENDING,RUNNING,COMPLETING,SUSPENDED" if state == "all" else state
    rows = slurm("squeue", "--noheader", f"--states={states}", "--format=%A %j").splitlines()
    return [row.split()[0] for row in rows if row.split()[1].startswith("searcher-")]


def steps() -> list[int]:
    """The processes of trials that run on the node."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if line.split(b"\0")[1:4] == [b"-u", b"-m", b"submitit.core._submit"]:
            found.append(int(entry.name))
    return found


def check_counts(place: Path, slurm: Ask, name: str, count: int = TRIALS) -> None:
    """Exactly the asked number of trials, each ordinal once, no retry twice, nothing left on the cluster."""
    found = trials(place, name)
    complete = [t for t in found if t.state.name == "COMPLETE"]
    assert sorted(t.user_attrs["ordinal"] for t in complete) == list(range(count))
    assert {t.state.name for t in found} <= {"COMPLETE", "FAIL"}
    again = [t.user_attrs["retry_of"] for t in found if "retry_of" in t.user_attrs]
    assert len(again) == len(set(again)) == sum(t.state.name == "FAIL" for t in found)
    ids = [t.user_attrs["job"]["id"] for t in found if "id" in t.user_attrs.get("job", {})]
    assert len(ids) == len(set(ids))
    until(lambda: not queue(slurm), 60)


def accounted(slurm: Ask) -> list[str]:
    return slurm("sacct", "-X", "-n", "-P", "-o", "JobName").split()


BATCH = ("batch", *STUDIES, *QUICK, "--workers", "3", "--set", "budget.epochs=10")


def test_a_batch_that_is_disturbed_finds_what_an_undisturbed_one_does(
    slurm: Ask, place: Path, driver: Driver, searcher: Searcher
):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    assert driver(*BATCH, "--runs-dir", "undisturbed").wait(600) == 0, (place / "driver.log").read_text()

    # In a random order, at random times: a step and a job are killed, the driver thrice.
    deeds = ["step", "job", "driver", "driver", "driver"]
    chance.shuffle(deeds)
    running = driver(*BATCH)
    for deed in deeds:
        time.sleep(chance.uniform(0.5, 6))
        if deed == "driver":
            running.kill()
            running.wait()
            time.sleep(chance.uniform(0, 3))
            running = driver(*BATCH)
        elif deed == "step" and steps():
            os.kill(chance.choice(steps()), signal.SIGKILL)
        elif deed == "job" and queue(slurm, "RUNNING"):
            slurm("scancel", chance.choice(queue(slurm, "RUNNING")))
    assert running.wait(600) == 0, (place / "driver.log").read_text()

    for name in STUDIES:
        check_counts(place, slurm, name)
        assert points(place, name, "runs") == points(place, name, "undisturbed")
    submitted = [name for name in accounted(slurm) if name.startswith("searcher-")]
    assert len(submitted) == len(set(submitted))
    status = searcher("status").stdout
    assert status.count(f"{TRIALS}/{TRIALS}") == 2, status


def test_a_job_that_was_submitted_but_not_written_down_is_found_by_its_name(
    slurm: Ask, place: Path, driver: Driver
):
    # The real sbatch, after which whoever called it is killed before it hears the answer.
    deadly = place / "bin" / "sbatch"
    deadly.parent.mkdir()
    real = slurm("which", "sbatch").strip()
    deadly.write_text(f'#!/bin/bash\n"{real}" "$@" >/dev/null\nkill -9 $PPID\n')
    deadly.chmod(0o755)
    asked = ("run", "--study", "tiny", *QUICK, "--workers", "1", "--set", "budget.trials=1")
    assert driver(*asked, path=deadly.parent).wait(60) == -signal.SIGKILL
    (trial,) = trials(place, "tiny")
    assert "id" not in trial.user_attrs["job"]
    (submitted,) = queue(slurm)
    assert driver(*asked).wait(120) == 0, (place / "driver.log").read_text()
    (again,) = trials(place, "tiny")
    assert again.state.name == "COMPLETE"
    assert (
        slurm("sacct", "-X", "-n", "-P", "-o", "JobName", "-j", submitted).strip()
        == again.user_attrs["job"]["name"]
    )
    assert accounted(slurm).count(again.user_attrs["job"]["name"]) == 1


@pytest.mark.parametrize("comes_through", [True, False])
def test_a_submission_that_timed_out_is_made_once(
    slurm: Ask, place: Path, driver: Driver, comes_through: bool
):
    # The real sbatch, of whose first call the answer is lost, or which it does not reach.
    late, told = place / "bin" / "sbatch", place / "told"
    late.parent.mkdir()
    real = slurm("which", "sbatch").strip()
    first = f'"{real}" "$@" >/dev/null' if comes_through else "true"
    error = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    again = f'[ -e "{told}" ] && exec "{real}" "$@"'
    late.write_text(f'#!/bin/bash\n{again}\ntouch "{told}"\n{first}\necho "{error}" >&2\nexit 1\n')
    late.chmod(0o755)
    asked = ("run", "--study", "tiny", *QUICK, "--workers", "1", "--set", "budget.trials=1")
    assert driver(*asked, path=late.parent).wait(120) == 0, (place / "driver.log").read_text()
    log = (place / "driver.log").read_text()
    assert log.count("jobs are submitted when it answers again") == 1, log
    assert states(place) == {"COMPLETE": 1}
    name = trials(place, "tiny")[0].user_attrs["job"]["name"]
    until(lambda: accounted(slurm).count(name) == 1, 30)


def test_out_of_memory_is_told_and_tried_twice_again(slurm: Ask, place: Path, driver: Driver):
    asked = ("run", "--study", "tiny", *QUICK, "--mem", "120M", "--set", "budget.trials=1")
    assert driver(*asked).wait(120) == 1
    assert states(place) == {"FAIL": 3}
    reasons = [t.user_attrs["reason"] for t in trials(place, "tiny")]
    assert all("memory" in reason for reason in reasons), reasons
    assert [t.user_attrs["outcome"] for t in trials(place, "tiny")] == ["put back", "put back", "failed"]


def test_what_is_preempted_goes_on_from_its_checkpoint_and_is_not_counted(
    slurm: Ask, place: Path, driver: Driver
):
    asked = ("run", "--study", "tiny", *QUICK, "--workers", "1", "--set", "budget.trials=1")
    running = driver(*asked, "--slurm-partition", "main", "--set", "budget.epochs=400", "--set", "store=true")
    curve = place / "runs" / "tiny@digits" / "trial-00000" / "curve.csv"
    until(lambda: curve.exists() and ",5,400," in curve.read_text(), 60)
    slurm("sbatch", "--partition=urgent", "--mem=63000M", "--output=/dev/null", "--wrap=sleep 1")
    assert running.wait(240) == 0, (place / "driver.log").read_text()
    first, second = trials(place, "tiny")
    assert (first.state.name, first.user_attrs["reason"]) == ("FAIL", "preempted")
    assert second.state.name == "COMPLETE"
    assert second.user_attrs["attempt"] == 0
    # What the first had trained is read, not trained again: five epochs take a quarter of a second.
    came = {
        p.epoch: p.seconds for p in read_curve(curve.parents[1] / "trial-00001" / CURVE) if p.stage == "train"
    }
    assert len(came) == 400
    assert came[5] - came[1] < 0.05


def test_a_job_takes_no_longer_than_its_time(slurm: Ask, place: Path, driver: Driver):
    asked = ("run", "--study", "tiny", *QUICK, "--time", "1", "--workers", "1")
    running = driver(*asked, "--set", "budget.trials=1", "--set", "budget.epochs=100000")
    until(lambda: any(t.user_attrs.get("reason") for t in trials(place, "tiny")), 180)
    running.kill()
    assert "timed out" in trials(place, "tiny")[0].user_attrs["reason"]


def test_accounting_that_does_not_answer_is_said_once(slurm: Ask, place: Path, driver: Driver):
    conf = Path(os.environ["SLURM_CONF"]).parent
    pid = int((conf / "pid" / "slurmdbd").read_text())
    running = driver("run", "--study", "tiny", *QUICK, "--workers", "2", "--set", "budget.epochs=40")
    until(lambda: bool(steps()), 60)
    os.kill(pid, signal.SIGKILL)
    os.kill(steps()[0], signal.SIGKILL)
    try:
        code = running.wait(240)
    finally:
        (conf / "pid" / "slurmdbd").write_text(slurm("sh", "-c", "slurmdbd -D >/dev/null 2>&1 & echo $!"))
    log = (place / "driver.log").read_text()
    assert code == 0, log
    assert log.count("sacct cannot be reached") == 1, log
    check_counts(place, slurm, "tiny")
    assert states(place)["FAIL"] == 1
    until(lambda: "loop" in slurm("sh", "-c", "sacctmgr -n show cluster || true"), 60)


def test_two_trials_share_a_gpu(slurm: Ask, place: Path, driver: Driver):
    asked = ("run", "--study", "tiny", *QUICK, "--gpus", "1", "--trials-per-gpu", "2", "--workers", "2")
    assert driver(*asked, "--set", "budget.trials=4").wait(240) == 0, (place / "driver.log").read_text()
    jobs = Counter(t.user_attrs["job"]["id"] for t in trials(place, "tiny"))
    assert sorted(jobs.values()) == [2, 2]
    for job in jobs:
        assert "gres/gpu=1" in slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "AllocTRES")


def test_a_second_driver_is_refused_with_the_first_ones_host_and_pid(
    slurm: Ask, place: Path, driver: Driver, searcher: Searcher
):
    asked = ("run", "--study", "tiny", *QUICK)
    running = driver(*asked, "--set", "budget.epochs=10")
    until(lambda: bool(queue(slurm)), 60)
    refused = searcher(*asked, "--set", "budget.epochs=10")
    assert refused.returncode == 2
    assert f"pid {running.pid}" in refused.stderr
    assert os.uname().nodename in refused.stderr
    assert running.wait(240) == 0


def test_what_slurm_refuses_is_one_message(slurm: Ask, place: Path, searcher: Searcher):
    result = searcher("run", "--study", "tiny", *QUICK, "--slurm-partition", "gpus")
    assert result.returncode == 2
    assert "Slurm refuses the job: invalid partition specified: gpus" in result.stderr, result.stderr
    assert searcher("run", "--study", "tiny", *QUICK).returncode == 0
    check_counts(place, slurm, "tiny")


def test_the_clock_of_a_node_that_is_off_is_said(slurm: Ask, place: Path, driver: Driver):
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not here")
    setup = [f"export LD_PRELOAD={libraries[0]} FAKETIME=+1h NO_FAKE_STAT=1 FAKETIME_DONT_FAKE_MONOTONIC=1"]
    asked = ("run", "--study", "tiny", *QUICK, "--set", f"cluster.setup={setup!r}")
    assert driver(*asked).wait(240) == 0, (place / "driver.log").read_text()
    log = (place / "driver.log").read_text()
    assert log.count("s ahead of the file system's") == 1, log
    check_counts(place, slurm, "tiny")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_one_message_and_loses_nothing(
    slurm: Ask, place: Path, searcher: Searcher, small_disk: Path
):
    asked = ("run", "--study", "tiny", *QUICK, "--runs-dir", str(small_disk), "--set", "store=true")
    assert searcher(*asked, "--set", "budget.trials=1").returncode == 0
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    result = searcher(*asked)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "is full" in result.stderr
    assert "Traceback" not in result.stderr
    filler.unlink()
    result = searcher(*asked)
    assert result.returncode == 0, result.stdout + result.stderr
    found = studies.load(small_disk, "tiny@digits")[0].trials
    assert sorted(t.user_attrs["ordinal"] for t in found if t.state.name == "COMPLETE") == list(range(TRIALS))
