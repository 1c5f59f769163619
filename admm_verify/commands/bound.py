"""The command `bound`: its options and its table."""

import argparse
import time

import numpy as np

import admm_verify as av
from admm_verify.arguments import Read, decimal, whole
from admm_verify.bounds.arithmetic import output_reach
from admm_verify.bounds.preactivation import METHODS as BOUND_METHODS
from admm_verify.commands.queries import add_solved_query, asked_query
from admm_verify.commands.running import advise, running, write_record
from admm_verify.complete.emptiness import without_contradictions
from admm_verify.given import read_arrays
from admm_verify.properties.rows import AtomRows, atom_rows
from admm_verify.report.records.bound import BoundRecord
from admm_verify.run import Stopped
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.row_bounds import RowBounds
from admm_verify.splitting.solve import METHODS

HELP = "certified lower bounds, feasible values and gaps, row by row"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options of `bound`."""
    add_solved_query(parser, METHODS)
    parser.add_argument(
        "--objective", type=Read, metavar="FILE.npy", help="rows [rows, outputs] instead of the query's atoms"
    )
    parser.add_argument("--tolerance", type=decimal, default=1e-4, help="relative gap at which a row is finished")
    parser.add_argument(
        "--max-passes", type=whole, metavar="N", help="budget per row; 0: none, the bound of --bounds alone"
    )
    parser.add_argument(
        "--bounds", choices=BOUND_METHODS, default="crown", help="pre-activation bounds; tightened ones take longer"
    )


def run(options: argparse.Namespace) -> int:
    """Bound a query's rows; the table on stdout, how far it is on stderr."""
    settings = av.SolverSettings(tolerance=options.tolerance, max_passes=options.max_passes)
    with running(options, options.question()) as run, run.watching():
        query = asked_query(options, run)
        if query.several and options.objective is not None:
            raise av.QueryError(
                f"{query.name} is about {len(query.several)} networks, and rows of --objective are about outputs of "
                "one. Write them as constraints of the query, which may compare outputs of all."
            )
        query = query.about_outputs()
        solution = _solved(query, options, settings, run)
    record = BoundRecord.of(query, options.method, solution)
    options.say(record.text)
    advise(options, solution.status)
    if options.json:
        write_record(options, record)
    return 0


def _solved(query: av.Query, options: argparse.Namespace, settings: av.SolverSettings, run: av.Run) -> av.Solution:
    """Bounds of the query's atoms, or of the rows of a file over the query's only box."""
    began = time.monotonic()
    rows, matrix = _asked(query, options)
    box, count = rows.inputs, len(rows.box) if matrix is None else len(np.atleast_2d(matrix))
    try:
        pre = av.preactivation_bounds(query.network, box, options.bounds, run=run)
        if without_contradictions(query.network, box, pre, run)[1].any():
            raise av.QueryError(
                f"{query.name} has constraints between inputs that exclude each other, where any bound holds. Leave "
                "such alternatives out, or ask verify."
            )
        problem = _atoms(query, rows, box, pre) if matrix is None else av.Problem(query.network, box, matrix, 0.0, pre)
        return av.solve(problem, options.method, settings=settings, run=run)
    except Stopped:
        # The time was up while layers were bounded, without which nothing is known of the rows.
        owners = box if box.count == 1 else box.at(rows.box)
        return av.Solution.unknown(query.network, owners, count, av.Ended.TIMED_OUT, time.monotonic() - began)


def _asked(query: av.Query, options: argparse.Namespace) -> tuple[AtomRows, np.ndarray | None]:
    """The query's atoms, and the rows of a file where they are asked for instead."""
    objective = options.objective
    if not query.property.disjuncts:
        raise av.QueryError(f"{query.name} has no disjunct left to bound: its constraints exclude each other.")
    rows = atom_rows(query.property)
    if objective is None and not len(rows.box):
        raise av.QueryError(f"{query.name} has no output constraint to bound. Add one, or give --objective.")
    if objective is not None and rows.inputs.count != 1:
        raise av.QueryError(f"{query.name} has {rows.inputs.count} input boxes; --objective needs exactly one.")
    return rows, None if objective is None else _matrix(objective)


def _matrix(objective: str) -> np.ndarray:
    found = read_arrays(objective, "objective file", ())
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise av.InputError(f"The objective file {objective} does not hold one array of numbers.")
    return found.astype(np.float64)


def _atoms(query: av.Query, rows: AtomRows, box: WalkableSet, pre: av.PreactivationBounds) -> av.Problem:
    """The query's atoms as a problem; rows that all live on one box share it."""
    if rows.rounding.any():
        reach = output_reach(query.network, box, pre)
        if not np.isfinite(rows.charge(reach)).all():
            raise av.QueryError(
                f"{query.name} has coefficients that are no float64 numbers, over outputs without finite bounds. Use "
                "coefficients with fewer digits."
            )
        rows = rows.charged(reach)
    known = RowBounds(query.network, box, rows.objective, rows.offset, rows.box, pre)
    return known.problem(np.arange(len(rows.box)))
