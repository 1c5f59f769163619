"""What joint networks attain at samples, and that no bound is over it."""

from dataclasses import dataclass

import numpy as np

import admm_verify as av
from admm_verify.network.pair import PairedNetwork

METHODS = ("forward", "crown", "tightened")


@dataclass(frozen=True, eq=False)
class Attained:
    """What the joint network's activations read and what both networks give at some inputs, in extended precision.

    Differences are those of the two networks' own values; error: how far these are off by their own rounding.
    Shapes: sources [samples, m n] each, outputs [samples, 3 outputs].
    """

    sources: list[np.ndarray]
    outputs: np.ndarray
    error: np.longdouble

    @classmethod
    def at(cls, joint: PairedNetwork, x: np.ndarray) -> "Attained":
        given, u = joint.inputs, x.astype(np.longdouble)
        assert given is not None
        own, other = given.first.apply(u) + given.first_shift, given.second.apply(u) + given.second_shift
        first, second = (net.evaluate(side)[-1] for net, side in zip(joint.both, (own, other), strict=True))
        values = joint.evaluate(u)
        sources = []
        for node in joint.functions:
            read = values[node.source]
            if node.operands == 3:
                own, other = read[:, : node.size], read[:, 2 * node.size :]
                read = np.concatenate([own, other - own, other], axis=1)
            sources.append(read)
        size = max(np.abs(found).max() for found in values)
        error = 256 * np.finfo(np.longdouble).eps * (1 + size)
        return cls(sources, np.concatenate([first, second, second - first], axis=1), error)


def points(box: av.Box, count: int, seed: int) -> np.ndarray:
    """Inputs anywhere in the box, and as many in its corners."""
    rng, lower, upper = np.random.default_rng([seed, 1]), np.asarray(box.lower), np.asarray(box.upper)
    inside = box.sample(count // 2, rng)
    return np.concatenate([inside, np.where(rng.random((count - len(inside), len(lower))) < 0.5, lower, upper)])


def check_bounds(joint: PairedNetwork, box: av.Box, count: int, seed: int, name: str) -> None:
    attained = Attained.at(joint, points(box, count, seed))
    rows = np.concatenate([np.eye(3 * joint.outputs), -np.eye(3 * joint.outputs)])
    least = (attained.outputs @ rows.T).min(axis=0)
    for method in METHODS:
        bounds = av.preactivation_bounds(joint, box, method)
        for k, values in enumerate(attained.sources):
            low, high = (end[k][0].astype(np.longdouble) for end in (bounds.lower, bounds.upper))
            inside = (low <= values.min(axis=0) + attained.error) & (values.max(axis=0) - attained.error <= high)
            assert inside.all(), f"{name}, {method}: {joint.functions[k].kind} {k}"
        problem = av.Problem(joint, box, rows, np.zeros(len(rows)), bounds)
        for solver in ("ascent", "primal_dual", "admm")[: 1 + 2 * (method == "crown")]:
            found = av.solve(problem, solver, settings=av.SolverSettings(max_passes=20))
            lower = np.asarray(found.lower).astype(np.longdouble)
            assert (lower <= least + attained.error).all(), f"{name}, {method}, {solver}: {lower - least}"
