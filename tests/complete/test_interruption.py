"""Stops, timeouts and failed allocations: never a wrong verdict, and the same one where there is time for it."""

import gc
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Query, SearchSettings
from admm_verify.bounds import climb, functionals, linear, relaxed
from admm_verify.complete import input_split, neuron_split, pool, tables
from admm_verify.network.layers import network_from_layers
from admm_verify.properties.property import Disjunct
from tests.clocks import ticking
from tests.complete.queries import NEURONS, at_most, box_of, confirmed, decided, query_of
from tests.complete.truth import Asked, Drawn

STOPS = range(1, 21)
WAYS = {"inputs": {}, "neurons": {"input_sides": 0}}


def decide(query: Query, way: str, stop: Callable[[], bool] | None = None) -> av.Outcome:
    return decided(query, NEURONS if way == "neurons" else SearchSettings(), stop=stop)


OPEN = (
    ("dense", 4, "alternatives, -0.001"),
    ("residual", 5, "conjunction, -0.001"),
    ("conv", 8, "conjunction, -0.001"),
    ("dense", 8, "conjunction, 0.001"),
)
"""Queries that the root leaves open and that both ways of splitting decide."""


@lru_cache(maxsize=1)
def some() -> tuple[Asked, ...]:
    return tuple(one for family, seed, label in OPEN for one in Drawn.of(family, seed).queries() if one.label == label)


@pytest.mark.parametrize("way", WAYS)
def test_the_queries_here_take_some_splitting(way: str) -> None:
    for one in some():
        outcome = decide(one.query, way)
        assert outcome.verdict.value == one.answer and outcome.subproblems > 1
    assert len(some()) == len(OPEN)


class Question:
    """False until it is asked for the k-th time."""

    def __init__(self, k: int) -> None:
        self.k, self.asked, self.lock = k, 0, threading.Lock()

    def __call__(self) -> bool:
        with self.lock:
            self.asked += 1
            return self.asked >= self.k


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("k", STOPS)
def test_a_stop_never_makes_an_answer_wrong(k: int, way: str) -> None:
    for one in some()[k % 2 :: 2]:
        outcome = decide(one.query, way, stop=Question(k))
        assert outcome.verdict.value in ("unknown", one.answer), one.label
        assert outcome.verdict.value != "sat" or confirmed(one.query, outcome)
        assert outcome.verdict.value != "unknown" or outcome.undecided > 0


@pytest.mark.parametrize("way", WAYS)
def test_stops_at_any_time_leave_the_answer_right(way: str) -> None:
    """Steps of 9 questions until the end; what was found before the stop stays."""
    one = some()[0]
    for k in range(21, 5000, 9):
        question = Question(k)
        outcome = decide(one.query, way, stop=question)
        assert outcome.verdict.value in ("unknown", one.answer)
        if question.asked < k:
            assert outcome.verdict.value == one.answer
            return
    raise AssertionError("The query never ended")


def test_a_stop_leaves_no_threads_and_no_limits_behind() -> None:
    one, threads, settings = some()[0], threading.active_count(), np.geterr()
    for k in (1, 5, 20):
        decide(one.query, "inputs", stop=Question(k))
    gc.collect()
    assert threading.active_count() == threads and np.geterr() == settings


def failing(original: Callable, k: int) -> Callable:
    """A function whose k-th call finds no memory."""
    calls = iter(range(1, 10**9))

    def attempt(*arguments, **options):
        if next(calls) == k:
            raise MemoryError
        return original(*arguments, **options)

    return attempt


@contextmanager
def without_memory(target: object, name: str, k: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, failing(getattr(target, name), k))
        yield


