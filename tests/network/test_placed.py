"""What blocks side by side share is made by one of them."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier, Event

import numpy as np
import pytest

from admm_verify.arrays import Placement
from admm_verify.network.placed import made_once, moved, unchanging
from tests.random_networks import random_case

THREADS = 4


def side_by_side(work) -> list:
    """work() in threads that begin together, each with the caller's context."""
    begun = Barrier(THREADS)

    def one() -> object:
        begun.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return [task.result() for task in [pool.submit(copy_context().run, one) for _ in range(THREADS)]]


def test_one_thread_makes_what_all_want_at_once() -> None:
    network, made, pause = random_case(0, "plain").network, [], Event()

    def make() -> object:
        made.append(object())
        pause.wait(0.05)
        return made[-1]

    with unchanging(network):
        found = side_by_side(lambda: made_once(network, "key", make))
        assert found == made * THREADS and len(made) == 1
        assert made_once(network, "other", make) is made[1]
    assert made_once(network, "key", make) is made[2]


def test_all_have_the_same_network_in_a_place() -> None:
    network, place = random_case(0, "plain").network, Placement.numpy(np.float32)
    with unchanging(network):
        first, *others = side_by_side(lambda: moved(network, place))
    assert all(other is first for other in others)
    assert all(term.map.weight.dtype == np.float32 for node in first.affine.values() for term in node.terms)


def test_the_next_one_tries_where_one_failed() -> None:
    network, answers = random_case(0, "plain").network, [MemoryError(), 7]

    def make() -> int:
        answer = answers.pop(0)
        if isinstance(answer, MemoryError):
            raise answer
        return answer

    with unchanging(network):
        with pytest.raises(MemoryError):
            made_once(network, "key", make)
        assert made_once(network, "key", make) == made_once(network, "key", make) == 7
