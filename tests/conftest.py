"""Fixtures shared by all tests."""

import os
import signal
import zlib
from itertools import groupby, pairwise

# Thread pools that spin between small products take three times the processor time; a caller's choice stays.
for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

# Shells start background jobs with Ctrl-C ignored and nohup ignores hangups, and so would processes that tests start.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# Every call checked takes several times as long: `tests/test_checking.py` runs the rooms' own tests so.
if os.environ.get("ADMM_VERIFY_CHECK_ARRAYS"):
    from tests import checking

    checking.install()

import numpy as np
import pytest
from hypothesis import settings

import admm_verify as av
from admm_verify.network.layers import network_from_layers

# The same draws in every run, at any speed, so that a change is what a failure comes of;
# `--hypothesis-profile=default` draws others.
settings.register_profile("repeated", derandomize=True, deadline=None)
settings.load_profile("repeated")


SHARE = int(os.environ.get("ADMM_VERIFY_SHARE", "1"))
"""Of how many parametrisations of each test one is run, for what only asks whether the code runs at all."""


# After slow tests and others are left out.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test keeps one parametrisation at least, and not all of them the same ones."""
    kept, left = [], []
    for name, group in groupby(items, lambda item: item.nodeid.partition("[")[0]):
        alike = list(group)
        first = zlib.crc32(name.encode()) % min(SHARE, len(alike))
        for i, item in enumerate(alike):
            (kept if i % SHARE == first else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture
def small_network() -> av.Network:
    """A fixed 4-8-8-3 network."""
    rng = np.random.default_rng(11)
    sizes = (4, 8, 8, 3)
    weights = [rng.standard_normal((m, n)) for n, m in pairwise(sizes)]
    return network_from_layers(weights, [rng.standard_normal(m) for m in sizes[1:]], "small")
