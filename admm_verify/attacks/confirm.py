"""Confirmed counterexamples: a point counts once the network itself, run on it, satisfies the query exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.bounds.arithmetic import output_reach
from admm_verify.bounds.linear import linear_bounds
from admm_verify.bounds.preactivation import derived_bounds
from admm_verify.bounds.region import build_region
from admm_verify.memory import Budget
from admm_verify.network.graph import Affine, Network, Term
from admm_verify.network.maps import DenseMap
from admm_verify.properties.property import Disjunct
from admm_verify.properties.query import Query
from admm_verify.properties.rows import atom_rows
from admm_verify.properties.working import working_sets
from admm_verify.run import Run
from admm_verify.sets.exact import ExactBox
from admm_verify.sets.exact_points import nearest_point

_LARGEST = Fraction(float(np.finfo(np.float64).max))


@dataclass(frozen=True, eq=False)
class Witness:
    """A confirmed counterexample: exact lies in the query's input set, x is exact rounded to the network's element type
    (the same point wherever the set holds one of that type), and output is what the network computes at x.

    Shapes: x [*input_shape], output [*output_shape], in the network's element type; exact [inputs].
    """

    x: np.ndarray
    output: np.ndarray
    exact: tuple[Fraction, ...]


def confirm(query: Query, disjunct: Disjunct, x: np.ndarray, run: Run | None = None) -> Witness | None:
    """A point near x that satisfies the disjunct when the network itself is run on it, else None.

    It runs in our own forward pass and, where the query has a model, in onnxruntime, which must agree; the former alone
    counts where onnxruntime is not installed, or lacks one of the model's operators in its type.

    Every coordinate becomes a number of the network's element type where its interval in the box holds one, else a
    rational number in there, such as the 0.1 of a query that fixes it; where couplings or a set of floats cut the box,
    the point is moved into what they leave of it. With a rational number the network is run at the point rounded to its
    type, and the atoms must in addition hold at the point itself in real numbers, by bounds.

    Shapes: x [inputs].
    Raises: ReplayError when onnxruntime cannot run the model, crashes, or has no answer once the run is over; Stopped
    when that comes while bounds are computed.
    """
    network, how = query.network, Run.of(run)
    dtype = np.float64 if network.element_type == "float64" else np.float32
    placed = _placed(disjunct, x, dtype, how)
    if placed is None:
        return None
    exact = query.as_asked(disjunct, placed, dtype)
    own = query.own_input(exact)
    return confirmed(query, disjunct, exact, how, lambda: _holds_in_real_numbers(query, disjunct, own, how))


def confirmed(
    query: Query, disjunct: Disjunct, exact: tuple[Fraction, ...], run: Run, proven: Callable[[], bool]
) -> Witness | None:
    """`confirm` at a point of the disjunct, an input of the question asked. proven: whether the atoms hold there in
    real numbers; asked where the network is run at another one.
    """
    network = (query.asked or query).network
    dtype = np.float64 if network.element_type == "float64" else np.float32
    point = _nearest(exact, dtype)
    if not np.isfinite(point).all():
        return None
    own = _own(query, point)
    if not _answers(query, disjunct, exact, own):
        return None
    replayed = (query.asked or query).replayed(point, run)
    output = own if replayed is None else replayed
    if not _answers(query, disjunct, exact, output):
        return None
    if any(Fraction(float(value)) != wanted for value, wanted in zip(point, exact, strict=True)):
        if not proven():
            return None
    return Witness(point.reshape(network.input_shape), output.reshape(network.output_shape), exact)


def _placed(disjunct: Disjunct, x: np.ndarray, dtype: Any, run: Run) -> tuple[Fraction, ...] | None:
    """A point of the disjunct's inputs near x, exactly; None where there is none, or none was found."""
    box, cut = disjunct.box, disjunct.cut
    if cut is not None:
        around = box.enclosure.at(None)
        return nearest_point(box, cut, working_sets([disjunct], around) or around, x, dtype, run.over)
    exact = box.nearest(x, dtype)
    return exact if exact is not None and box.holds(exact) else None


def _nearest(exact: tuple[Fraction, ...], dtype: Any) -> np.ndarray:
    """The point in a floating point type, infinite beyond its range; through float64, as text is read elsewhere too."""
    with quiet_overflow():
        return np.array([float(value) if abs(value) <= _LARGEST else np.inf for value in exact]).astype(dtype)


def _holds(disjunct: Disjunct, output: np.ndarray) -> bool:
    """Whether all atoms hold for an output, exactly."""
    if not np.isfinite(output).all():
        return False
    y = [Fraction(float(value)) for value in output]
    return all(atom.holds(y) for atom in disjunct.atoms)


def _own(query: Query, point: np.ndarray) -> np.ndarray:
    """What the networks that are asked about compute, by our own forward pass."""
    with quiet_overflow():
        return (query.asked or query).computed(point)


def _answers(query: Query, disjunct: Disjunct, exact: tuple[Fraction, ...], output: np.ndarray) -> bool:
    """Whether an output of the network that is asked about is what was looked for."""
    if query.asked is None:
        return _holds(disjunct, output)
    return bool(np.isfinite(output).all()) and query.asked.accepts(exact, [Fraction(float(y)) for y in output])


def _holds_in_real_numbers(query: Query, disjunct: Disjunct, exact: tuple[Fraction, ...], run: Run) -> bool:
    """Whether certified upper bounds of all atoms over the smallest float64 box around a point prove them there.

    Raises: Stopped.
    """
    rows = atom_rows(replace(query.property, disjuncts=(replace(disjunct, cut=None),)))
    if not len(rows.objective):
        return True
    network = query.network.put(Placement.numpy())
    # The offsets are rounded downward; the next number up is above what they were.
    offset = np.nextafter(rows.offset, np.inf)
    atoms = Affine((Term(network.output, DenseMap(rows.objective)),), offset, np.abs(offset))
    above = Network((*network.nodes, atoms), network.input_shape, (len(offset),))
    box = ExactBox.point(exact).enclosure.at(None)
    with quiet_overflow():
        found = derived_bounds(network, box, "crown", run)
        lower, upper = (tuple(end[:, None] for end in side) for side in (found.lower, found.upper))
        region = build_region(above, box.spread(), lower, upper)
        highest = linear_bounds(region, np.arange(len(offset)), Budget.of(run))[1][0]
        charge = rows.charge(output_reach(network, box, found))
        highest = np.where(charge > 0, np.nextafter(highest + charge, np.inf), highest)
    return bool(np.where(rows.strict, highest < 0, highest <= 0).all())
