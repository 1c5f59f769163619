"""Certified values of a network at single points: one evaluation in float64 and bounds on all of its errors."""

from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, SMALLEST, Placement, gamma, quiet_overflow, to_numpy
from admm_verify.bounds.backward import Backward
from admm_verify.bounds.functionals import neurons
from admm_verify.bounds.region import node_magnitude, spread_region
from admm_verify.bounds.relaxed import Relaxed
from admm_verify.network.graph import Affine, Network
from admm_verify.network.originals import are_charged
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.registry import relaxations_of
from admm_verify.relaxations.steps import StepFunction
from admm_verify.run import Run, paced
from admm_verify.sets.box import Box

_FEW, _COARSE = 32, 2.0**-30
"""Entries of an affine node up to which, and errors relative to values from which, linear bounds are worth a sweep."""


@dataclass(frozen=True, eq=False)
class PointValues:
    """What a network computes is within `error` of `value` at every point, in real numbers and in its arithmetic.

    Shapes: value, error [points, outputs]; error infinite where nothing is known.
    """

    value: np.ndarray
    error: np.ndarray


def at_points(
    network: Network, x: np.ndarray, off: np.ndarray, arithmetic: str, run: Run | None = None, sweeps: bool = False
) -> PointValues:
    """The network at points near x, each coordinate off by at most `off`, as they are told and as they are rounded.

    e_y = M e_x + gamma_N M (max|x| + e_x) through affine nodes and e_y = max|phi'| e_x + the function's own roundings
    through activations, with the largest of all points. At a step the error ends where no argument comes within it of a
    jump; nothing is known of the points where one does. sweeps: where the errors have become coarse, affine nodes of
    few entries that read many are bounded by a sweep through what is below, whose coefficients have signs.

    Shapes: x [points, inputs] in float64; off [inputs].
    Valid when: the network is run in its own arithmetic with inputs that are off by no more than `off`.
    Error: rounded upward. Raises: Stopped once the run is over.
    """
    evaluation = _Evaluation(network.put(Placement.numpy()), (x, off), arithmetic, Run.of(run), sweeps)
    with quiet_overflow():
        return evaluation.through()


@dataclass(frozen=True, eq=False)
class NodeValues:
    """What all nodes hold at some points in real numbers, as in `PointValues`.

    Shapes: values[i] [points, n_i]; errors[i] [points or 1, n_i]; clear [points], false where nothing is known.
    """

    values: list[np.ndarray]
    errors: list[np.ndarray]
    clear: np.ndarray


def nodes_at_points(network: Network, x: np.ndarray, off: np.ndarray, run: Run) -> NodeValues:
    """All nodes of a network at points near x, as `at_points` finds the outputs. Raises: Stopped."""
    evaluation = _Evaluation(network.put(Placement.numpy()), (x, off), "real", run, False)
    with quiet_overflow():
        evaluation.through()
    return NodeValues(evaluation.values, evaluation.errors, evaluation.clear)


