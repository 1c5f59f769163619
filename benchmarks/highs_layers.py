"""HiGHS on the triangle relaxation of networks with convolutions and residual sums, without a dense matrix.

Every node's value is a sparse affine expression of the program's columns: the input, and pre and post of the unstable
neurons. Inactive neurons are zero; active ones are substituted or, like the unstable ones, columns of their own with
one equality each, which keeps rows as short as a convolution's window.
"""

from dataclasses import dataclass, field
from math import prod

import highspy
import numpy as np
import scipy.sparse

import admm_verify as av
from admm_verify.network.convolution import ConvolutionMap
from admm_verify.network.graph import Activation, Affine
from admm_verify.network.maps import DiagonalMap, LinearMap
from admm_verify.network.selection import SelectionMap
from benchmarks.highs_triangle import Highs
from benchmarks.models import Model
from benchmarks.shares import timed

INFINITY = float("inf")
FEASIBILITY = 1e-9
"""HiGHS's tolerances on constraints and reduced costs, tighter than its default of 1e-7."""

FORMULATIONS = ("layered", "eliminated")
ALGORITHMS = ("ipm", "simplex")
"""Interior point with crossover, and dual simplex, warm from row to row."""


@dataclass(frozen=True, eq=False)
class Expression:
    """The vector matrix y + constant of columns y; columns beyond the matrix do not enter.

    Shapes: matrix [n, columns]; constant [n].
    """

    matrix: scipy.sparse.csr_array
    constant: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Expression":
        """The chosen entries."""
        return Expression(self.matrix[chosen], self.constant[chosen])


