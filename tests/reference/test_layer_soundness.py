"""Attacks on every bound of networks with convolutions, pooling, residual blocks and curved activations, zero slack."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import torch

from admm_verify.arrays import SINGLE_ROUNDOFF, Placement
from admm_verify.bounds import preactivation
from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.bounds.receptive import Field
from admm_verify.bounds.region import evaluation_error
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.sets import Box
from admm_verify.splitting.problem import Problem, Rows
from admm_verify.splitting.solution import Solution
from admm_verify.splitting.solve import METHODS, solve
from tests.random_layers import LayerCase, layer_case
from tests.reference.attack import EXTENDED, Plain, box_points, hunt
from tests.reference.exact import exact
from tests.reference.pieces import Formulation

NETWORKS = 100
SAMPLES = 10_000
PRECISIONS = ("float32", "float64")
BUDGETS = (0, 4, 60)
COMBINATIONS = [(m, p, b) for b in BUDGETS for m in METHODS for p in PRECISIONS]
ENDS = ("lower", "upper")


def seeds(share: int = 10) -> list:
    """All networks; by default every tenth seed, another digit in every ten, so that each kind of growth is met."""
    chosen = {block * share + (block * 3 + 1) % share for block in range(NETWORKS // share)}
    return [pytest.param(seed, marks=[] if seed in chosen else [pytest.mark.slow]) for seed in range(NETWORKS)]


def every_case(test: Callable) -> Callable:
    parametrize = pytest.mark.parametrize
    return parametrize("seed", seeds())(parametrize("smooth", [False, True], ids=["pieces", "smooth"])(test))


@dataclass(frozen=True, eq=False)
class Truth:
    """A case, and points of its box that come near the extremes of neurons and objectives, with what is known there.

    lowest and highest: rigorous bounds on the true values of all nodes of the graph as built, [points, n_i] each.
    """

    case: LayerCase
    points: np.ndarray
    lowest: list[np.ndarray]
    highest: list[np.ndarray]


@lru_cache(maxsize=2)
def truth(seed: int, smooth: bool) -> Truth:
    case = layer_case(seed, smooth)
    plain = Plain.of(case.original)
    points = hunt(plain, case.box, SAMPLES, seed, case.objective)
    values, errors = Plain.of(case.original, EXTENDED).values(points.astype(EXTENDED))
    lowest = [value - error for value, error in zip(values, errors, strict=True)]
    highest = [value + error for value, error in zip(values, errors, strict=True)]
    return Truth(case, points, lowest, highest)


def same_inputs(case: LayerCase, bounds: PreactivationBounds) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For every activation in normal form its bounds and the matrix-free check's source: see `preactivations`."""
    return [
        (low[0], high[0], np.array(case.network.nodes[i].source))
        for i, low, high in zip(case.network.activations, bounds.lower, bounds.upper, strict=True)
    ]
