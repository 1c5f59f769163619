"""How to run: until when, whom to ask and to tell, with how much memory, on which device, in how many threads."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import Enum
from threading import RLock
from typing import Any, Self, TypeVar

from admm_verify.errors import InputError
from admm_verify.options import Range, brief, callbacks, count, instance, memory_bytes, number, timeout_seconds

Item = TypeVar("Item")

ALL_DEVICES = "cuda:all"
"""Every GPU that there is."""

_DEVICE = re.compile(rf"auto|(cpu|cuda)(:\d{{1,3}})?|{ALL_DEVICES}|cuda:\d{{1,3}}(,cuda:\d{{1,3}})+", re.ASCII)

_GRACE = 0.5
"""Seconds past its deadline that what a run has begun may take to its own end."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the long steps of what is computed in this context are to end, grace included."""


class Stopped(Exception):
    """Work was asked to stop, or its time is up; the caller goes on with what it has."""


class Advised(Enum):
    """What is known at the end, in a word. advice: what to do about it, empty where nothing is amiss."""

    advice: str

    def __new__(cls, word: str, advice: str) -> Self:
        """A member that is known by its word."""
        member = object.__new__(cls)
        member._value_, member.advice = word, advice
        return member


class Ended(Advised):
    """How something ended."""

    CONVERGED = "converged", ""
    """The gap is at most tolerance * max(1, |lower|)."""
    INFEASIBLE = "infeasible", "Relax the constraints, or the bounds that were given: they hold nowhere."
    """The constraints are certified to hold nowhere in the input set: lower is +inf, the least value over nothing."""
    COMPLETE = "complete", ""
    """Everything was done as asked."""
    PASS_LIMIT = "pass-limit", "Raise max_passes for a smaller gap."
    """The budget of passes was used up; all numbers are valid."""
    CELL_LIMIT = "cell limit", "Allow more cells, or a larger tolerance."
    """The budget of cells was used up; all numbers are valid."""
    TIMED_OUT = "timed-out", "Raise the timeout."
    """The time was up; all numbers are valid."""
    STOPPED = "stopped", "Run it again to its end for better numbers."
    """The caller asked to stop; all numbers are valid."""
    TOO_LOOSE = "too loose", "Split the initial set into more cells."
    """Sets grew too large to go on with; there are no bounds behind that."""
    NO_BOUND = "no-bound", "Scale the network or the box: numbers overflow."
    """Numbers overflowed: lower is -inf, which claims nothing."""


