"""The driver of a study, whose trials are pretended: no process is started, nothing is trained."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from searcher.config.recipe import Model, Recipe, Train
from searcher.errors import SearcherError
from searcher.execution import results
from searcher.execution.layout import trial_folder
from searcher.execution.messages import Done, Failed, Killed, Outcome, Progress
from searcher.searching import driver as driver_module
from searcher.searching.ask import MIN_COMPLETE_TRIALS
from searcher.searching.driver import Driver
from searcher.searching.loading import Space
from searcher.searching.records import STOPPED, TrialRecord
from searcher.searching.variants import Variant, Variants
from tests.helpers.launcher import FakeLauncher, Pretended
from tests.helpers.studies import study

KNOWN = [{"width": 4}, {"width": 6}]
KILLED = Killed("killed by SIGKILL")


def small(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def suggest(trial: optuna.trial.BaseTrial) -> Recipe:
    width = trial.suggest_int("width", 2, 200)
    return Recipe(model=Model(name="tests.test_driver:small", args={"width": width}), stages=(Train(),))


class Told:
    """A view that remembers what it was told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[int, Outcome]] = []

    def update(self, state: object) -> None:
        pass

    def told(self, state: object, number: int, outcome: Outcome) -> None:
        self.outcomes.append((number, outcome))


class Searching:
    """A driver, and what its trials do."""

    def __init__(self, folder: Path, stored: optuna.Study | None = None, **changes: Any) -> None:
        self.folder = folder / "told@digits"
        self.folder.mkdir(exist_ok=True)
        self.known = changes.pop("known", ())
        self.launcher = changes.pop("launcher", None) or FakeLauncher()
        self.asked = study(**{"constraints": ()} | changes)
        goals = [o.goal for o in self.asked.objectives]
        self.stored = stored or optuna.create_study(directions=goals)
        self.view = Told()
        space = Space(suggest, self.known)
        self.driver = Driver(self.asked, self.stored, space, self.folder, self.launcher, self.view)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.driver.trials.all()

    def records(self) -> list[TrialRecord]:
        return [TrialRecord.of(trial) for trial in self.trials]

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.trials]

    def start(self) -> Pretended:
        """Start one more trial, which must be launched."""
        before = len(self.launcher.started)
        assert self.driver.start_one()
        assert len(self.launcher.started) == before + 1
        return self.launcher.started[-1]

    def hear(self, trial: Pretended, *said: Progress | Outcome) -> None:
        trial.says += said
        self.driver.collect()

    def complete(self, top1: float = 0.5) -> Pretended:
        """Start a trial, which is done at once."""
        trial = self.start()
        macs = 1000.0 * trial.job.recipe.model.args["width"]
        self.hear(trial, Done({"top1": top1, "macs": macs}, 1.0, 1.0))
        return trial


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    return Searching(tmp_path, known=KNOWN)


def width(trial: Pretended) -> int:
    return int(trial.job.recipe.model.args["width"])


def dies(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_what_is_known_comes_before_what_is_sampled(searching: Searching):
    assert [width(searching.complete()) for _ in range(2)] == [4, 6]
    searching.complete()
    assert [record.ordinal for record in searching.records()] == [0, 1, 2]
    assert not any(record.origin for record in searching.records())
    assert searching.driver.state.finished == 3


def test_what_was_put_back_comes_before_what_is_known(searching: Searching):
    searching.hear(searching.start(), Killed("preempted", counts=False))
    assert width(searching.start()) == 4
    assert width(searching.start()) == 6
    first, again, second = searching.records()
    assert (first.outcome, again.retry_of, again.ordinal, again.attempt) == ("put back", 0, 0, 0)
    assert second.ordinal == 1


def test_a_variant_comes_after_what_is_known(searching: Searching, monkeypatch: pytest.MonkeyPatch):
    found = Variant(0, {"width": 100}, "digest", {"top1": 0.5})
    monkeypatch.setattr(Variants, "best", lambda *args: found)
    assert [width(searching.start()) for _ in range(3)] == [4, 6, 100]
    last = searching.records()[-1]
    assert (last.variant_of, last.variant_recipe, last.expected) == (0, "digest", {"top1": 0.5})
    assert searching.launcher.started[-1].job.rungs == ()


def test_a_prefix_of_the_front_is_kept_once_there_are_enough_trials(tmp_path: Path):
    searching = Searching(tmp_path, sampler={"prefix_reuse": 1.0, "variants": False}, screening=False)
    for _ in range(MIN_COMPLETE_TRIALS):
        searching.complete()
    assert not any(record.origin for record in searching.records())
    parent = searching.driver.state.front.trials[0].number
    again = searching.start()
    assert searching.records()[-1].origin == {"prefix_of": parent}
    assert again.job.recipe.digest(1) == searching.records()[parent].recipe.digest(1)


def test_a_retry_shares_the_ordinal_and_fails_after_two(searching: Searching):
    for _ in range(3):
        searching.hear(searching.start(), KILLED)
    records = searching.records()
    assert [record.ordinal for record in records] == [0, 0, 0]
    assert [record.attempt for record in records] == [0, 1, 2]
    assert [record.retry_of for record in records] == [None, 0, 1]
    assert [record.outcome for record in records] == ["put back", "put back", "failed"]
    assert searching.driver.state.failed == searching.driver.state.finished == 1
    assert [type(outcome) for _, outcome in searching.view.outcomes] == [Killed, Killed, Failed]
    searching.start()
    assert searching.records()[-1].ordinal == 1


def test_a_crash_between_enqueueing_and_telling_loses_nothing_and_repeats_nothing(
    tmp_path: Path, searching: Searching, monkeypatch: pytest.MonkeyPatch
):
    trial = searching.start()
    with monkeypatch.context() as crash:
        crash.setattr(searching.stored, "tell", dies)
        with pytest.raises(KeyboardInterrupt):
            searching.hear(trial, KILLED)
    assert searching.states() == [TrialState.RUNNING, TrialState.WAITING]
    after = Searching(tmp_path, searching.stored, known=KNOWN)
    after.driver.begin()
    assert after.states() == [TrialState.FAIL, TrialState.WAITING]
    assert width(after.start()) == 4
    assert [record.attempt for record in after.records()] == [0, 1]
    assert width(after.start()) == 6


def test_a_crash_before_anything_is_enqueued_puts_the_trial_back(tmp_path: Path, searching: Searching):
    searching.start()
    after = Searching(tmp_path, searching.stored, known=KNOWN)
    after.driver.begin()
    assert after.states() == [TrialState.FAIL, TrialState.WAITING]
    assert [record.reason for record in after.records()] == ["interrupted", None]
    assert width(after.start()) == 4


def test_a_result_that_was_not_told_is_told(tmp_path: Path, searching: Searching):
    job = searching.start().job
    results.save(Done({"top1": 0.75, "macs": 1000.0}, 3.0), job)
    after = Searching(tmp_path, searching.stored, known=KNOWN)
    after.driver.begin()
    (trial,) = after.trials
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.75, 1000.0])
    assert after.driver.state.finished == after.driver.state.earlier == 1


