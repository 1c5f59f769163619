"""On a GPU the search is as strong as on the host: refinement, programs of parts, what rows pass on, sums of atoms."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.layers import network_from_layers
from tests.gpu.pretend import pretend_gpu


def case(seed: int, condition: str, share: float) -> av.Query:
    """A query about outputs above sampled ones by a share of their range; condition: of the levels {0} and {1}."""
    rng, sizes = np.random.default_rng(seed), (24, 12, 12, 2)
    weights = [rng.normal(size=pair[::-1]) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    network = network_from_layers(weights, [rng.normal(size=size) for size in sizes[1:]])
    sampled = network(rng.uniform(-0.3, 0.3, size=(20_000, 24)))
    levels = sampled.max(axis=0) + share * np.ptp(sampled, axis=0)
    box = av.Box(np.full(24, -0.3), np.full(24, 0.3))
    return av.query(network, box, condition.format(*levels))


@pytest.mark.parametrize(
    ("seed", "condition", "share", "rounds"),
    [
        (2, "y0 >= {0} or y1 >= {1}", 0.4, 2),
        pytest.param(1, "y0 >= {0} and y1 >= {1}", 0.2, 0, marks=pytest.mark.slow),
    ],
)
def test_as_many_parts_as_on_the_host(seed: int, condition: str, share: float, rounds: int) -> None:
    query, settings = case(seed, condition, share), av.VerifySettings()
    search = replace(settings.search, refinement=av.RefineSettings(rounds=rounds))
    settings = replace(settings, search=search)
    expected = av.verify(query, settings=settings)
    with pretend_gpu() as gpu:
        found = av.verify(query, settings=settings, device="cuda")
        assert gpu.events.kernels or not expected.subproblems
    assert found.verdict is expected.verdict is av.Verdict.UNSAT
    assert 0 < found.subproblems <= 1.1 * expected.subproblems


def test_boxes_are_halved_where_an_output_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    network = network_from_layers([rng.normal(size=(6, 3)), rng.normal(size=(2, 6))], [np.zeros(6), np.zeros(2)])
    box = av.Box(np.full(3, -0.5), np.full(3, 0.5))
    most = network(rng.uniform(-0.5, 0.5, size=(2000, 3)))[:, 0]
    query = av.query(network, box, f"y0 >= {most.max() + 0.05 * np.ptp(most)}")
    with pretend_gpu():
        found = av.verify(query, timeout=60, device="cuda")
    assert found.verdict is av.Verdict.UNSAT
