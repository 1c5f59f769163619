"""Sizes of batches, for clocks whose every tick is known."""

from collections.abc import Callable

from admm_verify.complete.batches import Batches
from admm_verify.settings import SearchSettings

SETTINGS = SearchSettings(least_batch=8, most_batch=1024, seconds_per_step=0.2)


def _sizes(seconds: Callable[[int], float], steps: int = 40) -> list[int]:
    batches, sizes = Batches(SETTINGS), []
    for _ in range(steps):
        sizes.append(batches.size)
        batches.took(batches.size, seconds(batches.size))
    return sizes


def test_steps_that_take_long_whatever_their_size_grow_to_the_most():
    assert _sizes(lambda size: 0.5 + 1e-4 * size)[-1] == 1024


def test_steps_that_take_as_long_as_they_are_large_stay_near_the_wanted_time():
    assert all(0.1 <= 0.002 * size <= 0.5 for size in _sizes(lambda size: 0.002 * size)[8:])


def test_steps_that_take_far_too_long_become_small_again():
    batches = Batches(SETTINGS)
    for _ in range(5):
        batches.took(batches.size, 0.1)
    assert batches.size == 256
    for _ in range(5):
        batches.took(batches.size, 3.0)
    assert batches.size == 8


def test_larger_sizes_that_do_not_pay_are_left():
    sizes = _sizes(lambda size: 0.05 * size)
    assert sizes[:3] == [8, 16, 8]
    assert set(sizes[3:]) == {8}


def test_a_batch_that_was_not_full_says_nothing_of_its_size():
    batches = Batches(SETTINGS)
    batches.took(3, 0.3)
    assert batches.size == 8


def test_memory_that_runs_out_leaves_a_quarter():
    batches = Batches(SETTINGS)
    for expected in (2, 1, 1):
        batches.ran_out_of_memory()
        assert batches.size == expected
