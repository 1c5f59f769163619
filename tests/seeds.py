"""Seeds of random cases, and other parameters: some in every run, the others among the slow tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def seeds(quick: int, every: int) -> list:
    """Parameters 0 to every - 1, of which those from `quick` on are slow."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, every))]


def every(step: int, values: Iterable[Any]) -> list:
    """All values, of which those but every step-th are slow."""
    slow = pytest.mark.slow
    return [pytest.param(value, marks=[slow] if number % step else []) for number, value in enumerate(values)]
