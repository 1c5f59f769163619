"""Constants between any two norms, beside all slopes of small networks."""

from functools import cache
from itertools import product

import numpy as np
import pytest

import admm_verify as av
from admm_verify.lipschitz.jacobians import jacobian_bound
from admm_verify.lipschitz.norms import length_of
from admm_verify.lipschitz.slope_system import slope_system
from admm_verify.lipschitz.weighed_norms import _WeighedForms
from tests.lipschitz.test_constants import dense_chain

PAIRS = list(product(("l1", "l2", "linf"), repeat=2))
CORNERS = np.array(list(product((-1.0, 1.0), repeat=4)))
FIRM = av.LipschitzSettings(points=16, rounds=8)


@cache
def small(seed):
    return dense_chain(np.random.default_rng(seed), [4, 5, 4, 3])


@cache
def jacobians(seed):
    """Those of all patterns of slopes 0 and 1, of which the others are means."""
    first, second, third = (node.terms[0].map.weight for node in small(seed).affine.values())
    lows = np.array(list(product((0.0, 1.0), repeat=5)))
    highs = np.array(list(product((0.0, 1.0), repeat=4)))
    inner = np.einsum("ki,hi,ij->hkj", second, lows, first)
    return np.einsum("pk,gk,hkj->ghpj", third, highs, inner).reshape(-1, 3, 4)


def steepest(matrices, source, target):
    """The largest norm of matrices between two norms, by all corners and rows; nothing above it between l2 and l2."""
    if source == target == "l2":
        return np.max(np.linalg.norm(matrices, 2, axis=(1, 2)))
    if source == "l1":
        return np.max(length_of(np.swapaxes(matrices, 1, 2), target))
    if source == "linf":
        return np.max(length_of(np.swapaxes(matrices @ CORNERS.T, 1, 2), target))
    signs = np.array(list(product((-1.0, 1.0), repeat=3))) if target == "l1" else np.eye(3)
    return np.max(length_of(signs @ matrices, "l2"))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_constants_between_norms_are_above_all_slopes(source, target):
    """And within a quarter of the steepest of all patterns, where sums of sizes are far above."""
    found = av.lipschitz_constant(small(0), norm=source, output_norm=target, settings=FIRM)
    exact = steepest(jacobians(0), source, target)
    assert found.lower * (1 - 1e-9) <= exact <= found.upper <= 1.35 * exact
    values = [bound.value for bound in found.bounds]
    assert found.upper == min(values) and values == sorted(values, reverse=True)
    assert (found.norm, found.output_norm) == (source, target)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_bounds_by_entries_hold_all_matrices(source, target):
    sizes = np.max(np.abs(jacobians(1)), axis=0)
    whole = jacobian_bound(sizes, source, target)
    assert steepest(jacobians(1), source, target) <= whole
    if (source, target) != ("l2", "l2"):
        assert whole == pytest.approx(steepest(sizes[None], source, target), rel=1e-12)


@pytest.mark.parametrize(("by_input", "by_output"), [(True, False), (False, True), (True, True)])
def test_gradients_of_weights_are_those_of_differences(by_input, by_output):
    system = slope_system(small(0), 0, 5)
    assert system is not None
    forms = _WeighedForms(system, by_input, by_output)
    weights = forms.start()
    assert weights is not None
    weights = weights * np.random.default_rng(0).uniform(0.8, 1.0, len(weights))
    here = forms.judge(weights, 7.0)
    assert here is not None
    for i in range(len(weights)):
        step = np.zeros(len(weights))
        step[i] = 1e-6 * weights[i]
        ends = [forms.judge(weights + sign * step, 7.0) for sign in (1, -1)]
        assert ends[0] is not None and ends[1] is not None
        slope = (ends[0].value - ends[1].value) / (2.0 * step[i])
        assert here.gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert forms.proved(weights) == pytest.approx(np.sqrt(here.largest[-1]), rel=1.1e-3)
