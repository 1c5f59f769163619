"""Where attacks start: given points, centres, corners, uniform points, and points that spread the outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow
from admm_verify.attacks.hunt import Hunt
from admm_verify.attacks.landscape import Landscape
from admm_verify.attacks.targets import Targets
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.options import Count, Nonnegative, Settings

_PASSES = 20.0
"""Work of the passes that choose starts, in units of one pass of the method over them."""


@dataclass(frozen=True)
class Starts(Settings):
    """Where a method starts in every set, besides the centre and the points it is given.

    restarts: further starts; small networks take up to `most`, as many as keep the multiplications of one pass over
    all points below `work`. samples: in sets with at most `few` sides of positive width, the restarts are the best of
    so many uniform points and of all corners, if these are no more. In larger ones they are uniform points after
    `diversify` steps of output-diversified initialisation of size diversify_step, in radii of the set.
    """

    restarts: Count = 4
    most: Count = 4
    work: Nonnegative = 3e6
    samples: Count = 0
    few: Count = 20
    diversify: Count = 3
    diversify_step: Nonnegative = 2.0


STARTS = Starts()


def check_starts(targets: Targets, starts: Array | None) -> Array | None:
    """Given starts [targets, points, inputs], moved to the targets' place and into their sets.

    Raises: InputError for another shape, and for what is no array of real numbers.
    """
    if starts is None:
        return None
    given = plain_array(starts, "starts")
    shape = tuple(given.shape)
    if len(shape) != 3 or shape[0] != len(targets) or shape[2] != targets.inputs.size:
        raise InputError(
            f"The starts have shape {shape}; expected is [targets, points, inputs] = [{len(targets)}, any, "
            f"{targets.inputs.size}]."
        )
    placed = targets.inputs.placement.put(given)
    xp = namespace(placed)
    return targets.spread.project(xp.where(xp.isnan(placed), targets.spread.centre, placed))


def started(
    hunt: Hunt, settings: Starts, starts: Array | None, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, Array]]:
    """Open targets of a hunt in blocks, each with its `starting_points`; starts [targets, points, inputs] of all."""
    given = 0 if starts is None else starts.shape[1]
    restarts, samples = _counts(hunt.landscape, settings)
    for rows in hunt.blocks(given + 1 + max(restarts, 2 * samples)):
        if hunt.over():
            return
        own = None if starts is None else starts[Placement.of(starts).put_indices(rows)]
        with quiet_overflow():
            points = starting_points(hunt.landscape.take(rows), own, settings, rng)
        yield rows, points


def starting_points(landscape: Landscape, given: Array | None, settings: Starts, rng: np.random.Generator) -> Array:
    """The given points, the centre and the restarts of every target: [targets, points, inputs]."""
    targets = landscape.targets
    xp, centre = targets.inputs.placement.xp, targets.spread.centre
    fixed = [centre] if given is None else [given, centre]
    restarts, samples = _counts(landscape, settings)
    if not restarts:
        return xp.concat(fixed, axis=1)
    if not samples:
        uniform = targets.inputs.sample(restarts, rng)
        return xp.concat([*fixed, _diversified(landscape, uniform, settings, rng)], axis=1)
    pool = [targets.inputs.sample(samples, rng)]
    corners = targets.inputs.corners(samples)
    if corners is not None:
        pool.append(corners)
    return xp.concat([*fixed, _best(landscape, xp.concat(pool, axis=1), restarts)], axis=1)


def _counts(landscape: Landscape, settings: Starts) -> tuple[int, int]:
    """How many restarts every target gets, and of how many samples they are the best; 0 for uniform restarts."""
    each = max(1, landscape.network.weight_count) * len(landscape.targets)
    restarts = max(settings.restarts, min(settings.most, int(settings.work / each)))
    if landscape.targets.inputs.sides > settings.few:
        return restarts, 0
    samples = min(settings.samples, int(_PASSES * settings.work / each))
    return restarts, samples if samples > restarts else 0


def _best(landscape: Landscape, points: Array, count: int) -> Array:
    """The `count` points of least loss of every target."""
    xp = namespace(points)
    order = xp.argsort(landscape.losses(points), axis=1)[:, :count]
    first = Placement.of(points).put_indices(np.arange(points.shape[0])[:, None] * points.shape[1])
    flat = xp.reshape(points, (-1, points.shape[-1]))
    taken = xp.take(flat, xp.reshape(first + order, (-1,)), axis=0)
    return xp.reshape(taken, (points.shape[0], -1, points.shape[-1]))


def _diversified(landscape: Landscape, points: Array, settings: Starts, rng: np.random.Generator) -> Array:
    """Points moved along the steepest ascent of w' f, with random weights w of their own.

    Reference: Tashiro, Song and Ermon, Diversity can be Transferred, NeurIPS 2020, equations 2 and 3.
    """
    if not settings.diversify:
        return points
    targets = landscape.targets
    shape = (*points.shape[:2], targets.objective.shape[-1])
    weights = Placement.of(points).put(rng.uniform(-1.0, 1.0, shape))
    for _ in range(settings.diversify):
        points = targets.spread.stepped(points, settings.diversify_step, landscape.directions(points, weights))
    return points