@dataclass(eq=False)
class Program:
    """A program being written: column bounds, and blocks of constraints matrix y between lower and upper."""

    column_lower: list[np.ndarray] = field(default_factory=list)
    column_upper: list[np.ndarray] = field(default_factory=list)
    blocks: list[tuple[scipy.sparse.csr_array, np.ndarray, np.ndarray]] = field(default_factory=list)
    width: int = 0

    def columns(self, lower: np.ndarray, upper: np.ndarray) -> scipy.sparse.csr_array:
        """Append columns; the matrix that picks them."""
        first, self.width = self.width, self.width + len(lower)
        self.column_lower.append(lower)
        self.column_upper.append(upper)
        return scipy.sparse.eye_array(len(lower), self.width, k=first, format="csr")

    def widened(self, matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
        """The same matrix over all columns so far."""
        data = (matrix.data, matrix.indices, matrix.indptr)
        return scipy.sparse.csr_array(data, shape=(matrix.shape[0], self.width))

    def at_most(self, left: Expression, right: Expression) -> None:
        """Append left <= right."""
        difference = self.widened(left.matrix) - self.widened(right.matrix)
        self.blocks.append((difference, np.full(len(left.constant), -INFINITY), right.constant - left.constant))

    def equal(self, left: Expression, right: Expression) -> None:
        """Append left = right."""
        difference = self.widened(left.matrix) - self.widened(right.matrix)
        self.blocks.append((difference, right.constant - left.constant, right.constant - left.constant))

    def model(self, objective: Expression) -> Model:
        """The finished model; every entry of the objective is a row to minimise."""
        matrices, lower, upper = zip(*self.blocks, strict=True)
        return Model(
            scipy.sparse.vstack([self.widened(matrix) for matrix in matrices], format="csr"),
            np.concatenate(self.column_lower),
            np.concatenate(self.column_upper),
            np.concatenate(lower),
            np.concatenate(upper),
            self.widened(objective.matrix).toarray(),
            objective.constant,
        )


def model_of(problem: av.Problem, formulation: str) -> Model:
    """The triangle relaxation of a problem whose rows share box and pre-activation bounds, ReLU networks only."""
    program, network, bounds = Program(), problem.network, problem.preactivation
    ends = iter(zip(bounds.lower, bounds.upper, strict=True))
    box = program.columns(*(np.asarray(end[0]) for end in problem.inputs.range))
    values = [Expression(box, np.zeros(network.input_size))]
    for node in network.nodes[1:]:
        if isinstance(node, Affine):
            parts = [sparse(term.map) @ program.widened(values[term.source].matrix) for term in node.terms]
            shifts = [term.map.apply(values[term.source].constant) for term in node.terms]
            matrix = scipy.sparse.csr_array(sum(parts[1:], parts[0]))
            values.append(Expression(matrix, sum(shifts, np.asarray(node.bias))))
            continue
        if not isinstance(node, Activation) or node.kind != "relu":
            raise ValueError(f"{network.name} has activations other than ReLU.")
        low, high = (np.asarray(end[0]) for end in next(ends))
        values.append(_relaxed(program, values[node.source], low, high, formulation == "eliminated"))
    last = values[-1]
    objective = scipy.sparse.csr_array(problem.objective)
    shift = problem.objective @ last.constant + np.asarray(problem.offset)
    return program.model(Expression(scipy.sparse.csr_array(objective @ last.matrix), shift))


def _relaxed(program: Program, pre: Expression, low: np.ndarray, high: np.ndarray, substitute: bool) -> Expression:
    """The outputs of a layer of ReLUs; relu(p) <= post <= chord(p) is appended for the unstable ones."""
    unstable, active = np.flatnonzero((low < 0) & (high > 0)), np.flatnonzero(low >= 0)
    kept, zero = np.concatenate([unstable, active]), np.zeros(len(unstable))
    low, high = low[unstable], high[unstable]
    own = Expression(program.columns(low, high), zero)
    program.equal(own, pre.rows(unstable))
    post = Expression(program.columns(zero, high), zero)
    program.at_most(own, post)
    slope = high / (high - low)
    program.at_most(post, Expression(scipy.sparse.diags_array(slope) @ own.matrix, -slope * low))
    linear = pre.rows(active)
    if not substitute:
        free = np.full(len(active), INFINITY)
        columns = Expression(program.columns(-free, free), np.zeros(len(active)))
        program.equal(columns, linear)
        linear = columns
    stacked = scipy.sparse.vstack([program.widened(post.matrix), program.widened(linear.matrix)])
    spread = scipy.sparse.csr_array((np.ones(len(kept)), (kept, np.arange(len(kept)))), (len(pre.constant), len(kept)))
    return Expression(
        scipy.sparse.csr_array(spread @ stacked), spread @ np.concatenate([post.constant, linear.constant])
    )


def sparse(map: LinearMap) -> scipy.sparse.csr_array:
    """A linear map as a sparse matrix."""
    if isinstance(map, ConvolutionMap):
        return _convolution(map)
    if isinstance(map, SelectionMap):
        gather = np.asarray(map.gather)
        used = np.flatnonzero(gather < map.columns)
        return scipy.sparse.csr_array((np.ones(len(used)), (used, gather[used])), shape=(map.rows, map.columns))
    if isinstance(map, DiagonalMap):
        return scipy.sparse.csr_array(scipy.sparse.diags_array(np.asarray(map.scale)))
    return scipy.sparse.csr_array(map.dense().weight)


def _convolution(map: ConvolutionMap) -> scipy.sparse.csr_array:
    """One entry per output, kernel entry and channel of its group, those in the padding left out."""
    weight = np.asarray(map.weight)
    outputs, depth, kernel_height, kernel_width = weight.shape
    # Axes: output channel, channel of its group, kernel row and column, output row and column.
    o, c, u, v, i, j = np.ogrid[tuple(slice(size) for size in (*weight.shape, *map.output_shape[1:]))]
    channels, height, width = map.input_shape
    row = map.stride[0] * i + map.dilation[0] * u - map.padding[0]
    column = map.stride[1] * j + map.dilation[1] * v - map.padding[1]
    channel = o // (outputs // map.groups) * depth + c
    source = (channel * height + row) * width + column
    target = (o * map.output_shape[1] + i) * map.output_shape[2] + j
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    shape = (outputs, depth, kernel_height, kernel_width, *map.output_shape[1:])
    seen = np.broadcast_to(inside, shape)
    numbers = np.broadcast_to(weight[..., None, None], shape)[seen]
    places = np.broadcast_to(target, shape)[seen], np.broadcast_to(source, shape)[seen]
    return scipy.sparse.csr_array((numbers, places), shape=(prod(map.output_shape), channels * height * width))


@dataclass(frozen=True, eq=False)
class Optima:
    """What HiGHS found: optimum per row, NaN where the time was up, with CPU seconds.

    error: largest relative difference of HiGHS's primal and dual objectives over the rows.
    """

    values: np.ndarray
    seconds: np.ndarray
    error: float
    columns: int
    constraints: int
    entries: int


def optima(problem: av.Problem, formulation: str, algorithm: str, time_limit: float) -> Optima:
    """The exact optimum of every row, each within a limit in seconds."""
    model = model_of(problem, formulation)
    highs = Highs(model, algorithm)
    for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "ipm_optimality_tolerance"):
        highs.solver.setOptionValue(name, FEASIBILITY)
    values, seconds, error = [], [], 0.0
    for row in range(problem.rows):
        # HiGHS's clock counts all runs of one solver.
        highs.solver.setOptionValue("time_limit", highs.solver.getRunTime() + time_limit)
        value, spent = timed(lambda row=row: _optimum(highs, row), runs=1)
        values.append(value)
        seconds.append(spent)
        if np.isfinite(value):
            error = max(error, highs.solver.getInfo().primal_dual_objective_error)
    constraints, columns = model.matrix.shape
    return Optima(np.array(values), np.array(seconds), error, columns, constraints, model.matrix.nnz)


def _optimum(highs: Highs, row: int) -> float:
    try:
        return highs.minimise(row)
    except RuntimeError:
        if highs.solver.getModelStatus() != highspy.HighsModelStatus.kTimeLimit:
            raise
        return np.nan
