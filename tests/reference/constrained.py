"""The relaxation with constraints, and the network itself, as programs for HiGHS."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from admm_verify import Problem
from admm_verify.arrays import Array
from admm_verify.programs.frame import Frame, sparse_map
from admm_verify.splitting.quadratic import Quadratic

_TOLERANCES = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Columns of a frame; below v <= least, the last rows constraints; ties of the frame; lower <= v <= upper."""

    frame: Frame
    cost: np.ndarray
    constant: float
    below: sparse.csr_array
    least: np.ndarray
    ends: np.ndarray
    constraints: int


def relaxation(problem: Problem, row: int) -> Relaxation:
    """One row of a problem of NumPy arrays over a box, with ReLUs only."""
    frame, bounds = Frame.of(problem.network), problem.bounds
    ends = np.stack([np.full(frame.width, -np.inf), np.full(frame.width, np.inf)])
    ends[:, : frame.inputs] = [_row(end, row) for end in problem.inputs.range]
    blocks, least = [], []
    for k, (pre, post) in enumerate(zip(frame.pre, frame.post, strict=True)):
        low, high = _row(bounds.lower[k], row), _row(bounds.upper[k], row)
        ends[:, pre], ends[:, post] = (low, high), (np.maximum(low, 0), np.maximum(high, 0))
        steep = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, high / np.where(high > low, high - low, 1.0)))
        floor = np.where(high <= 0, 0.0, 1.0)
        count, own = len(pre), np.arange(len(pre))
        for slope, sign, limit in ((floor, 1.0, 0.0 * low), (steep, -1.0, np.where(low >= 0, 0.0, -steep * low))):
            numbers = np.concatenate([sign * slope, np.full(count, -sign)])
            places = np.concatenate([own, own]), np.concatenate([pre, post])
            blocks.append(sparse.csr_array((numbers, places), shape=(count, frame.width)))
            least.append(limit)
    constraints = 0
    if problem.couplings is not None:
        constraints, values = problem.couplings.count, _values(problem, frame)
        left, limit = sparse.csr_array((constraints, frame.width)), -_row(problem.couplings.offset, row)
        for i, part in problem.couplings.parts.items():
            matrix, shift = values[i]
            left, limit = left + sparse.csr_array(_row(part, row)) @ matrix, limit - _row(part, row) @ shift
        blocks.append(left)
        least.append(limit)
    assert not isinstance(problem.objective, Quadratic), "linear objectives only"
    objective = np.asarray(problem.objective)[row]
    constant = float(objective @ frame.shift + problem.offset[row])
    return Relaxation(
        frame,
        frame.output.T @ objective,
        constant,
        sparse.csr_array(sparse.vstack(blocks)),
        np.concatenate(least),
        ends.T,
        constraints,
    )


def optimum(program: Relaxation) -> float:
    """The least value, infinite where nothing is feasible."""
    ties = program.frame.ties, program.frame.tied
    found = optimize.linprog(
        program.cost, program.below, program.least, *ties, program.ends, method="highs", options=_TOLERANCES
    )
    assert found.status in (0, 2), found.message
    return float(found.fun + program.constant) if found.status == 0 else np.inf


def infeasibility(program: Relaxation) -> float:
    """The least t such that all constraints hold up to t, over the relaxation without them."""
    rows, width = len(program.least), program.frame.width
    column = -(np.arange(rows) >= rows - program.constraints).astype(float)[:, None]
    below = sparse.hstack([program.below, sparse.csr_array(column)])
    ties = sparse.hstack([program.frame.ties, sparse.csr_array((len(program.frame.tied), 1))])
    cost, ends = np.zeros(width + 1), np.vstack([program.ends, [-np.inf, np.inf]])
    cost[-1] = 1.0
    found = optimize.linprog(
        cost, below, program.least, ties, program.frame.tied, ends, method="highs", options=_TOLERANCES
    )
    assert found.status == 0, found.message
    return float(found.fun)


def exact_minimum(program: Relaxation) -> float:
    """The least value of the network itself where the constraints hold: signs of unstable neurons are integers."""
    pre, post = program.frame.neurons
    low, high = program.ends[pre, 0], program.ends[pre, 1]
    open = np.flatnonzero((low < 0) & (high > 0))
    count, width = len(open), program.frame.width
    own, columns = np.arange(count), width + np.arange(count)

    def rows(*entries: tuple[np.ndarray, np.ndarray]) -> sparse.csr_array:
        numbers = np.concatenate([number for _, number in entries])
        places = np.tile(own, len(entries)), np.concatenate([column for column, _ in entries])
        return sparse.csr_array((numbers, places), shape=(count, width + count))

    # post <= high s, and post <= pre - low (1 - s).
    off = rows((post[open], np.ones(count)), (columns, -high[open]))
    on = rows((post[open], np.ones(count)), (pre[open], -np.ones(count)), (columns, -low[open]))
    padding = sparse.csr_array((len(program.least), count))
    below = sparse.vstack([sparse.hstack([program.below, padding]), off, on])
    least = np.concatenate([program.least, np.zeros(count), -low[open]])
    ties = sparse.hstack([program.frame.ties, sparse.csr_array((len(program.frame.tied), count))])
    ends = np.vstack([program.ends, np.tile([0.0, 1.0], (count, 1))])
    whole = np.concatenate([np.zeros(width), np.ones(count)])
    cost = np.concatenate([program.cost, np.zeros(count)])
    found = optimize.linprog(cost, below, least, ties, program.frame.tied, ends, method="highs", integrality=whole)
    assert found.status in (0, 2), found.message
    return float(found.fun + program.constant) if found.status == 0 else np.inf


def _row(array: Array, row: int) -> np.ndarray:
    return np.asarray(array)[row if array.shape[0] > 1 else 0]


def _values(problem: Problem, frame: Frame) -> list[tuple[sparse.csr_array, np.ndarray]]:
    """Every node's values as matrices of the columns, and shifts."""
    eye, network = sparse.csr_array(sparse.eye_array(frame.width)), problem.network
    values = [(eye[: frame.inputs], np.zeros(frame.inputs))]
    for _, affine, k in network.steps:
        if affine is None:
            values.append((eye[frame.post[k]], np.zeros(len(frame.post[k]))))
            continue
        parts = [(sparse_map(term.map), *values[term.source]) for term in affine.terms]
        matrix = sum((part @ own for part, own, _ in parts), sparse.csr_array((affine.size, frame.width)))
        values.append((matrix, sum((part @ shift for part, _, shift in parts), np.asarray(affine.bias))))
    return values
