"""Several devices of one host: blocks of rows go round them, a thread for each."""

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

from admm_verify.arrays import Placement
from admm_verify.backends.choice import verbs_for
from admm_verify.backends.device import budget_at, current_device
from admm_verify.memory import Budget, as_memory_error, even_size, is_allocation
from admm_verify.run import Flag, Run, Stopped

Result = TypeVar("Result")

Work = Callable[[Placement, int, int], Result]
"""What is done with the rows first..last in a place."""


@dataclass(frozen=True)
class Devices:
    """Where the blocks of one computation go: places, and what each of them has of memory.

    given_up: set once an exception ends the work, so that long blocks on other devices can end too.
    """

    places: tuple[Placement, ...]
    budgets: tuple[Budget, ...]

    @classmethod
    def of(cls, places: tuple[Placement, ...], run: Run, workers: int = 1) -> "Devices":
        """The devices of some places. workers: blocks side by side on a single one."""
        found = [budget_at(place, run, workers) for place in places]
        return cls(places, tuple(replace(budget, given_up=found[0].given_up) for budget in found))

    @property
    def home(self) -> Placement:
        """The first place, where what is not cut into blocks is done."""
        return self.places[0]

    @property
    def given_up(self) -> Flag:
        return self.budgets[0].given_up

    def step(self, rows: Callable[[Placement, Budget], int]) -> int:
        """The most rows of a block that every device can take, by what each of them says."""
        return min(rows(place, budget) for place, budget in zip(self.places, self.budgets, strict=True))

    def blocks(self, count: int, step: int, work: Work[Result]) -> list[Result]:
        """work on consecutive blocks of 0..count, as even as `step`, the most of one, allows, in their order.

        Every device begins with a block of its own and goes on with the next that nobody has begun. Blocks are the same
        however fast devices are; one whose memory cannot be had is halved, as are those that its device takes later.
        Raises: Stopped once the run is over, which is asked before every block; MemoryError when a block of one still
        fails; whatever else a block raises, once the others have ended.
        """
        if len(self.places) == 1:
            return self.budgets[0].blocks(count, step, lambda first, last: work(self.home, first, last))
        step = even_size(count, min(step, -(-count // len(self.places))))
        spans = [(first, min(first + step, count)) for first in range(0, count, step)]
        for place in self.places:
            # What is made once is made before threads ask for it at once.
            verbs_for(place)
        served = list(zip(self.places, self.budgets, strict=True))[: len(spans)]
        turn = _Turn(spans, len(served))
        with ThreadPoolExecutor(max(1, len(served))) as pool:
            try:
                # A new thread has none of the caller's context, where NumPy keeps what it warns of.
                tasks = [pool.submit(copy_context().run, turn.serve, k, *one, work) for k, one in enumerate(served)]
                done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
                for task in done:
                    task.result()
                found = {first: result for task in tasks for first, result in task.result()}
            except BaseException:
                self.given_up.set = True
                raise
        return [found[first] for first in sorted(found)]


class _Turn:
    """Blocks that devices take one after the other; each begins with the one of its own number."""

    def __init__(self, spans: list[tuple[int, int]], devices: int) -> None:
        self._spans, self._lock, self._taken = spans, Lock(), devices

    def serve(self, number: int, place: Placement, budget: Budget, work: Work[Result]) -> list[tuple[int, Result]]:
        """What a device makes of its block and of those that it takes afterwards, by their first rows."""
        found: list[tuple[int, Result]] = []
        todo = [self._spans[number]]
        most = todo[0][1] - todo[0][0]
        with current_device(place):
            while todo:
                first, last = todo.pop()
                if budget.given_up():
                    raise Stopped
                budget.run.check()
                if last - first > most:
                    todo.append((first + most, last))
                    last = first + most
                try:
                    found.append((first, work(place, first, last)))
                except (MemoryError, RuntimeError) as error:
                    if not is_allocation(error):
                        raise
                    if last - first == 1:
                        raise as_memory_error(error) from error
                    most = (last - first) // 2
                    todo.append((first, last))
                todo = todo or self._next()
        return found

    def _next(self) -> list[tuple[int, int]]:
        """The next block that nobody has begun, if there is one."""
        with self._lock:
            self._taken += 1
            return self._spans[self._taken - 1 : self._taken]
