"""The triangle relaxation and the network itself as linear and mixed-integer programs, solved by HiGHS."""

from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse

from admm_verify import Network
from admm_verify.network.graph import Activation, Affine


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimal value, the input that attains it, and the size of the numbers behind the value."""

    value: float
    x: np.ndarray
    scale: float


@dataclass(frozen=True, eq=False)
class Program:
    """min cost'v, row_lower <= matrix v <= row_upper, lower <= v <= upper."""

    cost: np.ndarray
    matrix: sparse.csr_matrix
    row_lower: np.ndarray
    row_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    binary: np.ndarray


def highs_optimum(
    network: Network,
    box: tuple[np.ndarray, np.ndarray],
    bounds: list[tuple[np.ndarray, np.ndarray]],
    objective: np.ndarray,
    offset: float,
    *,
    integer: bool = False,
) -> Optimum:
    """The minimum of objective f + offset over the triangle relaxation with the given pre-activation bounds.

    integer: over the box instead, up to HiGHS' tolerances and a limit on nodes.
    """
    # Every layer is measured in units of its own bounds, so that HiGHS' absolute tolerances fit any weight scale.
    units = [unit(np.abs(box).max())] + [unit(max(np.abs(low).max(), np.abs(high).max())) for low, high in bounds]
    sizes = [network.input_size] + [len(low) for low, _ in bounds]
    starts = np.concatenate([[0], np.cumsum([size * (1 + 2 * (k > 0)) for k, size in enumerate(sizes)])])
    post = [slice(starts[k], starts[k] + size) for k, size in enumerate(sizes)]
    pre = [None] + [slice(starts[k] + size, starts[k] + 2 * size) for k, size in enumerate(sizes) if k]
    sign = [None] + [slice(starts[k] + 2 * size, starts[k] + 3 * size) for k, size in enumerate(sizes) if k]
    number = {0: 0} | {node: k + 1 for k, node in enumerate(network.activations)}

    total = int(starts[-1])
    lower, upper, binary = np.zeros(total), np.ones(total), np.zeros(total, dtype=bool)
    lower[post[0]], upper[post[0]] = box[0] / units[0], box[1] / units[0]
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def image(node: Affine, scale: float) -> np.ndarray:
        matrix = np.zeros((node.size, total))
        for term in node.terms:
            source = number[term.source]
            matrix[:, post[source]] += term.map.dense().weight * (units[source] / scale)
        return matrix

    for k, (index, pair) in enumerate(zip(network.activations, bounds, strict=True), start=1):
        activation = network.nodes[index]
        assert isinstance(activation, Activation)
        node = network.nodes[activation.source]
        assert isinstance(node, Affine)
        low, high = pair[0] / units[k], pair[1] / units[k]
        lower[pre[k]], upper[pre[k]] = low, high
        lower[post[k]], upper[post[k]] = np.maximum(low, 0), np.maximum(high, 0)
        binary[sign[k]] = integer & (low < 0) & (high > 0)
        matrix, bias = image(node, units[k]), node.bias / units[k]
        matrix[:, pre[k]] -= np.eye(node.size)
        rows.append((matrix, -bias, -bias))
        rows += _relu_rows(total, pre[k], post[k], sign[k], low, high, integer)

    output = network.nodes[-1]
    assert isinstance(output, Affine)
    cost = objective @ image(output, 1.0)
    cost_unit = unit(np.abs(cost).max())
    stacked = [np.concatenate(part) for part in zip(*rows, strict=True)] if rows else [np.zeros((0, total)), [], []]
    matrix = sparse.csr_matrix(stacked[0])
    row_lower, row_upper = (np.asarray(part) for part in stacked[1:])
    solution = run(Program(cost / cost_unit, matrix, row_lower, row_upper, lower, upper, binary))
    value = float(cost @ solution + objective @ output.bias + offset)
    scale = float(np.abs(cost).sum() + np.abs(objective) @ np.abs(output.bias) + abs(offset))
    return Optimum(value, np.clip(solution[post[0]] * units[0], *box), scale)


def _relu_rows(total, pre, post, sign, low, high, integer: bool) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """post - pre >= 0 and the chord, or with binaries post <= high s and post <= pre - low (1 - s)."""
    size = len(low)
    unstable = (low < 0) & (high > 0)
    above = np.zeros((size, total))
    above[:, post] = np.eye(size)
    above[:, pre] = -np.eye(size)
    none = np.full(size, np.inf)
    rows = [(above, np.where(high <= 0, -none, 0.0), np.where(low >= 0, 0.0, none))]
    if not integer:
        slope = np.where(unstable, high / np.where(unstable, high - low, 1.0), 0.0)
        chord = np.zeros((size, total))
        chord[:, post] = np.eye(size)
        chord[:, pre] = -np.diag(slope)
        rows.append((chord, -none, np.where(unstable, -slope * low, none)))
        return rows
    off, on = np.zeros((size, total)), above.copy()
    off[:, post], off[:, sign] = np.eye(size), -np.diag(high)
    on[:, sign] = -np.diag(low)
    rows.append((off, -none, np.where(unstable, 0.0, none)))
    rows.append((on, -none, np.where(unstable, -low, none)))
    return rows


def run(program: Program) -> np.ndarray:
    """HiGHS' solution; of an integer program the best point it had at its limit on nodes."""
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(program.cost), len(program.row_lower)
    model.col_cost_, model.col_lower_, model.col_upper_ = program.cost, program.lower, program.upper
    model.row_lower_, model.row_upper_ = program.row_lower, program.row_upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = program.matrix.indptr
    model.a_matrix_.index_ = program.matrix.indices
    model.a_matrix_.value_ = program.matrix.data
    if program.binary.any():
        kinds = highspy.HighsVarType
        model.integrality_ = [kinds.kInteger if flag else kinds.kContinuous for flag in program.binary]
    solver = highspy.Highs()
    for option, value in _OPTIONS.items():
        solver.setOptionValue(option, value)
    solver.passModel(model)
    solver.run()
    solution = np.array(solver.getSolution().col_value)
    complete = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    assert len(solution) and (complete or program.binary.any()), solver.getModelStatus()
    return solution


_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "mip_rel_gap": 1e-6,
    "mip_max_nodes": 40,
}


def unit(size: float) -> float:
    """The power of two next to a size, 1 for zero."""
    return float(2.0 ** np.round(np.log2(size))) if size > 0 else 1.0
