"""The relaxation of a part of the input set as a linear program, whose duals are multipliers of a certified bound."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from admm_verify.programs.frame import Frame, coupled, matrix
from admm_verify.programs.kinks import Kinks
from admm_verify.sets.contract import InputSet

_TOLERANCES = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
_PRICES = (1e3, 1e6)
"""Of leaving a fixed sign, in units of the objective; the second where the first is paid and nothing excluded."""

_OPTIMAL = 0
"""SciPy's code."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an input set, the lines of all activations over it, and neurons with a fixed sign.

    Shapes: inputs [n]; splits [splits], +-(1 + number of the neuron over all layers).
    """

    inputs: InputSet
    kinks: Kinks
    splits: np.ndarray


@dataclass(frozen=True, eq=False)
class Optimum:
    """What HiGHS says of min over a part of max over the rows, and the multipliers that attain it.

    weights: of the rows, adding up to one. multipliers: of all neurons' inputs, those of fixed signs among them, for
    the weighted row. slopes, beta: the lines and the multipliers of fixed signs that come nearest. x: where it is
    attained. pre, post: all activations there; where post is off the graph, the relaxation is not exact. strain: how
    far lines and signs are from the multipliers, where the range of a bent neuron binds.
    Shapes: weights [rows]; x [inputs]; multipliers, slopes, pre, post, strain [sum n_k]; beta [splits].
    """

    value: float
    weights: np.ndarray
    x: np.ndarray
    multipliers: np.ndarray
    slopes: np.ndarray
    beta: np.ndarray
    pre: np.ndarray
    post: np.ndarray
    strain: np.ndarray


def relaxed_minimum(
    frame: Frame, part: Part, objective: np.ndarray, offset: np.ndarray, seconds: float
) -> Optimum | None:
    """min t such that objective f + offset <= t for all rows, over the relaxation of a part; None where HiGHS fails.

    Leaving a fixed sign has a price, so that there are multipliers also where the signs contradict each other.

    Shapes: objective [rows, outputs]; offset [rows].
    """
    unit = 1.0 + float(np.abs(objective).max(initial=0.0))
    program = _program(frame, part, objective, offset)
    if not (np.isfinite(program.below.data).all() and np.isfinite(program.least).all()):
        # Ranges that overflow leave no chord; HiGHS takes numbers only.
        return None
    for price in _PRICES:
        found = _solved(program, len(part.splits), price * unit, seconds)
        if found.status != _OPTIMAL:
            return None
        slack = found.x[frame.width : -1]
        if found.fun > 0 or not slack.any() or price == _PRICES[-1]:
            return _optimum(frame, part, len(offset), found)
    return None


@dataclass(frozen=True, eq=False)
class _Program:
    """below v <= least, ties v = tied, lower <= v <= upper, with columns (frame's, a slack per split, t)."""

    below: sparse.csr_array
    least: np.ndarray
    ties: sparse.csr_array
    tied: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def _program(frame: Frame, part: Part, objective: np.ndarray, offset: np.ndarray) -> _Program:
    splits, rows = len(part.splits), len(offset)
    pre, post = frame.neurons
    width, first = frame.width + splits + 1, len(part.kinks.limits)
    split, slack = first + np.arange(splits), frame.width + np.arange(splits)
    row, top = first + splits + np.arange(rows), np.full(rows, width - 1)
    entries = [
        *part.kinks.entries(pre, post),
        (split, pre[np.abs(part.splits) - 1], -np.sign(part.splits)),
        (split, slack, -np.ones(splits)),
        frame.rows(objective, first + splits),
        (row, top, -np.ones(rows)),
    ]
    limits = np.concatenate([part.kinks.limits, np.zeros(splits), -(objective @ frame.shift + offset)])
    couplings, most = coupled(part.inputs, len(limits))
    free, (lower, upper) = np.full(2 * len(pre), np.inf), part.inputs.range
    return _Program(
        matrix([*entries, *couplings], len(limits) + len(most), width),
        np.concatenate([limits, most]),
        frame.widened_ties(width),
        frame.tied,
        np.concatenate([lower, -free, np.zeros(splits), [-np.inf]]),
        np.concatenate([upper, free, np.full(splits + 1, np.inf)]),
    )


def _solved(program: _Program, splits: int, price: float, seconds: float) -> optimize.OptimizeResult:
    cost = np.zeros(len(program.lower))
    cost[-1] = 1.0
    cost[len(cost) - 1 - splits : -1] = price
    return optimize.linprog(
        cost,
        program.below,
        program.least,
        program.ties,
        program.tied,
        np.stack([program.lower, program.upper], axis=1),
        method="highs",
        options={**_TOLERANCES, "time_limit": seconds},
    )


def _optimum(frame: Frame, part: Part, rows: int, found: optimize.OptimizeResult) -> Optimum:
    kinks = part.kinks
    size = len(kinks.least)
    # SciPy's marginals of upper limits are negative.
    duals = -found.ineqlin.marginals[: 3 * size + len(part.splits) + rows]
    first, second, above = duals[:size], duals[size : 2 * size], duals[2 * size : 3 * size]
    a, g = first + second - above, first * kinks.least + second * kinks.most - above * kinks.chord
    slopes = np.clip(np.where(a > 0, g / np.where(a > 0, a, 1.0), kinks.least), kinks.least, kinks.most)
    strain = np.where(kinks.bent, np.abs(g - np.where(a > 0, slopes, kinks.chord) * a), 0.0)
    beta = np.maximum(duals[3 * size : len(duals) - rows], 0.0)
    g[np.abs(part.splits) - 1] -= np.sign(part.splits) * beta
    weights = np.maximum(duals[len(duals) - rows :], 0.0)
    pre, post = frame.neurons
    return Optimum(
        float(found.fun),
        weights / weights.sum(),
        np.clip(found.x[: frame.inputs], *part.inputs.range),
        g,
        slopes,
        beta,
        found.x[pre],
        found.x[post],
        strain,
    )