class _Evaluation:
    """Values of all nodes so far, and bounds on their errors.

    errors[i]: of the values beside real ones, [points or 1, n_i]; drifts[i]: of the network's arithmetic beside those,
    [1, n_i]; sizes[i]: the largest values of all points, [1, n_i].
    """

    def __init__(
        self, network: Network, points: tuple[np.ndarray, np.ndarray], arithmetic: str, run: Run, sweeps: bool
    ) -> None:
        x, off = points
        self.network, self.run, self.sweeps = network, run, sweeps
        self.relaxations = relaxations_of(network)
        self.single = arithmetic == "float32"
        self.roundoff = 0.0 if arithmetic == "real" else SINGLE_ROUNDOFF if self.single else DOUBLE_ROUNDOFF
        self.box = Box(np.nextafter(x - off, -np.inf), np.nextafter(x + off, np.inf))
        self.values, self.errors = [x], [off[None, :]]
        self.drifts = [np.zeros((1, len(off))) if arithmetic == "real" else off[None, :]]
        self.sizes = [np.abs(x).max(axis=0, keepdims=True) + off]
        known = arithmetic == "real" or are_charged((network.as_read or network).nodes)
        self.clear = np.full(len(x), known)

    def through(self) -> PointValues:
        """All nodes, to the output."""
        for index, affine, k in paced(self.network.steps):
            self.run.check()
            if affine is not None:
                self._affine(index, affine)
            else:
                self._activation(k)
            total = self.errors[-1] + self.drifts[-1]
            self.sizes.append((np.abs(self.values[-1]) + total).max(axis=0, keepdims=True))
            # Values that overflow on the way, also in the network's own type, say nothing.
            limit = 2.0**125 if self.single else 2.0**1000
            self.clear &= np.isfinite(self.values[-1]).all(axis=1) & bool((self.sizes[-1] < limit).all())
        error = (self.errors[-1] + self.drifts[-1]) * np.ones((len(self.clear), 1))
        return PointValues(self.values[-1], np.where(self.clear[:, None] & np.isfinite(error), error, np.inf))

    def _affine(self, index: int, node: Affine) -> None:
        magnitude = node_magnitude(node, self.sizes)
        # Numbers of merged maps were rounded on the way, no more often than products with them are.
        error = gamma(2 * node.roundings + 8) * magnitude
        drift = gamma(node.roundings, self.roundoff) * magnitude if self.roundoff else np.zeros_like(magnitude)
        for term in node.terms:
            error = term.map.magnitude_apply(self.errors[term.source]) + error
            if self.roundoff:
                drift = term.map.magnitude_apply(self.drifts[term.source]) + drift
        products = node.roundings + sum(term.map.columns for term in node.terms)
        value = node.apply(self.values) * np.ones((len(self.clear), 1))
        error = (error + products * SMALLEST) * (1 + 1e-9)
        drift = (drift + products * 2.0**-126 * (self.roundoff > 0)) * (1 + 1e-9)
        many = [i for i in (term.source for term in node.terms) if self.values[i].shape[1] > _FEW]
        behind = any((self.errors[i] > _COARSE * self.sizes[i]).any() for i in many)
        if self.sweeps and behind and node.size <= _FEW and (error > _COARSE * (1.0 + np.abs(value))).any():
            value, error = self._swept(index, value, error)
        self.values.append(value)
        self.errors.append(error)
        self.drifts.append(drift)

    def _swept(self, index: int, value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tighter values of an affine node by linear bounds over what is known of all activations below."""
        below = [k for k, i in enumerate(self.network.activations) if i < index]
        network = Network(self.network.nodes[: index + 1], self.network.input_shape, (value.shape[1],))
        sources = [self.network.sources[k] for k in below]
        lower, upper = (
            [np.nextafter(self.values[i] + sign * self.errors[i], sign * np.inf) for i in sources] for sign in (-1, 1)
        )
        region = spread_region(network, self.box, lower, upper)
        # Where all neurons are linear, or nearly so, one sweep's multipliers are as good for the other side.
        wanted = neurons(region, np.arange(value.shape[1]))
        least, sweep = Relaxed(region).certify(wanted)
        most = wanted.error - region.concretise(_turned(sweep))
        least, most = np.maximum(least, value - error * (1 + 1e-9)), np.minimum(most, value + error * (1 + 1e-9))
        middle = least / 2 + most / 2
        width = np.maximum(most - middle, middle - least) * (1 + 1e-9) + SMALLEST
        better = width < error
        return np.where(better, middle, value), np.where(better, width, error * np.ones_like(width))

    def _activation(self, k: int) -> None:
        source, relaxation = self.network.sources[k], self.relaxations[k]
        x, error, drift = self.values[source], self.errors[source], self.drifts[source]
        self.values.append(to_numpy(self.network.functions[k](x)))
        if isinstance(relaxation, StepFunction):
            total = error + drift
            low, high = relaxation.image(np.nextafter(x - total, -np.inf), np.nextafter(x + total, np.inf))
            # Without any error the argument is exact.
            self.clear &= np.where(total > 0, low == high, True).all(axis=1)
            self.errors.append(np.zeros((1, error.shape[1])))
            self.drifts.append(np.zeros((1, error.shape[1])))
            return
        ends = (x - error).min(axis=0, keepdims=True), (x + error).max(axis=0, keepdims=True)
        self.errors.append(_carried(relaxation, ends, error, DOUBLE_ROUNDOFF))
        still = np.zeros((1, self.values[-1].shape[1]))
        self.drifts.append(_carried(relaxation, ends, drift, self.roundoff) if self.roundoff else still)


def _turned(sweep: Backward) -> Backward:
    """A sweep of the negative functional, with the negative multipliers, which are as valid as any."""
    nodes, pre, post = (tuple(None if a is None else -a for a in part) for part in (sweep.nodes, sweep.pre, sweep.post))
    return Backward(nodes, pre, post, -sweep.constant)


def _carried(relaxation: Hull, ends: tuple[np.ndarray, np.ndarray], error: np.ndarray, roundoff: float) -> np.ndarray:
    """What becomes of an error behind an activation of values between some ends."""
    low, high = ends[0] - error, ends[1] + error
    reach = np.maximum(*map(np.abs, relaxation.image(low, high)))
    own = relaxation.evaluation_roundings * roundoff * np.maximum(reach, 1.0)
    return relaxation.carried(*ends, error) + own + 8.0 * 2.0**-126
