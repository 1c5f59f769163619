"""`verify`: from a query to a verdict, by certified bounds at the root and confirmed counterexamples."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify.arrays import quiet_overflow, to_numpy
from admm_verify.bounds.arithmetic import check_arithmetic, lowered, output_error
from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.errors import InputError
from admm_verify.network.onnx_runtime import runtime_output
from admm_verify.properties.property import Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import AtomRows, atom_rows, inner_box
from admm_verify.sets import Box
from admm_verify.settings import SolverSettings
from admm_verify.splitting.loop import Clock
from admm_verify.splitting.problem import Problem
from admm_verify.splitting.solution import Solution, Status
from admm_verify.splitting.solve import solve
from admm_verify.verdict import Verdict

_STAGES: tuple[tuple[bool, int | None], ...] = ((False, 0), (False, 50), (True, 50), (True, None))
"""What is tried in turn, as (tightened bounds, budget of passes): the CROWN bound, a short ascent, a short ascent over
tightened pre-activation bounds, the method's default over those."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The answer to a query.

    counterexample and output: with SAT, the confirmed input and the network's output there, in the network's element
    type. rows_lower: certified lower bound of every output atom's value on its box, in file order (an atom can hold
    only where its value is <= 0). undecided: number of disjuncts left.

    Shapes: counterexample [*input_shape]; output [*output_shape]; rows_lower [rows].
    """

    verdict: Verdict
    counterexample: np.ndarray | None
    output: np.ndarray | None
    rows_lower: np.ndarray
    undecided: int
    seconds: float


def verify(
    query: Query,
    timeout: float | None = None,
    method: str = "auto",
    tolerance: float = 1e-4,
    device: str | None = None,
    arithmetic: str | None = None,
    progress: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    memory: float | None = None,
) -> Outcome:
    """UNSAT when certified bounds exclude every disjunct, SAT for a confirmed counterexample, else UNKNOWN.

    A counterexample is rounded into the box in the network's element type, replayed by onnxruntime where it is
    installed (else by our own forward pass in that type), and that output is checked against the query in exact
    arithmetic. SAT is thus about the network as computed, whatever the arithmetic; UNSAT about the arithmetic chosen.

    arithmetic: "real" bounds the network in real numbers; "float32" and "float64" add the rounding error of evaluating
    it in that type. None takes what the query declares. memory: limit on the working memory in bytes, by default half
    of what is free.

    Raises: InputError for an unknown option; UnsupportedQueryError.
    """
    began = time.monotonic()
    chosen = arithmetic or query.property.networks[0].inputs[0].element_type
    check_arithmetic(chosen)
    if timeout is not None and not timeout >= 0:
        raise InputError(f"The timeout {timeout} is negative or NaN; give seconds >= 0.")
    if not query.property.disjuncts:
        return Outcome(Verdict.UNSAT, None, None, np.zeros(0), 0, time.monotonic() - began)
    clock = Clock(None if timeout is None else began + timeout, stop)

    def bounded(done: int, activations: int) -> None:
        if progress is not None:
            progress(f"pre-activation bounds of {done} of {activations} layers")

    search = _Search(query, atom_rows(query.property), chosen, clock, memory, bounded)
    interrupted, settings = clock.interruption(), SolverSettings(memory=memory)
    witness = search.try_boxes_alone()
    for tightened, budget in _STAGES:
        rows = search.open_rows()
        if witness is not None or interrupted is not None or not len(rows):
            break
        if tightened:
            search.tighten(rows)
        left = None if clock.deadline is None else max(0.0, clock.deadline - time.monotonic())
        if progress is not None:
            progress(f"{len(search.open)} of {len(query.property.disjuncts)} disjuncts open, {len(rows)} rows")
        solution = solve(search.problem(rows), method, tolerance, budget, left, device, settings=settings, stop=stop)
        witness = search.record(rows, solution)
        interrupted = next((s for s in solution.status if s in (Status.TIMED_OUT, Status.STOPPED)), None)
    if witness is not None:
        return _outcome(search, Verdict.SAT, began, *witness)
    if not search.open:
        return _outcome(search, Verdict.UNSAT, began)
    return _outcome(search, Verdict.TIMED_OUT if interrupted is Status.TIMED_OUT else Verdict.UNKNOWN, began)


def _outcome(
    search: "_Search", verdict: Verdict, began: float, x: np.ndarray | None = None, y: np.ndarray | None = None
) -> Outcome:
    return Outcome(verdict, x, y, search.lower, len(search.open), time.monotonic() - began)


class _Search:
    """What is known so far: a certified bound per row, and the disjuncts not excluded yet."""

    def __init__(
        self,
        query: Query,
        rows: AtomRows,
        arithmetic: str,
        clock: Clock,
        memory: float | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self.query, self.rows = query, rows
        self.lower = np.full(len(rows.box), -np.inf)
        self.open = list(range(len(rows.disjuncts)))
        self.tightened = np.zeros(0, dtype=np.int64)
        self.clock, self.memory, self.progress = clock, memory, progress
        box = Box(rows.boxes_lower, rows.boxes_upper)
        self.bounds = self._bounded(box, "crown", None)
        error = output_error(query.network, box.lower, box.upper, self.bounds, arithmetic)[rows.box]
        # Where the network's own arithmetic can overflow, no bound in real numbers says anything about it.
        self.offset, self.sound = lowered(rows.objective, rows.offset, error)

    def tighten(self, numbers: np.ndarray) -> None:
        """Tighten the pre-activation bounds of the boxes of these rows, once."""
        boxes = np.setdiff1d(self.rows.box[numbers], self.tightened)
        if not len(boxes):
            return
        self.tightened = np.append(self.tightened, boxes)
        box = Box(self.rows.boxes_lower[boxes], self.rows.boxes_upper[boxes])
        found = self._bounded(box, "tightened", self._bounds_of(boxes))

        def merged(ends: tuple[np.ndarray, ...], better: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
            copies = tuple(end.copy() for end in ends)
            for end, part in zip(copies, better, strict=True):
                end[boxes] = part
            return copies

        self.bounds = PreactivationBounds(
            merged(self.bounds.lower, found.lower), merged(self.bounds.upper, found.upper)
        )

    def _bounded(self, box: Box, method: str, known: PreactivationBounds | None) -> PreactivationBounds:
        def over() -> bool:
            return self.clock.interruption() is not None

        return preactivation_bounds(self.query.network, box, method, self.memory, over, self.progress, known=known)

    def _bounds_of(self, boxes: np.ndarray) -> PreactivationBounds:
        return PreactivationBounds(
            tuple(low[boxes] for low in self.bounds.lower), tuple(high[boxes] for high in self.bounds.upper)
        )

    def open_rows(self) -> np.ndarray:
        """Numbers of the rows that belong to an open disjunct."""
        return np.array(sorted({row for i in self.open for row in self.rows.disjuncts[i]}), dtype=np.int64)

    def problem(self, numbers: np.ndarray) -> Problem:
        """The chosen rows as a problem; rows that all live on one box share it."""
        rows, boxes = self.rows, self.rows.box[numbers]
        pick = boxes[:1] if len(set(boxes.tolist())) == 1 else boxes
        box = Box(rows.boxes_lower[pick], rows.boxes_upper[pick])
        bounds = self._bounds_of(pick)
        return Problem(self.query.network, box, rows.objective[numbers], self.offset[numbers], bounds)

    def record(self, numbers: np.ndarray, solution: Solution) -> tuple[np.ndarray, np.ndarray] | None:
        """Keep the bounds, close the disjuncts they exclude, and try the primal inputs on the others."""
        found = np.where(self.sound[numbers], to_numpy(solution.lower), -np.inf)
        self.lower[numbers] = np.maximum(self.lower[numbers], found)
        excluded = np.where(self.rows.strict, self.lower >= 0, self.lower > 0)
        disjuncts = self.rows.disjuncts
        self.open = [i for i in self.open if not any(excluded[row] for row in disjuncts[i])]
        primal = to_numpy(solution.primal).reshape(len(numbers), -1)
        place = {int(row): k for k, row in enumerate(numbers)}
        for i in self.open:
            for x in primal[[place[row] for row in disjuncts[i]]]:
                witness = confirm(self.query, self.query.property.disjuncts[i], x)
                if witness is not None:
                    return witness
        return None

    def try_boxes_alone(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A witness of a disjunct without output atoms, which holds anywhere in its box."""
        for disjunct, rows in zip(self.query.property.disjuncts, self.rows.disjuncts, strict=True):
            if not rows:
                x = np.array([float(value) for value in disjunct.box.lower])
                witness = confirm(self.query, disjunct, x)
                if witness is not None:
                    return witness
        return None


def confirm(query: Query, disjunct: Disjunct, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A point near x that satisfies the disjunct when the network itself is run on it, with its output; else None.

    Shapes: x [inputs] -> [*input_shape], [*output_shape] in the network's element type.
    """
    network = query.network
    dtype = np.float64 if network.element_type == "float64" else np.float32
    lower, upper = inner_box(disjunct, dtype)
    with quiet_overflow():
        point = np.minimum(np.maximum(x.astype(dtype), lower), upper)
    if not np.isfinite(point).all():
        return None
    exact = [Fraction(float(value)) for value in point]
    if not disjunct.box.holds(exact):
        return None
    with quiet_overflow():
        own = to_numpy(network(point.reshape(network.input_shape))).reshape(-1)
    if not _holds(disjunct, own, exact):
        return None
    replayed = None if query.model is None else runtime_output(query.model, point)
    output = own if replayed is None else replayed
    if not _holds(disjunct, output, exact):
        return None
    return point.reshape(network.input_shape), output.reshape(network.output_shape)


def _holds(disjunct: Disjunct, output: np.ndarray, exact: list[Fraction]) -> bool:
    return bool(np.isfinite(output).all()) and disjunct.holds(exact, [Fraction(float(value)) for value in output])
