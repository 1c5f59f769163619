"""The command `bound`: its options and its table."""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

import admm_verify as av
from admm_verify.arguments import decimal, seconds_left, whole
from admm_verify.bounds.arithmetic import output_reach
from admm_verify.bounds.preactivation import METHODS as BOUND_METHODS
from admm_verify.given import read_arrays
from admm_verify.options import timeout_seconds
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.report.text import solution_rows, table, write_json
from admm_verify.streams import tell


def add_bound_options(parser: argparse.ArgumentParser) -> None:
    """What `bound` takes beyond the options of all commands on queries."""
    parser.add_argument("--objective", metavar="FILE.npy", help="rows [rows, outputs] instead of the query's atoms")
    parser.add_argument("--tolerance", type=decimal, default=1e-4, help="relative gap at which a row is finished")
    parser.add_argument(
        "--max-passes", type=whole, metavar="N", help="budget per row; 0: none, the bound of --bounds alone"
    )
    parser.add_argument(
        "--bounds", choices=BOUND_METHODS, default="crown", help="pre-activation bounds; tightened ones take longer"
    )


def bound_query(
    options: argparse.Namespace, query: av.Query, device: str | None, memory: float | None, stop: Callable[[], bool]
) -> None:
    """Bound a query's rows; the table on stdout, progress on stderr."""
    left = timeout_seconds(seconds_left(options))
    deadline = None if left is None else time.monotonic() + left
    problem = _problem(
        query, options, memory, lambda: stop() or (deadline is not None and time.monotonic() >= deadline)
    )
    if deadline is not None:
        left = max(0.0, deadline - time.monotonic())
    terminal = not options.quiet and sys.stderr.isatty()

    def progress(passes: int, finished: int, rows: int) -> None:
        tell(f"\r{passes} passes, {finished} of {rows} rows finished")

    solution = av.solve(
        problem,
        options.method,
        options.tolerance,
        options.max_passes,
        left,
        device,
        progress=progress if terminal else None,
        settings=av.SolverSettings(memory=memory),
        stop=stop,
    )
    if terminal:
        tell("\n")
    rows = solution_rows(solution)
    cells = [
        [str(i), f"{row['lower']:.9g}", f"{row['relaxation_upper']:.9g}", f"{row['gap']:.3g}", row["status"]]
        for i, row in enumerate(rows)
    ]
    options.say(table(["row", "lower", "relaxation_upper", "gap", "status"], cells))
    if options.json:
        content = {
            "rows": rows,
            "method": options.method,
            "passes": int(solution.passes.max()),
            "seconds": solution.seconds,
            "network": query.network.name,
            "query": query.name,
        }
        write_json(options.json, content)


def _problem(
    query: av.Query, options: argparse.Namespace, memory: float | None, stop: Callable[[], bool]
) -> av.Problem:
    """The query's atoms, or the rows of a file over the query's only box, as a problem."""
    objective = options.objective
    if not query.property.disjuncts:
        raise av.QueryError(f"{query.name} has no disjunct left to bound: its constraints exclude each other.")
    rows = atom_rows(query.property)
    if objective is None:
        if not len(rows.box):
            raise av.QueryError(f"{query.name} has no output constraint to bound. Add one, or give --objective.")
        return _atoms(query, rows, options, memory, stop)
    if len(rows.boxes_lower) != 1:
        raise av.QueryError(f"{query.name} has {len(rows.boxes_lower)} input boxes; --objective needs exactly one.")
    matrix = read_arrays(objective, "objective file", ())
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiu":
        raise av.InputError(f"The objective file {objective} does not hold one array of numbers.")
    box = av.Box(rows.boxes_lower, rows.boxes_upper)
    pre = _bounded(query, box, options, memory, stop)
    return av.Problem(query.network, box, matrix.astype(np.float64), 0.0, pre)


def _atoms(
    query: av.Query, rows: AtomRows, options: argparse.Namespace, memory: float | None, stop: Callable[[], bool]
) -> av.Problem:
    """The query's atoms as a problem; rows that all live on one box share it."""
    box = av.Box(rows.boxes_lower, rows.boxes_upper)
    pre = _bounded(query, box, options, memory, stop)
    if rows.rounding.any():
        reach = output_reach(query.network, box.lower, box.upper, pre)
        if not np.isfinite(rows.charge(reach)).all():
            raise av.QueryError(
                f"{query.name} has coefficients that are no float64 numbers, over outputs without finite bounds. Use "
                "coefficients with fewer digits."
            )
        rows = rows.charged(reach)
    if len(rows.boxes_lower) > 1:
        box = av.Box(rows.boxes_lower[rows.box], rows.boxes_upper[rows.box])
        lower, upper = (tuple(end[rows.box] for end in ends) for ends in (pre.lower, pre.upper))
        pre = av.PreactivationBounds(lower, upper)
    return av.Problem(query.network, box, rows.objective, rows.offset, pre)


def _bounded(
    query: av.Query, box: av.Box, options: argparse.Namespace, memory: float | None, stop: Callable[[], bool]
) -> av.PreactivationBounds:
    terminal = not options.quiet and sys.stderr.isatty()

    def progress(done: int, activations: int) -> None:
        end = "\n" if done == activations else ""
        tell(f"\rpre-activation bounds of {done} of {activations} layers{end}")

    shown = progress if terminal else None
    return av.preactivation_bounds(query.network, box, options.bounds, memory, stop, shown)
