"""Exact answers about pairs of small networks, from mixed-integer programs of both side by side."""

from fractions import Fraction
from unittest.mock import patch

import numpy as np

from admm_verify import Box, Network, preactivation_bounds
from admm_verify.network.pair import paired
from tests.complete.networks import exact_output, flat_box, pairs_of
from tests.complete.truth import COMPLETE
from tests.reference import highs
from tests.reference.pieces import Formulation

SIZE = 2
"""Outputs of the networks."""


def side_by_side(first: Network, second: Network) -> Network:
    """Both networks as one without difference nodes, with outputs [y; y'; y' - y]."""
    joint = paired(first, second).as_read
    assert joint is not None
    return joint


def difference_row(output: int, sign: float) -> np.ndarray:
    """The functional sign (y' - y)_output."""
    return sign * np.eye(3 * SIZE)[2 * SIZE + output]


def least(network: Network, box: Box, objective: np.ndarray, below: np.ndarray | None = None) -> Fraction | None:
    """The least value of a functional over the inputs at which another one is at most zero; None where it nowhere is.

    Up to 1e-8 or so; without the other one the value is attained exactly.
    """
    with patch.dict(highs._OPTIONS, COMPLETE):
        bounds = pairs_of(preactivation_bounds(network, box))
        program = Formulation(network, flat_box(box), bounds, integer=True)
        if below is not None:
            if exact(network, program.minimum(below, 0.0).x, below) > 0:
                return None
            matrix, constant = program.images[-1]
            program.rows.append(((below @ matrix)[None], np.array([-np.inf]), np.array([-below @ constant])))
        return exact(network, program.minimum(objective, 0.0).x, objective)


def exact(network: Network, x: np.ndarray, objective: np.ndarray) -> Fraction:
    """The functional at an input, in rational arithmetic."""
    output = exact_output(network, x)
    return sum((Fraction(float(c)) * y for c, y in zip(objective, output, strict=True)), Fraction(0))
