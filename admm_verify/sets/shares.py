"""How functionals are shared out between a set and a box that cuts it, and nearest points of both."""

from collections.abc import Iterator

from admm_verify.arrays import Array, namespace
from admm_verify.sets.box import Box
from admm_verify.sets.contract import Vectors, WalkableSet
from admm_verify.sets.dual_simplex import solve_programs
from admm_verify.sets.images import along

_STILL = 1e-13
"""Of the box's width: moves that are nothing."""

_PROJECTIONS = 40
"""Passes of Dykstra's method, which comes nearer with every one."""


def plane_shares(base: WalkableSet, box: Box, coefficient: Vectors, rounds: int) -> Iterator[tuple[Vectors, Vectors]]:
    """The parts of functionals that the box takes, better ones round after round, and where the rounds are in it.

    Kelley's cutting planes: a point of the box outside the base is cut off by a hyperplane at its nearest point there;
    with multipliers mu of all planes A so far the box takes c + A'mu, and the base the rest.
    Reference: Kelley, The cutting-plane method for solving convex programs, J. SIAM 8 (1960).
    """
    xp, (middle, half) = namespace(coefficient), box.middle
    cost = coefficient * half
    scale, one, z = _most(cost), xp.ones_like(half), box.minimiser(coefficient)
    slopes, rooms = [], []
    for k in range(rounds):
        way = -coefficient if k == 0 else z - base.project(z)
        if bool(xp.all(xp.abs(way) <= _STILL * half)):
            # Nothing is left to cut off.
            return
        most = -base.minimum(-way)[0]
        slope = way * half
        size = _most(slope)
        slopes.append(slope / size)
        rooms.append((most - xp.sum(way * middle, axis=-1))[..., None] / size)
        normals = xp.stack(slopes, axis=-2)
        t, mu = solve_programs(cost / scale, (-one, one), normals, xp.concat(rooms, axis=-1))
        z = box.project(middle + half * t)
        share = coefficient + scale * along(mu, normals) / xp.where(half > 0, half, one)
        yield xp.where(half > 0, share, coefficient), z


def nearest_in_both(base: WalkableSet, box: Box, x: Vectors) -> Vectors:
    """Points of the box that are near to the base, and nearest to x, as some passes bring them.

    Reference: Boyle and Dykstra, A method for finding projections onto the intersection of convex sets in Hilbert
    spaces, in Advances in Order Restricted Statistical Inference (1986).
    """
    xp = namespace(x)
    first, second = xp.zeros_like(x), xp.zeros_like(x)
    for _ in range(_PROJECTIONS):
        near = base.project(x + first)
        first, last = x + first - near, x
        x = box.project(near + second)
        second = near + second - x
        if bool(xp.all(xp.abs(x - last) <= _STILL * box.width)):
            break
    return x


def _most(x: Array) -> Array:
    """max |x_i|, or 1 for zeros, [..., 1]."""
    xp = namespace(x)
    most = xp.max(xp.abs(x), axis=-1, keepdims=True)
    return xp.where(most > 0, most, xp.ones_like(most))
