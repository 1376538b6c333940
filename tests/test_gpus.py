"""Trials on the GPUs of a machine: how many join, and that their memory is enough for all of them."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.execution.gpus import CONTEXT, MARGIN, Gpus, Seat, trials_per_gpu
from searcher.execution.messages import Failed, GpuMemory, Killed

GIB = 1024**3


def says(seat: Seat, held: int, free: int, total: int, trained: bool = True) -> None:
    seat.heard(GpuMemory(held * GIB, held * GIB, free * GIB, total * GIB), trained=trained)


def test_a_first_trial_is_alone_until_it_has_trained_an_epoch():
    gpus = Gpus(1, 4)
    assert gpus.room == 1
    first = gpus.join()
    assert gpus.room == 0
    says(first, held=1, free=38, total=40, trained=False)
    assert gpus.room == 0
    says(first, held=1, free=38, total=40)
    assert gpus.room == 3


def test_as_many_join_as_the_memory_is_enough_for():
    gpus = Gpus(1, 8)
    first = gpus.join()
    # 1 GiB and a context of 1 GiB: one more needs 3, of the 13 free the first may take another one.
    says(first, held=1, free=13, total=15)
    assert gpus.room == 4
    others = [gpus.join() for _ in range(4)]
    assert gpus.room == 0
    others[0].leave()
    assert gpus.room == 1


def test_a_context_is_what_a_trial_takes_alone_besides_its_tensors_and_at_most_a_constant():
    for outside, need in ((0.5, 1.5 * 1.5), (9, 1.5 * (1 + CONTEXT / GIB))):
        gpus = Gpus(1, 100)
        total, free = 40 * GIB, int((40 - 1 - outside) * GIB)
        gpus.join().heard(GpuMemory(GIB, GIB, free, total), trained=True)
        coming = need - 1 - min(outside, 1)
        assert gpus.room == int((free / GIB - coming) / need)


def test_a_gpu_without_a_trial_takes_one_whatever_the_others_need():
    gpus = Gpus(2, 4)
    first = gpus.join()
    says(first, held=30, free=1, total=32)
    assert gpus.room == 1
    second = gpus.join()
    assert {first.gpu, second.gpu} == {0, 1}
    assert gpus.room == 0


def test_the_largest_of_all_gpus_is_what_a_trial_may_need():
    gpus = Gpus(2, 8)
    small, large = gpus.join(), gpus.join()
    says(small, held=1, free=30, total=32)
    assert gpus.room == 3
    says(large, held=20, free=11, total=32)
    assert gpus.room == 0


def test_what_a_trial_that_is_over_has_held_is_free():
    gpus = Gpus(1, 2)
    first = gpus.join()
    says(first, held=3, free=12, total=16)
    second = gpus.join()
    says(second, held=3, free=8, total=16)
    first.leave()
    first.leave()
    assert gpus.room == 1
    assert gpus.join().gpu == 0


def test_without_memory_beside_others_fewer_share_the_gpu_and_alone_nothing_changes():
    gpus = Gpus(1, 4)
    first = gpus.join()
    says(first, held=0, free=39, total=40)
    first.heard(GpuMemory(1, 1, 39 * GIB, 40 * GIB), trained=True)
    seats = [first, *(gpus.join() for _ in range(3))]
    assert seats[3].ran_out(1) == 3
    seats[3].leave()
    assert gpus.room == 0
    seats[2].leave()
    assert gpus.room == 1
    for seat in seats[:2]:
        seat.leave()
    alone = gpus.join()
    assert alone.ran_out(40 * GIB) == 0
    alone.leave()
    gpus.join()
    assert gpus.room == 2


def test_one_that_left_meanwhile_was_beside_it():
    gpus = Gpus(1, 2)
    first = gpus.join()
    says(first, held=1, free=37, total=40)
    second = gpus.join()
    first.leave()
    assert second.ran_out(GIB) == 1


@pytest.mark.parametrize(
    ("failed", "others", "expected"),
    [
        (Failed("no memory", True), 2, Killed("no memory, beside 2 more", counts=False)),
        (Failed("no memory", True), 0, Failed("no memory", True)),
        (Failed("nan"), 2, Failed("nan")),
    ],
)
def test_a_trial_without_memory_is_put_back_where_others_had_some(failed, others, expected):
    assert failed.beside(others, counts=False) == expected


@pytest.mark.parametrize(
    ("cores", "gpus", "mps", "expected"),
    [
        (16, 1, True, 8),
        (16, 1, False, 2),
        (16, 4, True, 4),
        (2, 4, True, 1),
        (1, 1, False, 1),
        (256, 8, True, 8),
    ],
)
def test_trials_on_a_gpu_by_default(cores, gpus, mps, expected):
    assert trials_per_gpu(cores, gpus, mps=mps) == expected


@dataclass
class Training:
    """A trial whose memory grows up to its peak."""

    seat: Seat
    peak: int
    reserved: int = 0


class Machine:
    """GPUs with memory, of which others hold some; trials differ in what they need by the margin at most."""

    def __init__(self, gpus: int, workers: int, total: int, outside: int, context: int, least: int) -> None:
        self.gpus, self.workers = Gpus(gpus, workers), workers
        self.total, self.outside, self.context, self.least = total, outside, context, least
        self.count = gpus
        self.running: list[Training] = []

    def on(self, gpu: int) -> list[Training]:
        return [t for t in self.running if t.seat.gpu == gpu]

    def free(self, gpu: int) -> int:
        used = sum(t.reserved + self.context for t in self.on(gpu) if t.reserved)
        return max(0, self.total - self.outside - used)

    def fill(self, larger: float) -> None:
        while min(self.workers - len(self.running), self.gpus.room) > 0:
            self.running.append(Training(self.gpus.join(), int(self.least * (1 + larger * (MARGIN - 1)))))

    def train(self, which: int, part: float) -> None:
        if self.running:
            trial = self.running[which % len(self.running)]
            trial.reserved = max(trial.reserved, int(self.least * part), 1)
            self.say(trial, trained=False)

    def epoch(self, which: int) -> None:
        if self.running:
            trial = self.running[which % len(self.running)]
            trial.reserved = trial.peak
            self.say(trial, trained=True)

    def say(self, trial: Training, trained: bool) -> None:
        memory = GpuMemory(trial.reserved, trial.reserved, self.free(trial.seat.gpu), self.total)
        trial.seat.heard(memory, trained=trained)

    def end(self, which: int) -> None:
        if self.running:
            self.running.pop(which % len(self.running)).seat.leave()

    def check(self) -> None:
        for gpu in range(self.count):
            needs = [t.peak + self.context for t in self.on(gpu)]
            assert len(needs) < 2 or sum(needs) + self.outside <= self.total
        assert len(self.running) <= self.workers
        assert self.running or self.gpus.room > 0


EVENTS = st.one_of(
    st.tuples(st.just("fill"), st.floats(0, 1)),
    st.tuples(st.just("train"), st.integers(0, 20), st.floats(0, 1)),
    st.tuples(st.just("epoch"), st.integers(0, 20)),
    st.tuples(st.just("end"), st.integers(0, 20)),
)


@given(
    gpus=st.integers(1, 3),
    workers=st.integers(1, 12),
    total=st.integers(8, 40).map(lambda n: n * GIB),
    outside=st.integers(0, 20).map(lambda n: n * GIB // 4),
    context=st.integers(0, CONTEXT),
    least=st.integers(1, 8).map(lambda n: n * GIB // 4),
    events=st.lists(EVENTS, max_size=60),
)
def test_the_memory_of_a_gpu_is_enough_for_all_who_share_it(
    gpus, workers, total, outside, context, least, events
):
    machine = Machine(gpus, workers, total, outside, context, least)
    for name, *given_ in [("fill", 0.0), ("epoch", 0), ("fill", 1.0), *events]:
        getattr(machine, name)(*given_)
        machine.check()


@given(gpus=st.integers(1, 4), workers=st.integers(1, 12), ends=st.lists(st.integers(0, 20), max_size=20))
def test_every_gpu_has_as_many_as_the_others(gpus, workers, ends):
    machine = Machine(gpus, workers, 1000 * GIB, 0, CONTEXT, GIB)
    for end in [None, *ends]:
        if end is not None:
            machine.end(end)
        for number in range(2 * workers):
            machine.fill(0)
            machine.epoch(number)
        shares = [len(machine.on(gpu)) for gpu in range(gpus)]
        assert len(machine.running) == workers
        assert max(shares) - min(shares) <= 1


@given(workers=st.integers(1, 8), order=st.lists(st.integers(0, 7), min_size=200, max_size=200))
def test_trials_that_find_no_memory_end_alone(workers, order):
    gpus = Gpus(1, workers)
    first = gpus.join()
    first.heard(GpuMemory(1, 1, 100 * GIB, 100 * GIB), trained=True)
    first.leave()
    seats: list[Seat] = []
    for which in order:
        while gpus.room:
            seats.append(gpus.join())
        seat = seats.pop(which % len(seats))
        others = seat.ran_out(1)
        seat.leave()
        if not others:
            return
    raise AssertionError("always beside others")
