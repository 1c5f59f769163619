"""The problem: rows of min c'f(x) + d over input sets, relaxed with given pre-activation bounds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, take_rows
from admm_verify.backends.choice import kernels_for
from admm_verify.backends.compiled import CompiledVerbs
from admm_verify.bounds.climb import Lined
from admm_verify.bounds.couplings import Couplings
from admm_verify.bounds.cuts import CutBounds
from admm_verify.bounds.preactivation import fitting, input_rows, preactivation_bounds
from admm_verify.bounds.ranges import Origin, PreactivationBounds
from admm_verify.bounds.region import Region, build_region
from admm_verify.bounds.relaxed import Twin
from admm_verify.bounds.sharing import Sharing
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.memory import memory_errors
from admm_verify.network.graph import Network
from admm_verify.network.placed import moved
from admm_verify.relaxations.contract import Hull
from admm_verify.relaxations.lines import KinkLines, Lines
from admm_verify.relaxations.registry import network_lines, relaxations_of
from admm_verify.reprs import short_repr
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.splitting.constraint import Constraint, checked_constraints, couplings_of
from admm_verify.splitting.held import Held, rows_of
from admm_verify.splitting.quadratic import Quadratic, Squares, output_of
from admm_verify.splitting.solution import Solution


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """Rows of a specification: minimise objective f(x) + offset over the inputs, a set of them, one row each, where all
    constraints hold. The objective may be a `Quadratic`, whose square is minimised.

    preactivation: bounds that hold over the inputs, by default CROWN's. Own ones are believed, as `PreactivationBounds`
    says: a bound of the problem is no better than they are; where they are tighter than what the layers below imply,
    as signs of neurons that a branch fixes are, they count as constraints too. constraints: one or several, on any
    node's values, which are relaxed with the network; the least value over nothing is +inf. start: an earlier Solution
    or its multipliers, those of constraints last, from which the iterations start; any give bounds. All arrays are
    copied, without gradients, and stay as they are: another problem is made by `dataclasses.replace`, which checks
    everything again.

    Shapes: inputs [*input_shape] or [1 or rows, *input_shape], held as [1 or rows, n]; objective [rows, outputs] or
    [outputs]; offset a number or [rows]; preactivation shared by all rows or one per row.
    Raises: InputError for what is no network, set or array of real numbers, shapes that do not fit, NaN or infinite
    coefficients, and pre-activation bounds that are empty, NaN, made for a set that does not hold this one, or
    contradict interval arithmetic.
    """

    network: Network
    inputs: WalkableSet
    objective: Array | Quadratic
    offset: Array
    preactivation: PreactivationBounds
    start: tuple[Array, ...] | None
    constraints: tuple[Constraint, ...]

    __repr__ = short_repr

    @memory_errors()
    def __init__(
        self,
        network: Network,
        inputs: WalkableSet,
        objective: Array | Quadratic,
        offset: Array | float = 0.0,
        preactivation: PreactivationBounds | None = None,
        start: Sequence[Array] | Solution | None = None,
        constraints: Constraint | Sequence[Constraint] = (),
    ) -> None:
        inputs = input_rows(network, inputs)
        placement = inputs.placement
        xp = placement.xp
        network.check_finite()
        if isinstance(objective, Quadratic):
            wanted_objective = objective.checked(network, placement)
            rows, coefficients = wanted_objective.rows, wanted_objective.numbers
        else:
            wanted_objective = _as_rows(float64_array(objective, "objective", placement), network)
            rows, coefficients = wanted_objective.shape[0], (wanted_objective,)
        given = float64_array(offset, "offset", placement)
        if given.shape not in ((), (1,), (rows,)):
            raise InputError(f"The offset has shape {tuple(given.shape)}; give a number or one per row, [{rows}].")
        constants = xp.broadcast_to(given, (rows,))
        for name, array in (*(("objective", array) for array in coefficients), ("offset", constants)):
            if not bool(xp.all(xp.isfinite(array))):
                raise InputError(f"The {name} holds NaN or infinite numbers; give finite ones.")
        known = (
            preactivation_bounds(network, inputs) if preactivation is None else fitting(preactivation, network, inputs)
        )
        counts = {"set of inputs": inputs.count}
        counts |= {f"bounds of activation {k}": low.shape[0] for k, low in enumerate(known.lower)}
        for name, count in counts.items():
            if count not in (1, rows):
                raise InputError(f"The {name} has {count} rows and the objective {rows}; give 1 or {rows}.")
        if known.origin is None:
            known = replace(known, origin=Origin(network, inputs, implied=False))
        limits = checked_constraints(constraints, network, rows, placement)
        count = sum(one.offset.shape[1] for one in limits)
        wanted = [(rows, low.shape[1]) for low in known.lower] + ([(rows, count)] if count else [])
        if isinstance(wanted_objective, Quadratic):
            wanted.append((rows, wanted_objective.target.shape[1]))
            if count:
                raise InputError(
                    "A quadratic objective takes no constraints. For the input nearest to a point among those that "
                    "fulfil a condition there is av.closest_counterexample(query, x)."
                )
        first = None if start is None else _multipliers(start, wanted, placement)
        self._fill(network, inputs, wanted_objective, constants, known, first, limits)
        stated = [array for one in limits for array in (one.offset, *one.coefficients.values())]
        for array in (*coefficients, *inputs.numbers, *known.lower, *known.upper, *(first or ()), *stated):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    def _fill(self, *values: object) -> None:
        """Set all fields, in order, once."""
        for part, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, part.name, value)

    @property
    def rows(self) -> int:
        """Number of minimisation problems in the batch."""
        return self.offset.shape[0]

    @cached_property
    def measured(self) -> Network:
        """The network whose outputs the objective takes: its own, or what a quadratic objective squares."""
        objective = self.objective
        return objective.measured(self.network) if isinstance(objective, Quadratic) else self.network

    @cached_property
    def couplings(self) -> Couplings | None:
        """All constraints as one batch, [1 or rows, m]; None for none."""
        return couplings_of(self.constraints, self.network)

    @cached_property
    def bounds(self) -> CutBounds:
        """The pre-activation bounds, cut with constraints on single neurons, and where they are constraints."""
        return CutBounds.of(self.network, self.inputs, self.preactivation, self.couplings)

    @cached_property
    def sharing(self) -> Sharing | None:
        """Which neighbouring rows have one box and the same bounds; None where none do, or something has to hold."""
        cut = any(cut is not None for cut in self.bounds.cut)
        if not isinstance(self.inputs, Box) or isinstance(self.objective, Quadratic) or self.constraints or cut:
            return None
        return Sharing.of((*self.inputs.numbers, *self.bounds.lower, *self.bounds.upper), self.rows)

    def block(self, first: int, last: int) -> "Problem":
        """Rows first..last as a problem of their own, which is kept; what the rows share stays shared."""
        if first == 0 and last == self.rows:
            return self

        def cut(array: Array) -> Array:
            return array if array.shape[0] == 1 else array[first:last]

        low, high = (tuple(map(cut, side)) for side in (self.preactivation.lower, self.preactivation.upper))
        part = object.__new__(Problem)
        part._fill(
            self.network,
            self.inputs.part(first, last),
            self.objective.part(first, last) if isinstance(self.objective, Quadratic) else self.objective[first:last],
            self.offset[first:last],
            PreactivationBounds(low, high, origin=self._origin(first, last)),
            None if self.start is None else tuple(g[first:last] for g in self.start),
            tuple(one.part(first, last) for one in self.constraints),
        )
        return self._blocks.setdefault((first, last), part)

    @cached_property
    def _blocks(self) -> dict[tuple[int, int], "Problem"]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_blocks"}

    def _origin(self, first: int, last: int) -> Origin:
        return Origin(self.network, self.inputs.part(first, last), self.preactivation.implied)


def _as_rows(objective: Array, network: Network) -> Array:
    size = network.output_size
    if len(objective.shape) not in (1, 2) or objective.shape[-1] != size or 0 in objective.shape:
        raise InputError(
            f"The objective has shape {tuple(objective.shape)}; {network.name} has {size} outputs, so give "
            f"[rows, {size}] or [{size}]."
        )
    return namespace(objective).reshape(objective, (-1, size))


def _multipliers(
    start: Sequence[Array] | Solution, wanted: list[tuple[int, int]], home: Placement
) -> tuple[Array, ...]:
    """Multipliers that were handed in, copied to where the inputs live; any finite ones give a valid bound."""
    if isinstance(start, Solution):
        coupled = [start.constraint_multipliers] if start.constraint_multipliers.shape[1] else []
        start = (*start.multipliers, *coupled, *([] if start.residual is None else [start.residual]))
    if not isinstance(start, list | tuple):
        raise InputError(
            f"The start is a {type(start).__name__}; give the multipliers of a Solution, a tuple of arrays."
        )
    found = [float64_array(g, f"start of activation {k}", home) for k, g in enumerate(start)]
    given = [tuple(g.shape) for g in found]
    if given != wanted:
        raise InputError(
            f"The start has arrays of shapes {given}; give the multipliers of a Solution of these rows, {wanted}."
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows still being solved, in the precision and on the device of the iteration.

    squares: of a quadratic objective, which objective and offset are then a plane below of; None for a linear one.
    couplings: constraints, None for none; cut[k]: where ends of layer k are constraints, None for nowhere.
    held: input sets, bounds and lines, once for rows that share them; without constraints alone.
    Shapes: objective [rows, outputs]; offset [rows]; all others [rows, n] or [1, n] where rows share them.
    """

    network: Network
    objective: Array
    offset: Array
    held: Held
    relaxations: tuple[Hull, ...]
    cut: tuple[Array | None, ...]
    couplings: Couplings | None
    squares: Squares | None = None
    aims: bool = True

    @cached_property
    def xp(self) -> Any:
        """The array namespace, looked up once: the look-up would cost as much as a small product."""
        return namespace(self.objective)

    @property
    def inputs(self) -> WalkableSet:
        """Every row's input set."""
        return self._own[0]

    @property
    def lower(self) -> tuple[Array, ...]:
        """Lower ends of every row."""
        return self._own[1]

    @property
    def upper(self) -> tuple[Array, ...]:
        """Upper ends of every row."""
        return self._own[2]

    @property
    def lines(self) -> tuple[Lines, ...]:
        """Every row's lines."""
        return self._lines

    @cached_property
    def _own(self) -> tuple[WalkableSet, tuple[Array, ...], tuple[Array, ...]]:
        held, owner = self.held, self.held.owner
        inputs = held.inputs if owner is None else held.inputs.take(owner)
        return inputs, rows_of(held.lower, owner), rows_of(held.upper, owner)

    @cached_property
    def _lines(self) -> tuple[Lines, ...]:
        owner = self.held.owner
        return self.held.lines if owner is None else tuple(line.take(owner) for line in self.held.lines)

    @property
    def owner(self) -> Array | None:
        """None: all of the above are every row's own."""
        return None

    @property
    def climbed(self) -> Lined:
        """What slopes climb over: what is held, where fused verbs find every row's part of it."""
        held = self.held
        fused = held.owner is not None and all(isinstance(line, KinkLines) for line in held.lines)
        return Twin(self.network, held.inputs, held.lines, held.owner) if fused else self

    @cached_property
    def order(self) -> Array:
        """Which of what is held every row has: its own, where that is no other row's."""
        if self.held.owner is not None:
            return self.held.owner
        return self.xp.arange(self.offset.shape[0], dtype=self.xp.int64, device=self.offset.device)

    def kernels(self, size: int) -> CompiledVerbs | None:
        """Kernels for arrays of so many numbers a row, None where there are none, or a call takes longer."""
        return kernels_for(Placement.of(self.offset), size * self.offset.shape[0])

    def best(self, coefficient: Array) -> tuple[Array, Array]:
        """Every row's minimiser of c'x, and the value there, as computed."""
        inputs, kernels = self.held.inputs, self.kernels(coefficient.shape[-1])
        if kernels is None or not isinstance(inputs, Box):
            return self.inputs.best(coefficient)
        return inputs.finder(kernels.vertex, self.order)(coefficient)

    @property
    def constrained(self) -> bool:
        """Whether anything has to hold that the input set and the layers do not imply."""
        return self.couplings is not None or any(cut is not None for cut in self.cut)

    def aimless(self) -> "Rows":
        """The rows with zero for an objective: whether there is a feasible point is all that is asked."""
        zero = namespace(self.objective).zeros_like
        return replace(self, objective=zero(self.objective), offset=zero(self.offset), squares=None, aims=False)

    def unweighted(self) -> Array:
        """Multipliers of constraints that are all zero, [rows, m]."""
        count = 0 if self.couplings is None else self.couplings.count
        shape = (self.offset.shape[0], count)
        return self.xp.zeros(shape, dtype=self.offset.dtype, device=self.offset.device)

    def neurons(self, value: float) -> list[Array]:
        """One array [rows, n_k] for the operands of every activation, filled with a value."""
        xp, count = self.xp, self.offset.shape[0]
        return [
            xp.full((count, low.shape[1]), value, dtype=self.offset.dtype, device=self.offset.device)
            for low in self.lower
        ]

    def outputs(self) -> list[Array]:
        """One array [rows, n_k] of zeros for the values of every activation."""
        like, count = {"dtype": self.offset.dtype, "device": self.offset.device}, self.offset.shape[0]
        return [self.xp.zeros((count, node.size), **like) for node in self.network.functions]

    @classmethod
    def of(cls, problem: Problem, placement: Placement) -> "Rows":
        """All rows of a problem, moved to a placement."""
        shared, sets, ends = problem.sharing, problem.inputs, (problem.bounds.lower, problem.bounds.upper)
        owner = None
        if shared is not None:
            first = sets.placement.put_indices(shared.first)
            sets, ends = sets.take(first), tuple(rows_of(side, first) for side in ends)
            owner = placement.put_indices(shared.owner)
        lower, upper = (tuple(map(placement.put, side)) for side in ends)
        flags = [None if cut is None else placement.put_flags(cut) for cut in problem.bounds.cut]
        network, inputs = moved(problem.measured, placement), sets.put(placement)
        offset, objective, squares = placement.put(problem.offset), problem.objective, None
        if isinstance(objective, Quadratic):
            squares = Squares(placement.put(objective.target), offset)
            objective, offset = squares.plane(output_of(network, inputs.centre) - squares.target)
        return cls(
            network,
            placement.put(objective),
            offset,
            Held(inputs, lower, upper, network_lines(network, lower, upper), owner),
            relaxations_of(network),
            tuple(flags),
            None if problem.couplings is None else problem.couplings.put(placement),
            squares,
        )

    def put(self, placement: Placement) -> "Rows":
        """The rows in another precision, from where they are; those of a linear objective."""
        network, held = moved(self.network, placement), self.held
        lower, upper = (tuple(map(placement.put, side)) for side in (held.lower, held.upper))
        lines = network_lines(network, lower, upper)
        return replace(
            self,
            network=network,
            objective=placement.put(self.objective),
            offset=placement.put(self.offset),
            held=Held(held.inputs.put(placement), lower, upper, lines, held.owner),
            relaxations=relaxations_of(network),
            couplings=None if self.couplings is None else self.couplings.put(placement),
        )

    def tilted(self, residual: Array | None) -> "Rows":
        """The rows with the plane below their squares that touches them where y - target is such, [rows, m]."""
        if self.squares is None or residual is None:
            return self
        objective, offset = self.squares.plane(residual)
        return replace(self, objective=objective, offset=offset)

    def take(self, rows: Array) -> "Rows":
        """The given rows only."""
        return replace(
            self,
            objective=namespace(rows).take(self.objective, rows, axis=0),
            offset=namespace(rows).take(self.offset, rows, axis=0),
            held=self.held.take(rows),
            cut=tuple(None if cut is None else take_rows(cut, rows) for cut in self.cut),
            couplings=None if self.couplings is None else self.couplings.take(rows),
            squares=None if self.squares is None else self.squares.take(rows),
        )

    def region(self) -> Region:
        """The region of these rows with its rounding terms; meaningful in float64 only."""
        held = self.held
        return replace(build_region(self.network, held.inputs, held.lower, held.upper), owner=held.owner)
