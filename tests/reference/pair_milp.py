"""The largest difference of two piecewise linear networks over a box as a mixed-integer program, by HiGHS.

Both networks stand side by side, as they were read; nothing of the library's bounds or difference nodes is in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from admm_verify import Box, Network
from admm_verify.network.graph import Activation, Affine

_SPARE = 1e-2
"""By which ranges are wider than they need to be: HiGHS gives up on programs with tiny ones."""


@dataclass(eq=False)
class _Program:
    """Variables with their ranges and rows low <= A v <= high."""

    lower: list[np.ndarray] = field(default_factory=list)
    upper: list[np.ndarray] = field(default_factory=list)
    whole: list[np.ndarray] = field(default_factory=list)
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    ends: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def variables(self, lower: np.ndarray, upper: np.ndarray, whole: bool = False) -> np.ndarray:
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(np.full(len(lower), int(whole)))
        self.size += len(lower)
        return np.arange(self.size - len(lower), self.size)

    def add(self, terms: list[tuple[np.ndarray, np.ndarray]], low: np.ndarray, high: np.ndarray) -> None:
        """low <= sum of W v <= high; terms (variables, matrix, or one factor per row)."""
        for variables, factor in terms:
            if factor.ndim == 1:
                used = np.flatnonzero(factor)
                self.entries.append((factor[used], used + self.rows, variables[used]))
            else:
                i, j = np.nonzero(factor)
                self.entries.append((factor[i, j], i + self.rows, variables[j]))
        self.ends.append((low, high))
        self.rows += len(low)

    def maximise(self, objective: np.ndarray) -> np.ndarray:
        data, rows, columns = (np.concatenate(parts) for parts in zip(*self.entries, strict=True))
        matrix = coo_array((data, (rows, columns)), shape=(self.rows, self.size)).tocsc()
        # Older versions of HiGHS in scipy take no other whole numbers.
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
        low, high = (np.concatenate(parts) for parts in zip(*self.ends, strict=True))
        limits = LinearConstraint(matrix, low, high)
        ranges = Bounds(np.concatenate(self.lower), np.concatenate(self.upper))
        options = {"mip_rel_gap": 0.0, "time_limit": 60.0}
        whole = np.concatenate(self.whole)
        found = milp(-objective, constraints=limits, integrality=whole, bounds=ranges, options=options)
        assert found.status == 0, found.message
        return found.x


def most(network: Network, box: Box, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Inputs at which rows of outputs are largest, up to HiGHS's tolerances; of a network of relu, prelu and clip.

    Shapes: rows [k, outputs] -> k inputs [n].
    """
    program = _Program()
    values = [program.variables(np.asarray(box.lower), np.asarray(box.upper))]
    ends = [(np.asarray(box.lower), np.asarray(box.upper))]
    for node in network.nodes[1:]:
        if isinstance(node, Affine):
            made, end = _affine(program, node, values, ends)
        else:
            assert isinstance(node, Activation)
            made, end = _bent(program, node, values[node.source], ends[node.source])
        values.append(made)
        ends.append(end)
    for row in rows:
        objective = np.zeros(program.size)
        objective[values[-1]] = row
        yield program.maximise(objective)[values[0]]


def _affine(program: _Program, node: Affine, values: list, ends: list) -> tuple[np.ndarray, tuple]:
    low = high = np.asarray(node.bias)
    terms = []
    for term in node.terms:
        weight = np.asarray(term.map.dense().weight)
        below, above = ends[term.source]
        low = low + np.maximum(weight, 0) @ below + np.minimum(weight, 0) @ above
        high = high + np.maximum(weight, 0) @ above + np.minimum(weight, 0) @ below
        terms.append((values[term.source], weight))
    low, high = low - _SPARE, high + _SPARE
    made = program.variables(low, high)
    bias = np.asarray(node.bias)
    program.add([*terms, (made, -np.ones(len(bias)))], -bias, -bias)
    return made, (low, high)


def _bent(program: _Program, node: Activation, p: np.ndarray, ends: tuple) -> tuple[np.ndarray, tuple]:
    """Slopes are s p + (1 - s) relu(p), clips l + relu(p - l) - relu(p - h)."""
    one, zero = np.ones(node.size), np.zeros(node.size)
    bent, end = _rectified(program, p, ends, zero)
    if node.kind == "relu":
        return bent, end
    if node.kind == "prelu":
        slope = np.asarray(node.parameters[0])
        parts, bias = [(p, slope, ends), (bent, 1.0 - slope, end)], zero
    else:
        assert node.kind == "clip", node.kind
        low, high = (np.asarray(end) for end in node.parameters)
        sides = [_rectified(program, p, ends, kink) for kink in (low, high)]
        parts, bias = [(sides[0][0], one, sides[0][1]), (sides[1][0], -one, sides[1][1])], low
    least = bias + sum(np.minimum(factor * low, factor * high) for _, factor, (low, high) in parts) - _SPARE
    most_ = bias + sum(np.maximum(factor * low, factor * high) for _, factor, (low, high) in parts) + _SPARE
    made = program.variables(least, most_)
    program.add([*((values, factor) for values, factor, _ in parts), (made, -one)], -bias, -bias)
    return made, (least, most_)


def _rectified(program: _Program, p: np.ndarray, ends: tuple, kink: np.ndarray) -> tuple[np.ndarray, tuple]:
    """q = relu(p - kink) by one whole number each."""
    one, infinity = np.ones(len(p)), np.full(len(p), np.inf)
    low, high = np.minimum(ends[0] - kink, 0.0) - _SPARE, np.maximum(ends[1] - kink, 0.0) + _SPARE
    q, z = program.variables(np.zeros(len(p)), high), program.variables(0.0 * one, one, True)
    program.add([(q, one), (p, -one)], -kink, infinity)
    program.add([(q, one), (p, -one), (z, -low)], -infinity, -kink - low)
    program.add([(q, one), (z, -high)], -infinity, 0.0 * one)
    return q, (0.0 * one, high)
