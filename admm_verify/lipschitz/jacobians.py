"""All Jacobians of a network at once, entry by entry: from products of weights and any slopes that activations have.

The difference of two values of an activation is the difference of its arguments times a slope, entry by entry, so that
f(x) - f(y) = J (x - y) with J = sum over paths of W_L D_{L-1} .. D_1 W_1 and diagonal D_k of slopes. From the output to
the input every entry of J is enclosed by a centre and a radius.
"""

from collections.abc import Sequence

import numpy as np

from admm_verify.arrays import gamma, to_numpy
from admm_verify.lipschitz.norms import DUAL, length_of
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.relaxations.registry import relaxation_of
from admm_verify.run import paced
from admm_verify.sets.norm_names import NormName

MOST_OUTPUTS = 1000
"""More rows than these take longer than what they tell is worth."""

Slopes = tuple[np.ndarray, np.ndarray]
"""The least and the greatest slope of every neuron."""


def global_slopes(node: Activation) -> Slopes | None:
    """Those over all arguments; None where some have no bound."""
    if node.operands > 1:
        return None
    limits = [np.broadcast_to(to_numpy(limit), (node.size,)) for limit in relaxation_of(node).slope_limits()]
    return (limits[0], limits[1]) if all(np.isfinite(limit).all() for limit in limits) else None


def slopes_within(graph: Network, lower: Sequence[np.ndarray], upper: Sequence[np.ndarray]) -> tuple[Slopes, ...]:
    """Those of all activations where what they take lies in [lower, upper], infinite where none are known.

    Shapes: lower, upper [..., n] of every activation.
    """
    found = []
    for node, low, high in zip(graph.functions, lower, upper, strict=True):
        least, most = (to_numpy(limit) for limit in relaxation_of(node).slopes_over(low, high))
        unknown = np.isnan(least) | np.isnan(most)
        found.append((np.where(unknown, -np.inf, least), np.where(unknown, np.inf, most)))
    return tuple(found)


def jacobian_sizes(graph: Network) -> np.ndarray | None:
    """Upper bounds of |J| entry by entry, [outputs, inputs]; None where slopes have no bound, or rows are too many.

    Error: rounded outward.
    """
    if graph.output_size > MOST_OUTPUTS:
        return None
    slopes = [global_slopes(node) for node in graph.functions]
    # Activations of which no path leads to the output are not asked.
    unknown = np.array([-np.inf]), np.array([np.inf])
    known = [unknown if one is None else one for one in slopes]
    centre, radius = enclosed_jacobian(graph, known, np.eye(graph.output_size))
    sizes = (np.abs(centre) + radius) * (1.0 + gamma(4))
    return sizes if np.isfinite(sizes).all() else None


def enclosed_jacobian(graph: Network, slopes: Sequence[Slopes], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and radius of rows of all Jacobians, c'J, entry by entry; not finite where slopes have no bound.

    Shapes: slopes of every activation [m n] or [rows, m n], for m operands; rows [rows, outputs] -> [rows, inputs].
    Error: rounded outward.
    """
    reached: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(graph.nodes)
    reached[graph.output] = rows, np.zeros_like(rows)
    places = {i: k for k, i in enumerate(graph.activations)}
    for i in paced(range(graph.output, 0, -1)):
        found, reached[i] = reached[i], None
        node = graph.nodes[i]
        if found is None:
            continue
        if isinstance(node, Activation):
            each = tuple(np.concatenate([part] * node.operands, axis=-1) for part in found)
            _add(reached, node.source, *_times(each[0], each[1], *slopes[places[i]]))
        elif isinstance(node, Affine):
            for term in node.terms:
                centre, radius = found
                charge = gamma(term.map.rows + 2 * term.map.roundings + 8)
                off = charge * to_numpy(term.map.magnitude_transpose(np.abs(centre) + radius))
                wide = to_numpy(term.map.absolute_transpose(radius)) * (1.0 + charge)
                _add(reached, term.source, to_numpy(term.map.transpose(centre)), wide + 2.0 * off)
    zero = np.zeros((len(rows), graph.input_size))
    return (zero, zero) if reached[0] is None else reached[0]


def jacobian_bound(sizes: np.ndarray, norm: NormName, output_norm: NormName | None = None) -> float:
    """The largest |J|_{p -> q} of matrices whose entries have at most some sizes; q is p where none is given.

    Exact but for l2 to l2, the root of the sums of rows and of columns, or of all squares: of nonnegative matrices the
    steepest input in linf is that of ones, and so is the steepest combination of outputs in l1.
    """
    target = norm if output_norm is None else output_norm
    charge = 1.0 + 4.0 * gamma(sum(sizes.shape) + 8)
    if norm == "l1":
        return float(np.max(length_of(sizes.T, target), initial=0.0)) * charge
    if target == "linf":
        return float(np.max(length_of(sizes, DUAL[norm]), initial=0.0)) * charge
    if norm == "linf":
        return float(length_of(np.sum(sizes, axis=1), target)) * charge
    if target == "l1":
        return float(length_of(np.sum(sizes, axis=0), "l2")) * charge
    rows, columns = (float(np.max(np.sum(sizes, axis=axis), initial=0.0)) * charge for axis in (1, 0))
    whole = float(length_of(length_of(sizes, "l2"), "l2")) * charge
    return min(whole, float(np.sqrt(rows) * np.sqrt(columns)) * charge)


def _times(centre: np.ndarray, radius: np.ndarray, least: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, ...]:
    """Products of an interval with slopes: the interval around those of its ends."""
    low, high = centre - radius, centre + radius
    ends = [end * slope for end in (low, high) for slope in (least, most)]
    top, bottom = np.maximum.reduce(ends), np.minimum.reduce(ends)
    middle = 0.5 * (top + bottom)
    off = gamma(8) * (np.abs(centre) + radius) * np.maximum(np.abs(least), np.abs(most)) + 2.0**-1000
    return middle, np.maximum(top - middle, middle - bottom) + off


def _add(reached: list[tuple[np.ndarray, np.ndarray] | None], i: int, centre: np.ndarray, radius: np.ndarray) -> None:
    before = reached[i]
    if before is None:
        reached[i] = centre, radius
        return
    centre = before[0] + centre
    reached[i] = centre, (before[1] + radius) * (1.0 + gamma(4)) + gamma(4) * np.abs(centre)