PLACES = {
    "a step of the ascent": (climb.Climb, "step"),
    "a bound of rows": (relaxed.Bounder, "bound"),
    "the sweep that certifies": (functionals, "backward"),
    "the region of a block": (neuron_split, "spread_region"),
    "the region of boxes": (input_split, "spread_region"),
    "the bounds of boxes": (input_split, "derived_bounds"),
    "CROWN of some neurons": (linear, "crown"),
    "scores of sides": (input_split, "side_scores"),
    "scores of neurons": (neuron_split, "neuron_scores"),
    "cutting boxes": (input_split, "contract"),
    "putting parts into the pool": (pool.Pool, "push"),
    "taking parts out of the pool": (pool.Pool, "pop"),
    "joining parts": (tables, "padded"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, len(OPEN)))])
def test_a_failed_allocation_changes_no_answer(first: int, place: str, way: str) -> None:
    target, name = PLACES[place]
    for k in STOPS[first :: len(OPEN)]:
        one = some()[(first + k // len(OPEN)) % len(OPEN)]
        with without_memory(target, name, k):
            outcome = decide(one.query, way)
        assert outcome.verdict.value == one.answer, (one.label, k)
        assert one.answer != "sat" or confirmed(one.query, outcome)


def hard_network() -> tuple[av.Network, np.ndarray]:
    """A random network of five layers of fifty, and its value at the centre."""
    rng = np.random.default_rng(4)
    sizes = (30, 50, 50, 50, 50, 50, 2)
    weights = [2.2 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    network = network_from_layers(weights, [0.1 * rng.standard_normal(m) for m in sizes[1:]], "hard")
    return network, network(np.zeros((1, 30)))[0]


def hard_query(sides: int) -> Query:
    network, value = hard_network()
    radius = np.where(np.arange(30) < sides, 0.4, 0.0)
    samples = network(np.random.default_rng(0).uniform(-1, 1, (4000, 30)) * radius)[:, 0]
    limit = float(samples.min() - 20.0 * (value[0] - samples.min()))
    return query_of(network, [Disjunct(box_of(-radius, radius), (at_most([1, 0], 0, limit),))])


@pytest.mark.parametrize("sides", [18, 30])
@pytest.mark.parametrize("timeout", [0.0, 30.0, 300.0, 1000.0])
def test_timeouts_are_kept(timeout: float, sides: int) -> None:
    """Once the time is up, the clock is looked at a few times more: no new work begins."""
    query = hard_query(sides)
    with ticking() as clock:
        outcome = av.verify(query, timeout=timeout)
    assert timeout < clock.looks <= timeout + 20
    assert outcome.verdict is av.Verdict.TIMED_OUT and outcome.undecided == 1


@pytest.mark.parametrize("sides", [18, 30])
@pytest.mark.parametrize("k", [1, 30, 300])
def test_a_stop_is_heard_soon(k: int, sides: int) -> None:
    question = Question(k)
    outcome = av.verify(hard_query(sides), run=av.Run(stop=question))
    assert k <= question.asked <= k + 10
    assert outcome.verdict is av.Verdict.UNKNOWN


@pytest.mark.parametrize("limit", [1, 2, 9, 100])
def test_the_count_of_subproblems_is_kept_up_to_one_batch(limit: int) -> None:
    for sides in (18, 30):
        outcome = av.verify(hard_query(sides), settings=av.VerifySettings(max_subproblems=limit))
        assert outcome.verdict is av.Verdict.UNKNOWN
        assert limit <= outcome.subproblems <= limit + 2 * 1024


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("way", WAYS)
def test_weights_that_are_no_numbers_are_refused(way: str, bad: float) -> None:
    network, _ = hard_network()
    node = network.nodes[3]
    node.terms[0].map.weight[0, 0] = bad
    query = query_of(network, [Disjunct(box_of(-np.ones(30), np.ones(30)), (at_most([1, 0], 0, 0),))])
    with pytest.raises(av.AdmmVerifyError, match="NaN or infinite"), np.errstate(all="ignore"):
        decide(query, way)


def test_interrupts_come_through() -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    for way in WAYS:
        with pytest.raises(KeyboardInterrupt):
            decide(some()[0].query, way, stop=interrupted)
