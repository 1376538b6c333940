"""GPUs shared by trials: who is on which, and whether one more finds the memory that it will need."""

from dataclasses import dataclass, field

from searcher.execution.messages import GpuMemory

WITH_MPS, WITHOUT_MPS = 8, 2
"""Trials on a GPU by default: small networks fill a small part of it; without MPS processes take turns."""

MARGIN = 1.5
"""By how much a trial may need more memory than any has taken so far: recipes differ in size."""

CONTEXT = 1024**3
"""Bytes that a process takes of a GPU besides its tensors, at most: its context, and loaded kernels."""


def trials_per_gpu(cores: int, gpus: int, *, mps: bool) -> int:
    """The default number of trials on a GPU of this machine; each needs a core, which starts its kernels."""
    return max(1, min(WITH_MPS if mps else WITHOUT_MPS, cores // gpus))


class Gpus:
    """The GPUs of this machine.

    A GPU's first trial runs alone until it has trained an epoch, and so has said what it takes. Others join
    it while what is free, less what those on it may still take, is enough for one more. A trial always finds
    room on a GPU that has none, whatever it needs.

    Args:
        count: How many there are.
        trials: How many trials run at a time.
    """

    def __init__(self, count: int, trials: int) -> None:
        self._gpus = [_Gpu(number, len(range(number, trials, count))) for number in range(count)]

    @property
    def room(self) -> int:
        """The number of trials that may join now."""
        peak = self._peak
        return sum(gpu.room(peak) for gpu in self._gpus)

    def join(self) -> "Seat":
        """A place for one more trial, on the GPU with the fewest of those that have room.

        Raises:
            ValueError: There is no room.
        """
        peak = self._peak
        gpu = min((gpu for gpu in self._gpus if gpu.room(peak)), key=lambda gpu: len(gpu.seats))
        return gpu.seat()

    @property
    def _peak(self) -> int:
        """The most that any trial has reserved; 0 where none has said so."""
        return max(gpu.peak for gpu in self._gpus)


@dataclass(eq=False)
class Seat:
    """The place of a trial on a GPU.

    Attributes:
        others: The most trials that shared the GPU since this one was last heard of.
        reserved: What it had reserved then; None where it has not said.
    """

    _gpu: "_Gpu"
    others: int = 0
    reserved: int | None = None

    @property
    def gpu(self) -> int:
        """The GPU's number."""
        return self._gpu.number

    def heard(self, memory: GpuMemory, *, trained: bool) -> None:
        """The trial says what it holds; what it takes is known once it has trained an epoch."""
        self._gpu.heard(self, memory, trained=trained)

    def ran_out(self, peak: int) -> int:
        """The trial found no memory: where others had some, fewer share the GPU from now on.

        Args:
            peak: The most that it had reserved, in bytes.

        Returns:
            How many others shared the GPU; 0 where the trial was alone.
        """
        self._gpu.ran_out(self, peak)
        return self.others

    def leave(self) -> None:
        """The trial's process is gone, and its memory is free."""
        self._gpu.leave(self)


@dataclass
class _Gpu:
    """One GPU: bytes by the last word of its trials.

    Attributes:
        most: Trials on it at a time.
        peak: The most that one of them has reserved, once it had trained an epoch.
        free: What nobody held; None where no trial has said so.
        context: What a process takes besides its tensors.
    """

    number: int
    most: int
    peak: int = 0
    free: int | None = None
    context: int = CONTEXT
    seats: list[Seat] = field(default_factory=list)

    def room(self, peak: int) -> int:
        alone = int(not self.seats)
        if not peak or self.free is None:
            return alone
        need = int(MARGIN * (peak + self.context))
        coming = sum(max(0, need - self._held(seat)) for seat in self.seats)
        fitting = max(0, self.free - coming) // need
        return max(alone, min(self.most - len(self.seats), fitting))

    def seat(self) -> Seat:
        taken = Seat(self)
        self.seats.append(taken)
        for seat in self.seats:
            seat.others = max(seat.others, len(self.seats) - 1)
        return taken

    def heard(self, seat: Seat, memory: GpuMemory, *, trained: bool) -> None:
        seat.reserved, self.free = memory.reserved, memory.free
        seat.others = len(self.seats) - 1
        if trained or self.peak:
            self.peak = max(self.peak, memory.peak)
        if not seat.others:
            # All that is taken besides, also by processes that are none of ours: a context is not larger.
            self.context = min(self.context, max(0, memory.total - memory.free - memory.reserved))

    def ran_out(self, seat: Seat, peak: int) -> None:
        if seat.others:
            self.peak = max(self.peak, peak)
            self.most = min(self.most, seat.others)

    def leave(self, seat: Seat) -> None:
        if seat in self.seats:
            self.seats.remove(seat)
            if self.free is not None:
                # No trial gives back what it has reserved, so the last word of what is free was without it.
                self.free += seat.reserved or 0

    def _held(self, seat: Seat) -> int:
        return 0 if seat.reserved is None else seat.reserved + self.context
