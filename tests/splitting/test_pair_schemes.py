"""Every scheme on joint networks of two: below what is sampled and above the best point, near to each other."""

import itertools

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.preactivation import input_rows
from admm_verify.bounds.region import spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.network.graph import Activation, Affine, Input, Network, Term
from admm_verify.network.maps import DenseMap
from admm_verify.network.pair import PairedNetwork, paired


def network(weights: list[tuple[np.ndarray, np.ndarray]], kind: str) -> Network:
    nodes: list[Input | Affine | Activation] = [Input(weights[0][0].shape[1])]
    for k, (weight, bias) in enumerate(weights):
        nodes.append(Affine((Term(len(nodes) - 1, DenseMap(weight, None, weight.shape[1])),), bias, np.abs(bias)))
        if k < len(weights) - 1:
            nodes.append(Activation(kind, len(nodes) - 1, len(bias)))
    return Network(tuple(nodes), (nodes[0].size,), (nodes[-1].size,), element_type="float64")


def pair(kind: str, seed: int, change: float) -> PairedNetwork:
    rng, widths = np.random.default_rng(seed), [3, 7, 7, 2]
    shapes = [(rows, columns) for columns, rows in itertools.pairwise(widths)]
    first = [(rng.standard_normal(shape), 0.3 * rng.standard_normal(shape[0])) for shape in shapes]
    second = [(w * (1.0 + change * rng.standard_normal(w.shape)), b) for w, b in first]
    return paired(network(first, kind), network(second, kind))


def crown_bounds(joint: Network, box: av.Box, pre: av.PreactivationBounds, rows: np.ndarray) -> np.ndarray:
    """Of rows of the output, by CROWN's planes."""
    region = spread_region(joint, input_rows(joint, box), pre.lower, pre.upper)
    functionals = Functionals({joint.output: rows[None]}, np.zeros((1, len(rows))))
    return np.asarray(Relaxed(region).crown(functionals))[0]


@pytest.mark.parametrize("method", ["ascent", "primal_dual", "admm"])
@pytest.mark.parametrize(("kind", "change"), [("relu", 1e-3), ("relu", 0.3), ("tanh", 1e-2), ("sigmoid", 1e-2)])
def test_bounds_of_differences_hold_and_values_are_attained(method, kind, change):
    joint = pair(kind, 3, change)
    box = av.Box.around(np.zeros(3), radius=0.7)
    rows = np.concatenate([joint.rows(difference=np.eye(2)), joint.rows(difference=-np.eye(2))])
    pre = av.preactivation_bounds(joint, box, method="tightened")
    problem = av.Problem(joint, box, objective=rows, preactivation=pre)
    found = av.solve(problem, method=method, max_passes=60)
    crown = crown_bounds(joint, box, pre, rows)
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (5000, 3))
    least = (np.asarray(joint(points)) @ rows.T).min(axis=0)
    assert (np.asarray(found.lower) <= least + 1e-12 * np.abs(least)).all()
    assert (np.asarray(found.lower) <= np.asarray(found.relaxation_upper)).all()
    assert np.isfinite(np.asarray(found.relaxation_upper)).all()
    # No scheme returns less than CROWN's planes give over the same ranges.
    assert (np.asarray(found.lower) >= crown - 1e-9 * np.abs(crown)).all()


def test_differences_of_one_network_with_itself_are_far_smaller_than_of_two_values():
    joint = pair("relu", 5, 1e-4)
    box = av.Box.around(np.zeros(3), radius=0.7)
    rows = np.concatenate([joint.rows(difference=np.eye(2)), joint.rows(first=-np.eye(2), second=np.eye(2))])
    pre = av.preactivation_bounds(joint, box, method="tightened")
    lower = np.asarray(av.solve(av.Problem(joint, box, objective=rows, preactivation=pre), method="ascent").lower)
    assert (lower[:2] > 0.01 * lower[2:]).all() and (lower <= 0).all()
