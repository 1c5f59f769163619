"""Seeds of random cases: the first ones in every run, the others among the slow tests."""

import pytest


def seeds(quick: int, every: int) -> list:
    """Parameters 0 to every - 1, of which those from `quick` on are slow."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, every))]
