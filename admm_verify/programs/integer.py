"""The network itself as a mixed-integer program, over pre-activation bounds that serve as its big-M."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from admm_verify.errors import MissingPackageError
from admm_verify.programs.frame import Frame, coupled, matrix
from admm_verify.programs.kinks import Kinks
from admm_verify.run import Run
from admm_verify.sets.contract import InputSet
from admm_verify.streams import diverted

if TYPE_CHECKING:
    import highspy

_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 1e-9,
}


@dataclass(frozen=True, eq=False)
class Ranges:
    """An input set, a box or a polytope, with the lines of all neurons and the bounds of their inputs.

    Shapes: inputs [n]; pre_lower, pre_upper [sum n_k].
    """

    inputs: InputSet
    kinks: Kinks
    pre_lower: np.ndarray
    pre_upper: np.ndarray


@dataclass(frozen=True, eq=False)
class IntegerOptimum:
    """What HiGHS says of min over a box of max over the rows, in floating point and to its tolerances.

    bound: nothing is below; value, x: its best point, infinite and None where it has none. Equal, up to its tolerances,
    unless it was stopped.
    """

    bound: float
    value: float
    x: np.ndarray | None


def check_highs() -> None:
    """Raise MissingPackageError unless highspy is there."""
    try:
        import highspy  # noqa: F401
    except ImportError as error:
        raise MissingPackageError('Mixed-integer programs need highspy: pip install "admm-verify[milp]".') from error


def network_minimum(
    frame: Frame, ranges: Ranges, objective: np.ndarray, offset: np.ndarray, run: Run
) -> IntegerOptimum:
    """min t such that objective f + offset <= t for all rows, over the inputs of a box.

    A neuron that bends, phi(p) = max(least p, most p) with l < 0 < u, has a binary z:
    phi <= most p - (most - least) l (1 - z), phi <= least p + (most - least) u z.

    Shapes: objective [rows, outputs]; offset [rows].
    Raises: MissingPackageError without highspy.
    Reference: Tjeng, Xiao and Tedrake, Evaluating robustness of neural networks with mixed integer programming, ICLR
    2019.
    """
    check_highs()
    import highspy

    kinks = ranges.kinks
    numbers = (ranges.pre_lower, ranges.pre_upper, kinks.intercept, objective, offset)
    if not all(np.isfinite(array).all() for array in numbers):
        # Ranges that overflow are no big-M; HiGHS takes numbers only.
        return IntegerOptimum(-np.inf, np.inf, None)
    with diverted():
        # No option keeps HiGHS from printing its banner on stdout as it is made, which takes a millisecond.
        solver = highspy.Highs()
    for name, value in _OPTIONS.items():
        solver.setOptionValue(name, value)
    # Presolving asks no callback.
    solver.setOptionValue("time_limit", max(0.0, run.left))
    solver.passModel(_model(frame, ranges, objective, offset))
    solver.cbMipInterrupt.subscribe(lambda event: event.interrupt() if run.over() else None)
    solver.cbSimplexInterrupt.subscribe(lambda event: event.interrupt() if run.over() else None)
    solver.run()
    info = solver.getInfo()
    bound = float(info.mip_dual_bound)
    if not ranges.kinks.bent.any():
        # HiGHS reports no bound of a program without integers.
        solved = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
        bound = float(info.objective_function_value) if solved else -np.inf
    if info.primal_solution_status != int(highspy.SolutionStatus.kSolutionStatusFeasible):
        return IntegerOptimum(bound, np.inf, None)
    x = np.array(solver.getSolution().col_value[: frame.inputs])
    return IntegerOptimum(bound, float(info.objective_function_value), np.clip(x, *ranges.inputs.range))


def _model(frame: Frame, ranges: Ranges, objective: np.ndarray, offset: np.ndarray) -> "highspy.HighsLp":
    """Columns (frame's, a binary per bent neuron, t); rows that are at most their limits, then ties."""
    import highspy

    kinks, (pre, post) = ranges.kinks, frame.neurons
    bent = np.flatnonzero(kinks.bent)
    count, rows, first = len(bent), len(offset), len(kinks.limits)
    jump, width = (kinks.most - kinks.least)[bent], frame.width + len(bent) + 1
    low, high = jump * ranges.pre_lower[bent], jump * ranges.pre_upper[bent]
    above, below, binary = first + np.arange(count), first + count + np.arange(count), frame.width + np.arange(count)
    row, top = first + 2 * count + np.arange(rows), np.full(rows, width - 1)
    entries = [
        *kinks.entries(pre, post),
        (above, post[bent], np.ones(count)),
        (above, pre[bent], -kinks.most[bent]),
        (above, binary, -low),
        (below, post[bent], np.ones(count)),
        (below, pre[bent], -kinks.least[bent]),
        (below, binary, -high),
        frame.rows(objective, first + 2 * count),
        (row, top, -np.ones(rows)),
    ]
    limits = np.concatenate([kinks.limits, -low, np.zeros(count), -(objective @ frame.shift + offset)])
    couplings, most = coupled(ranges.inputs, len(limits))
    entries, limits = [*entries, *couplings], np.concatenate([limits, most])
    both = sparse.vstack([matrix(entries, len(limits), width), frame.widened_ties(width)])
    program, count = sparse.csr_array(both), len(limits) + len(frame.tied)
    ends = np.array([np.full(width, -np.inf), np.full(width, np.inf)])
    ends[:, : frame.inputs], ends[:, pre] = ranges.inputs.range, (ranges.pre_lower, ranges.pre_upper)
    ends[:, binary] = [[0.0], [1.0]]
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = width, count
    model.col_cost_ = np.eye(1, width, width - 1)[0]
    model.col_lower_, model.col_upper_ = ends
    model.row_lower_ = np.concatenate([np.full(len(limits), -np.inf), frame.tied])
    model.row_upper_ = np.concatenate([limits, frame.tied])
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = program.indptr.astype(np.int32)
    model.a_matrix_.index_ = program.indices.astype(np.int32)
    model.a_matrix_.value_ = program.data.astype(np.float64)
    kinds = np.zeros(width, dtype=bool)
    kinds[binary] = True
    model.integrality_ = [highspy.HighsVarType.kInteger if flag else highspy.HighsVarType.kContinuous for flag in kinds]
    return model