@dataclass(frozen=True)
class Progress:
    """How far something is, in a line for people, and what is done of what there is; total is None where unknown."""

    text: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Run:
    """How to run. Everything may be left out.

    timeout: seconds from when a front door takes the run up; deadline: what that makes it, in seconds of
    time.monotonic(). stop: asked often; the first True ends the work with what is known. tell: told of progress.
    Threads ask and tell one after the other. memory: limit on the working memory in bytes, None for half of what is
    free. device: None (where the arrays live), "cpu" or "cuda", also "cuda:1" and so on; "auto" is "cuda" for large
    work where there is one, else None. Blocks of rows go round several GPUs, "cuda:0,cuda:1" or "cuda:all", where a
    function says so. threads: most of them, of the linear algebra library and for blocks of rows side by side; None for
    as many as pay.

    A run without functions can be pickled; the time that is left goes with it.
    Raises: InputError for a field of the wrong type or range.
    """

    timeout: float | None = None
    stop: Callable[[], bool] | None = None
    tell: Callable[[Progress], object] | None = None
    memory: float | None = None
    device: str | None = None
    threads: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeout", timeout_seconds(self.timeout))
        object.__setattr__(self, "memory", memory_bytes(self.memory))
        callbacks(("stop", self.stop), ("tell", self.tell))
        # Doors that compute on the host alone ask no further.
        kind = type(self.device)
        if (kind.__module__, kind.__name__) == ("torch", "device"):
            object.__setattr__(self, "device", str(self.device))
        _check_device(self.device)
        if self.threads is not None:
            count(self.threads, "The number of threads", Range(1), ", or None for as many as pay")
        if self.deadline is not None:
            number(self.deadline, "The deadline", Range(float("-inf")))

    @classmethod
    def of(cls, given: "Run | None", timeout: float | None = None, device: str | None = None) -> "Run":
        """The run of a front door that was handed one, or a time limit and a device of its own: its time begins now.

        A run that has begun already keeps its deadline; of several ends the first one counts.
        Raises: InputError for what is no run, or a time limit or device that is none.
        """
        run = cls() if given is None else instance(given, cls, "run")
        now, device = time.monotonic(), run.device if device is None else device
        ends = [now + left for left in (run.timeout, timeout_seconds(timeout)) if left is not None]
        ends += [] if run.deadline is None else [run.deadline]
        stop = run.stop if run.stop is None or isinstance(run.stop, _Lasting) else _Lasting(run.stop)
        tell = run.tell if run.tell is None or isinstance(run.tell, _InTurn) else _InTurn(run.tell)
        return cls(None, stop, tell, run.memory, device, run.threads, min(ends, default=None))

    def ended(self) -> Ended | None:
        """STOPPED or TIMED_OUT once one of them applies, else None."""
        if self.stop is not None and self.stop():
            return Ended.STOPPED
        return Ended.TIMED_OUT if self.deadline is not None and time.monotonic() >= self.deadline else None

    def over(self) -> bool:
        """Whether somebody said stop or the time is up."""
        return self.ended() is not None

    @property
    def left(self) -> float:
        """Seconds until the time is up, infinite where there is no limit."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()

    def within(self, share: float) -> "Run":
        """The same run for a part of the work that may take this share of the time that is left."""
        return self if self.deadline is None else replace(self, deadline=self.deadline - (1.0 - share) * self.left)

    def check(self) -> None:
        """Raises: Stopped once somebody said stop or the time is up."""
        if self.over():
            raise Stopped

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, what goes step by step through `paced` ends where the deadline is long past.

        Whoever computes in blocks asks the run itself, soon enough for most; a pass through a large network takes
        seconds, and the functions behind it know of no run. Of several runs that watch the first deadline counts.
        """
        own = None if self.deadline is None else self.deadline + _GRACE
        ends = [end for end in (_deadline.get(), own) if end is not None]
        token = _deadline.set(min(ends, default=None))
        try:
            yield
        finally:
            _deadline.reset(token)

    def say(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Tell of progress where somebody listens."""
        if self.tell is not None:
            self.tell(Progress(text, done, total))

    def silent(self) -> "Run":
        """The same run for parts of the work that nobody is told of."""
        return replace(self, tell=None)

    def endless(self) -> "Run":
        """The same memory, device and threads for what is always worth finishing, silently."""
        return replace(self, timeout=None, deadline=None, stop=None, tell=None)

    def unless(self, question: Callable[[], bool]) -> "Run":
        """The same run, which another question ends too."""
        return replace(self, stop=question if self.stop is None else _Either(self.stop, question))

    def __getstate__(self) -> dict[str, Any]:
        # Clocks of other machines have other origins.
        left = None if self.deadline is None else self.deadline - time.monotonic()
        return {**vars(self), "deadline": left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        left = state["deadline"]
        vars(self).update(state, deadline=None if left is None else left + time.monotonic())


def names_several(device: str | None) -> bool:
    """Whether a device is the name of several."""
    return device is not None and (device == ALL_DEVICES or "," in device)


def _check_device(device: object) -> None:
    """Refuse what no device is called."""
    if device is None:
        return
    if not (isinstance(device, str) and _DEVICE.fullmatch(device)):
        raise InputError(
            f"The device {brief(device)} is unknown; choose 'auto', 'cpu', 'cuda', 'cuda:N', several GPUs as in "
            f"'cuda:0,cuda:1', or all, {ALL_DEVICES!r}."
        )
    names = [name.partition(":")[2].lstrip("0") for name in device.split(",")]
    if len(set(names)) < len(names):
        raise InputError(f"The device {brief(device)} names a GPU twice; name each once.")


def paced(steps: Iterable[Item]) -> Iterator[Item]:
    """The steps of a long computation, such as the nodes of a network.

    Raises: Stopped, between two of them, once the deadline of a run that watches is long past.
    """
    end = _deadline.get()
    for step in steps:
        if end is not None and time.monotonic() >= end:
            raise Stopped
        yield step


class Flag:
    """A question that is answered with yes once the flag is set; in another process it starts anew."""

    def __init__(self) -> None:
        self.set = False

    def __call__(self) -> bool:
        return self.set

    def __reduce__(self) -> tuple[type["Flag"], tuple[()]]:
        return Flag, ()


@dataclass(frozen=True)
class _Either:
    """Whether one of two questions is answered with yes."""

    first: Callable[[], bool]
    second: Callable[[], bool]

    def __call__(self) -> bool:
        return self.first() or self.second()


class _InTurn:
    """A function that threads call one after the other."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.lock = function, RLock()

    def __call__(self, *given: object) -> Any:
        with self.lock:
            return self.function(*given)

    def __reduce__(self) -> tuple[type["_InTurn"], tuple[Callable[..., Any]]]:
        return _InTurn, (self.function,)


class _Lasting:
    """A question that threads ask one after the other, and that stays answered once the answer is yes: whoever it made
    give up leaves it to its callers, who ask again, to end as well.
    """

    def __init__(self, question: Callable[[], bool], answered: bool = False) -> None:
        self.question, self.answered, self.lock = question, answered, RLock()

    def __call__(self) -> bool:
        with self.lock:
            self.answered = self.answered or bool(self.question())
            return self.answered

    def __reduce__(self) -> tuple[type["_Lasting"], tuple[Callable[[], bool], bool]]:
        return _Lasting, (self.question, self.answered)
