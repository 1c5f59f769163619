"""The largest moves of an action near observations: bounds and attacks, entry by entry and in Euclidean length."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, to_numpy
from admm_verify.bounds.arithmetic import output_error
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.complete.minimum import Minimum, minimum
from admm_verify.complete.minimum_settings import MinimumSettings
from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.network.splice import splice
from admm_verify.policies.deviation_settings import DeviationSettings
from admm_verify.run import Ended, Run
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False)
class Balls:
    """What is near some centres: sets that hold it, and boxes of points that are near for certain, None for those sets.

    Shapes: centres [sets, inputs].
    """

    centres: np.ndarray
    around: WalkableSet
    within: Box | None

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Points that are near for certain, and the centre where there is none, [sets, inputs]."""
        flat = points.reshape(self.centres.shape)
        near = np.where(np.isnan(flat), self.centres, flat)
        return near if self.within is None else to_numpy(self.within.project(near))


@dataclass(frozen=True, eq=False)
class Moves:
    """attacked <= largest move <= certified, one for each set, the first attained at `worst`.

    Shapes: certified, attacked [sets]; worst [sets, inputs].
    """

    certified: np.ndarray
    attacked: np.ndarray
    worst: np.ndarray


@dataclass(frozen=True, eq=False)
class Moved:
    """What is known of the actions over sets; entries: of the largest move of an entry; length: of the Euclidean one.

    Shapes: actions (those at the centres), low, high [sets, actions].
    """

    actions: np.ndarray
    low: np.ndarray
    high: np.ndarray
    entries: Moves
    length: Moves
    status: tuple[Ended, ...]
    subproblems: int


def largest_moves(network: Network, balls: Balls, settings: DeviationSettings, run: Run) -> Moved:
    """How far f(z) is from f(x) at most, over z of every ball around its centre x."""
    centres, sets = balls.centres, balls.around
    actions = _actions(network, centres)
    count, size = actions.shape
    lost = _own_errors(network, centres, settings.arithmetic)
    both = settings.euclidean and size > 1
    sides = np.concatenate([np.eye(size), -np.eye(size)])
    objective = np.broadcast_to(sides, (count, 2 * size, size))
    offset = np.concatenate([-actions, actions], axis=1)
    found = minimum(
        network,
        sets,
        objective,
        offset,
        settings=_searching(settings, settings.ratio),
        run=run.within(0.5 if both else 1),
    )
    low, high = (
        np.nextafter(actions + found.each[:, :size], -np.inf),
        np.nextafter(actions - found.each[:, size:], np.inf),
    )
    # The action at the centre is computed.
    most = np.nextafter(np.maximum(-found.each[:, :size], -found.each[:, size:]) + lost, np.inf)
    worst = balls.inside(found.point)
    moves = np.abs(_actions(network, worst) - actions)
    entries = Moves(np.maximum(most.max(axis=1), 0.0), moves.max(axis=1), worst)
    length = Moves(_length(np.maximum(most, 0.0)), np.linalg.norm(moves, axis=1), worst)
    status, subproblems = found.status, found.subproblems
    if both:
        squared = _squares(network, actions, sets, settings, run)
        bound = np.sqrt(np.maximum(-squared.lower, 0.0)) * (1.0 + 4.0 * DOUBLE_ROUNDOFF)
        bound = np.nextafter(bound + _length(lost), np.inf)
        worst = balls.inside(squared.point)
        other = np.linalg.norm(_actions(network, worst) - actions, axis=1)
        better = other > length.attacked
        length = Moves(
            np.fmin(length.certified, bound),
            np.where(better, other, length.attacked),
            np.where(better[:, None], worst, length.worst),
        )
        entries = replace(entries, certified=np.minimum(entries.certified, length.certified))
        status, subproblems = _worse(status, squared.status), subproblems + squared.subproblems
    return Moved(actions, low, high, entries, length, status, subproblems)


def _squares(
    network: Network, actions: np.ndarray, sets: WalkableSet, settings: DeviationSettings, run: Run
) -> Minimum:
    """The least value of -|f(z) - f(x)|^2, of which the squares of f(z) are outputs of a network of their own."""
    builder = Builder(network.input_shape, network.element_type)
    value = splice(builder, network, builder.input)
    with_squares = builder.finish(builder.concat([value, builder.activation("square", value)], 0), network.name)
    ones = np.ones_like(actions)
    objective = np.concatenate([2.0 * actions, -ones], axis=1)
    size = np.sum(actions * actions, axis=1)
    offset = -size * (1.0 + 4.0 * len(ones.T) * DOUBLE_ROUNDOFF)
    searching = _searching(settings, settings.ratio**2)
    searching = replace(searching, absolute=settings.least**2)
    return minimum(with_squares, sets, objective, offset, settings=searching, run=run)


def _searching(settings: DeviationSettings, ratio: float) -> MinimumSettings:
    return replace(settings.search, relative=ratio - 1.0, absolute=settings.least, arithmetic=settings.arithmetic)


def _actions(network: Network, x: np.ndarray) -> np.ndarray:
    """f(x), computed in float64. Shapes: [m, inputs] -> [m, actions]."""
    return np.asarray(to_numpy(network(x.reshape(-1, *network.input_shape)))).reshape(len(x), -1)


def _own_errors(network: Network, centres: np.ndarray, arithmetic: str) -> np.ndarray:
    """How far the computed action at every centre may be from that in real numbers, and in the arithmetic chosen,
    [sets, actions].
    """
    box = Box.point(centres)
    bounds = derived_bounds(network, box, "interval", Run(), abandon=False)
    kinds = {"float64", arithmetic} - {"real"}
    return sum((to_numpy(output_error(network, box, bounds, one)) for one in kinds), np.zeros(1))


def _length(entries: np.ndarray) -> np.ndarray:
    """Euclidean lengths, rounded upward, [sets, actions] -> [sets]."""
    return np.nextafter(np.linalg.norm(entries, axis=1) * (1.0 + 4.0 * entries.shape[1] * DOUBLE_ROUNDOFF), np.inf)


def _worse(first: tuple[Ended, ...], second: tuple[Ended, ...]) -> tuple[Ended, ...]:
    return tuple(two if one is Ended.CONVERGED else one for one, two in zip(first, second, strict=True))
