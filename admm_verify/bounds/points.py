"""Certified values of a network at single points: one evaluation in float64 and a bound on all of its errors."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, SMALLEST, Placement, gamma, quiet_overflow
from admm_verify.bounds.region import node_magnitude
from admm_verify.network.graph import Network
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.registry import relaxations_of
from admm_verify.relaxations.steps import StepFunction
from admm_verify.run import paced


@dataclass(frozen=True, eq=False)
class PointValues:
    """What a network computes is within `error` of `value` at every point, in real numbers and in its arithmetic.

    Shapes: value, error [points, outputs]; error infinite where nothing is known.
    """

    value: np.ndarray
    error: np.ndarray


def at_points(network: Network, x: np.ndarray, off: np.ndarray, arithmetic: str) -> PointValues:
    """The network at points near x, each coordinate off by at most `off`, as they are told and as they are rounded.

    e_y = M e_x + gamma_N M (max|x| + e_x) through affine nodes and e_y = max|phi'| e_x + the function's own roundings
    through activations, over all points at once; at a step the error ends where no argument comes within it of a jump,
    and nothing is known of the points where one does.

    Shapes: x [points, inputs] in float64; off [inputs].
    Valid when: the network is run in its own arithmetic with inputs that are off by no more than `off`.
    Error: rounded upward.
    """
    placed = network.put(Placement.numpy())
    relaxations, single = relaxations_of(placed), arithmetic == "float32"
    roundoffs = [] if arithmetic == "real" else [SINGLE_ROUNDOFF if single else DOUBLE_ROUNDOFF]
    flushed = 2.0**-126 if single else SMALLEST
    values, errors, sizes = [x], [off[None, :] * np.ones((1, 1))], [np.abs(x).max(axis=0, keepdims=True) + off]
    clear = np.ones(len(x), dtype=bool)
    with quiet_overflow():
        for _, affine, k in paced(placed.steps):
            if affine is not None:
                own = 4.0 * gamma(placed.roundings)
                relative = own + sum(gamma(affine.roundings, roundoff) for roundoff in roundoffs)
                carried = np.zeros((1, affine.size))
                for term in affine.terms:
                    carried = term.map.magnitude_apply(errors[term.source]) + carried
                lost = affine.roundings + sum(term.map.columns for term in affine.terms)
                total = carried + relative * node_magnitude(affine, sizes) + lost * (flushed + SMALLEST)
                values.append(affine.apply(values))
            else:
                source, node = placed.sources[k], placed.functions[k]
                total, sure = _through(relaxations[k], values[source], errors[source], roundoffs, flushed)
                clear &= sure
                values.append(node(values[source]))
            errors.append(total * (1 + 1e-9))
            sizes.append(np.abs(values[-1]).max(axis=0, keepdims=True) + errors[-1])
            # Values that overflow on the way, also in the network's own type, say nothing.
            clear &= np.isfinite(values[-1]).all(axis=1) & bool((sizes[-1] < (2.0**125 if single else 2.0**1000)).all())
    known = clear[:, None] & np.isfinite(errors[-1])
    return PointValues(values[-1], np.where(known, errors[-1], np.inf))


def _through(
    relaxation: Hull, x: np.ndarray, error: np.ndarray, roundoffs: list[float], flushed: float
) -> tuple[np.ndarray, np.ndarray]:
    """The error behind an activation, [1, n], and where it is known, [points]."""
    if isinstance(relaxation, StepFunction):
        low, high = relaxation.image(np.nextafter(x - error, -np.inf), np.nextafter(x + error, np.inf))
        # Without any error the argument is exact.
        sure = np.where(error > 0, low == high, True).all(axis=1)
        return np.zeros_like(error), sure
    low, high = (x - error).min(axis=0, keepdims=True), (x + error).max(axis=0, keepdims=True)
    carried = relaxation.carried(low, high, error)
    reach = np.maximum(*map(np.abs, relaxation.image(low, high)))
    roundings = max(relaxation.evaluation_roundings, 8.0) * (DOUBLE_ROUNDOFF + sum(roundoffs))
    return carried + roundings * np.maximum(reach, 1.0) + 8.0 * flushed, np.ones(len(x), dtype=bool)
