"""Bounds of very many rows: found for some after the others, and the same."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.preactivation import fitting
from admm_verify.memory import Budget
from tests.random_networks import stacked_network


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_rows_in_blocks_have_the_bounds_of_all_at_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    network = stacked_network(1)
    centre = rng.normal(size=(7, network.input_size))
    boxes = av.Box(centre - 0.1, centre + 0.1)
    whole = av.preactivation_bounds(network, boxes, method)
    monkeypatch.setattr("admm_verify.bounds.interval._BLOCK_NUMBERS", 20)
    blocks = av.preactivation_bounds(network, boxes, method)
    for one, other in zip((*whole.lower, *whole.upper), (*blocks.lower, *blocks.upper), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_bounds_of_other_rows_are_noticed_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    network = stacked_network(1)
    centre = rng.normal(size=(6, network.input_size))
    boxes = av.Box(centre - 0.01, centre + 0.01)
    bounds = av.preactivation_bounds(network, boxes, "interval")
    monkeypatch.setattr(Budget, "block", lambda self, numbers: 2)
    fitting(bounds, network, boxes)
    for row in range(6):
        wrong = [np.array(end) for end in bounds.lower]
        wrong[0][row] = bounds.upper[0][row] + 1.0
        with pytest.raises(av.InputError, match="exclude every value"):
            fitting(av.PreactivationBounds(tuple(wrong), tuple(end + 2.0 for end in bounds.upper)), network, boxes)
