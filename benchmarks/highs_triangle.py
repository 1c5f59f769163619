"""The rival: HiGHS on the triangle relaxation, written as a careful user would write it.

Stable neurons cost no variables of their own where that helps: inactive ones are dropped, active ones are linear. The
bounds l <= pre <= u need no rows: the triangle implies them on unstable neurons, the layers below on stable ones. One
model serves all rows of an instance; only its objective changes between them, so that simplex starts warm.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
import scipy.sparse

from admm_verify.network.graph import Network
from benchmarks.models import Model
from benchmarks.shares import timed
from problems.lp_instances import LpInstance

INFINITY = float("inf")
Part = tuple[np.ndarray, Any]
"""Column numbers and the coefficients of those columns in a block of constraints, a matrix or a sparse array."""


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A model being written: column bounds and blocks of constraints."""

    column_lower: list[np.ndarray] = field(default_factory=list)
    column_upper: list[np.ndarray] = field(default_factory=list)
    blocks: list[tuple[list[Part], np.ndarray, np.ndarray]] = field(default_factory=list)

    def columns(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Append columns; their numbers."""
        first = sum(len(part) for part in self.column_lower)
        self.column_lower.append(lower)
        self.column_upper.append(upper)
        return np.arange(first, first + len(lower))

    def rows(self, parts: list[Part], lower: np.ndarray, upper: np.ndarray) -> None:
        """Append constraints lower <= sum of the parts <= upper."""
        self.blocks.append((parts, lower, upper))

    def triangle(self, pre: Part, constant: np.ndarray, post: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """relu(p) <= post <= chord(p) for p = pre + constant; post >= 0 is a bound of its column."""
        slope, count = high / (high - low), len(low)
        columns, coefficients = pre
        scaled = scipy.sparse.diags_array(slope) @ scipy.sparse.csr_array(coefficients)
        self.rows([(post, scipy.sparse.eye_array(count)), (columns, -coefficients)], constant, np.full(count, INFINITY))
        self.rows(
            [(post, scipy.sparse.eye_array(count)), (columns, -scaled)],
            np.full(count, -INFINITY),
            slope * (constant - low),
        )

    def model(self, last: np.ndarray, costs: np.ndarray, offsets: np.ndarray) -> Model:
        """The finished model, whose objective reads the columns `last`."""
        numbers, columns, values, first = [], [], [], 0
        for parts, lower, _ in self.blocks:
            for index, coefficients in parts:
                entries = scipy.sparse.coo_array(coefficients)
                numbers.append(entries.coords[0] + first)
                columns.append(index[entries.coords[1]])
                values.append(entries.data)
            first += len(lower)
        column_lower, column_upper = np.concatenate(self.column_lower), np.concatenate(self.column_upper)
        places = (np.concatenate(numbers), np.concatenate(columns))
        spread = np.zeros((len(costs), len(column_lower)))
        spread[:, last] = costs
        return Model(
            scipy.sparse.csr_array((np.concatenate(values), places), shape=(first, len(column_lower))),
            column_lower,
            column_upper,
            np.concatenate([block[1] for block in self.blocks]),
            np.concatenate([block[2] for block in self.blocks]),
            spread,
            offsets,
        )


def layered(instance: LpInstance) -> Model:
    """Columns: x, pre and post of unstable neurons, the value of active ones; one sparse equality per neuron."""
    sheet, layers = _Sheet(), _layers(instance.network)
    source = sheet.columns(instance.lower.ravel(), instance.upper.ravel())
    alive = np.arange(len(source))
    for (weight, bias), (low, high) in zip(layers[:-1], instance.preactivation, strict=True):
        active, unstable = np.flatnonzero(low >= 0), np.flatnonzero((low < 0) & (high > 0))
        free = np.full(len(active), INFINITY)
        linear = sheet.columns(-free, free)
        pre = sheet.columns(low[unstable], high[unstable])
        post = sheet.columns(np.zeros(len(unstable)), high[unstable])
        kept = np.concatenate([active, unstable])
        values = np.concatenate([linear, pre])
        parts = [(values, scipy.sparse.eye_array(len(kept))), (source, -weight[np.ix_(kept, alive)])]
        sheet.rows(parts, bias[kept], bias[kept])
        identity = scipy.sparse.eye_array(len(unstable))
        sheet.triangle((pre, identity), np.zeros(len(unstable)), post, low[unstable], high[unstable])
        source, alive = np.concatenate([linear, post]), kept
    weight, bias = layers[-1]
    return sheet.model(source, instance.objective @ weight[:, alive], instance.objective @ bias)


def eliminated(instance: LpInstance, keep_pre: bool) -> Model:
    """Columns: x and post of unstable neurons (and pre where keep_pre); active neurons are substituted.

    Without pre columns the two lines of a triangle each hold a dense row; with them one dense equality serves both.
    """
    sheet, layers = _Sheet(), _layers(instance.network)
    known = sheet.columns(instance.lower.ravel(), instance.upper.ravel())
    matrix, constant = np.eye(len(known)), np.zeros(len(known))
    for (weight, bias), (low, high) in zip(layers[:-1], instance.preactivation, strict=True):
        active, unstable = low >= 0, np.flatnonzero((low < 0) & (high > 0))
        value, shift = weight @ matrix, weight @ constant + bias
        ends = low[unstable], high[unstable]
        inner: Part = (known, value[unstable])
        base = shift[unstable]
        if keep_pre:
            pre, identity = sheet.columns(*ends), scipy.sparse.eye_array(len(unstable))
            sheet.rows([(pre, identity), (known, -value[unstable])], base, base)
            inner, base = (pre, identity), np.zeros(len(unstable))
        post = sheet.columns(np.zeros(len(unstable)), high[unstable])
        sheet.triangle(inner, base, post, *ends)
        matrix = np.zeros((len(low), len(known) + len(unstable)))
        matrix[active, : len(known)] = value[active]
        matrix[unstable, len(known) + np.arange(len(unstable))] = 1.0
        constant, known = np.where(active, shift, 0.0), np.concatenate([known, post])
    weight, bias = layers[-1]
    product = instance.objective @ weight
    return sheet.model(known, product @ matrix, product @ constant + instance.objective @ bias)


FORMULATIONS: dict[str, Callable[[LpInstance], Model]] = {
    "layered": layered,
    "eliminated": lambda instance: eliminated(instance, keep_pre=False),
    "eliminated, pre kept": lambda instance: eliminated(instance, keep_pre=True),
}
ALGORITHMS = ("simplex", "ipm")
"""Dual simplex, warm from row to row, and interior point with crossover; HiGHS's primal simplex and PDLP were slower
on every instance tried, and interior point without crossover too."""

TRIAL_ROWS = (1, 2, 3, 4)
"""Rows after the first on which the ways are compared."""


class Highs:
    """HiGHS on one thread with a model loaded; rows differ in the objective only."""

    def __init__(self, model: Model, algorithm: str) -> None:
        self.model = model
        self.solver = highspy.Highs()
        for name, value in (("output_flag", False), ("threads", 1), ("solver", algorithm)):
            self.solver.setOptionValue(name, value)
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = model.matrix.shape
        program.col_cost_ = model.costs[0]
        program.col_lower_, program.col_upper_ = model.column_lower, model.column_upper
        program.row_lower_, program.row_upper_ = model.row_lower, model.row_upper
        program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_ = model.matrix.indptr
        program.a_matrix_.index_ = model.matrix.indices
        program.a_matrix_.value_ = model.matrix.data
        self.solver.passModel(program)

    def minimise(self, row: int) -> float:
        """The optimum of one row."""
        count = len(self.model.column_lower)
        self.solver.changeColsCost(count, np.arange(count, dtype=np.int32), self.model.costs[row])
        self.solver.run()
        status = self.solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS ended row {row} with {status} instead of an optimum.")
        return self.solver.getInfo().objective_function_value + self.model.offsets[row]


@dataclass(frozen=True)
class Choice:
    """How HiGHS solves an instance fastest, and the seconds of every way tried."""

    formulation: str
    algorithm: str
    trials: dict[str, float]


def fastest(instance: LpInstance) -> Choice:
    """Every formulation and algorithm on the first rows of an instance, extrapolated to all rows."""
    seconds: dict[tuple[str, str], float] = {}
    for formulation, write in FORMULATIONS.items():
        model = write(instance)
        for algorithm in ALGORITHMS:
            solver, loading = timed(lambda model=model, algorithm=algorithm: Highs(model, algorithm), runs=1)
            _, first = timed(lambda solver=solver: solver.minimise(0), runs=1)
            _, later = timed(lambda solver=solver: [solver.minimise(row) for row in TRIAL_ROWS], runs=1)
            share = (len(instance.objective) - 1) / len(TRIAL_ROWS)
            seconds[formulation, algorithm] = loading + first + share * later
    formulation, algorithm = min(seconds, key=lambda key: seconds[key])
    return Choice(formulation, algorithm, {f"{key[1]}, {key[0]}": value for key, value in seconds.items()})


def optima(instance: LpInstance, choice: Choice) -> tuple[np.ndarray, float]:
    """Optimum per row and CPU seconds for all rows, loading the model included and writing it left out."""
    model = FORMULATIONS[choice.formulation](instance)

    def batch() -> np.ndarray:
        solver = Highs(model, choice.algorithm)
        return np.array([solver.minimise(row) for row in range(len(instance.objective))])

    return timed(batch)


def _layers(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    affine = list(network.affine.values())
    return [(node.terms[0].map.dense().weight, node.bias) for node in affine]