def test_an_early_end_that_was_half_told_is_told(
    tmp_path: Path, searching: Searching, monkeypatch: pytest.MonkeyPatch
):
    trial = searching.start()
    monkeypatch.setattr(searching.stored, "tell", dies)
    with pytest.raises(KeyboardInterrupt):
        searching.driver.trials.stop(searching.driver.state.running[0].trial, "after 1 epochs")
    assert not trial.stopped
    monkeypatch.undo()
    after = Searching(tmp_path, searching.stored, known=KNOWN)
    after.driver.begin()
    assert after.states() == [TrialState.PRUNED]
    assert after.driver.state.stopped == 1


def test_interrupted_trials_are_stopped_and_put_back(searching: Searching):
    started = [searching.start(), searching.start()]
    searching.driver.end()
    assert all(trial.stopped for trial in started)
    assert searching.states() == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2
    records = searching.records()
    assert [record.reason for record in records[:2]] == ["interrupted"] * 2
    assert [(record.ordinal, record.retry_of) for record in records[2:]] == [(0, 0), (1, 1)]


def test_a_study_that_is_cancelled_starts_no_more(searching: Searching):
    searching.start()
    (searching.folder / "cancel").touch()
    searching.driver.collect()
    assert not searching.driver.alive
    assert not searching.driver.start_one()
    searching.driver.end()
    assert searching.records()[0].reason == "cancelled"


def test_trials_that_outlive_their_driver_are_found_again(tmp_path: Path):
    searching = Searching(tmp_path, launcher=FakeLauncher(outlive=True), known=KNOWN)
    searching.start(), searching.start()
    searching.driver.end()
    assert searching.states() == [TrialState.RUNNING] * 2
    launcher = FakeLauncher(outlive=True)
    launcher.left = [1]
    after = Searching(tmp_path, searching.stored, launcher=launcher, known=KNOWN)
    after.driver.begin()
    assert list(after.driver.state.running) == [1]
    assert after.states() == [TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    assert (trial_folder(after.folder, 1) / "recipe.toml").exists()


def test_infeasible_recipes_do_not_count_and_many_in_a_row_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver_module, "MAX_REFUSED_IN_A_ROW", 3)
    searching = Searching(tmp_path, constraints=({"metric": "macs", "at_most": 1},))
    for _ in range(2):
        assert searching.driver.start_one()
    with pytest.raises(SearcherError, match="3 recipes in a row cannot satisfy a constraint on cost"):
        searching.driver.start_one()
    state = searching.driver.state
    assert (state.finished, state.infeasible, searching.launcher.started) == (0, 3, [])
    assert searching.states() == [TrialState.PRUNED] * 3
    assert all("predicted" in trial.user_attrs and trial.constraints for trial in searching.trials)
    assert searching.driver.alive


def test_the_same_recipe_is_not_trained_again(tmp_path: Path):
    searching = Searching(tmp_path, known=[KNOWN[0], KNOWN[0]])
    searching.complete(0.75)
    assert searching.driver.start_one()
    assert len(searching.launcher.started) == 1
    assert searching.records()[1].reused == 0
    assert searching.trials[1].values == searching.trials[0].values
    assert (searching.driver.state.finished, searching.driver.state.reused) == (2, 1)


def test_what_is_dominated_at_a_rung_stops_and_is_promoted_when_it_is_among_the_best(tmp_path: Path):
    known = [{"width": width} for width in (4, 8, 12, 16)]
    searching = Searching(tmp_path, known=known, early_stopping={"reduction_factor": 2})
    for top1 in (0.9, 0.1, 0.05, 0.02):
        searching.hear(searching.start(), Progress("train", 1, 2, top1, 0.0, 1))
    first, *others = searching.launcher.started
    assert (first.went_on, first.stopped) == ([1], False)
    assert all(trial.stopped and not trial.went_on for trial in others)
    assert [record.outcome for record in searching.records()] == [None, *[STOPPED] * 3]
    assert searching.driver.state.stopped == 3
    assert width(searching.start()) == 8
    again = searching.records()[-1]
    assert (again.ordinal, again.promoted_from) == (1, 1)
    assert searching.driver.state.stopped == 2


def test_a_search_ends_with_its_budget(tmp_path: Path):
    searching = Searching(tmp_path, budget={"trials": 2, "epochs": 2}, known=KNOWN)
    searching.complete(), searching.complete()
    assert not searching.driver.alive
    assert not searching.driver.start_one()
