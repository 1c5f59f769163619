"""What is known of the inputs of activations, checked where callers hand it in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.graph import Network, check_network
from admm_verify.network.layout import flatten_batch
from admm_verify.options import instance
from admm_verify.reprs import short_repr
from admm_verify.sets.contract import InputSet


@dataclass(frozen=True, eq=False, repr=False)
class PreactivationBounds:
    """One pair (lower, upper) per activation node in graph order.

    What takes such bounds believes that they hold over its box: nothing can check that but for bounds that contradict
    interval arithmetic, and bounds of `preactivation_bounds`, which know the network and the boxes they were made for.

    origin: what `preactivation_bounds` made them for, which copies keep; None for your own.
    Shapes: lower[k], upper[k] [1, n_k] for bounds shared by all rows, [rows, n_k] for bounds of their own.
    """

    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    origin: "Origin | None" = field(default=None, repr=False, kw_only=True)

    __repr__ = short_repr

    @classmethod
    def from_arrays(cls, network: Network, pairs: Sequence[tuple[Array, Array]]) -> "PreactivationBounds":
        """Bounds from your own arrays, one pair per activation node in graph order, [n_k] or [rows, n_k].

        Valid when: they hold for the region they are used with; nothing can check that here.
        Raises: InputError for a wrong count or shape, NaN, or lower > upper, naming layer and index.
        """
        check_network(network)
        given = [_pair(pair) for pair in _sequence(pairs)]
        return cls(tuple(low for low, _ in given), tuple(high for _, high in given)).checked(network)

    @classmethod
    def joined(cls, parts: "Sequence[PreactivationBounds]", made: "Origin") -> "PreactivationBounds":
        """The bounds of some sets and then those of others."""
        sides = (zip(*side, strict=True) for side in zip(*((part.lower, part.upper) for part in parts), strict=True))
        lower, upper = (tuple(namespace(*ends).concat(list(ends), axis=0) for ends in side) for side in sides)
        return cls(lower, upper, origin=made)

    def put(self, place: Placement, made: "Origin | None") -> "PreactivationBounds":
        """The same bounds in another place, made for what is said."""
        return PreactivationBounds(tuple(map(place.put, self.lower)), tuple(map(place.put, self.upper)), origin=made)

    def checked(self, network: Network, place: Placement | None = None) -> "PreactivationBounds":
        """Copies in float64, moved to a place where one is given, once they are bounds of this network's activations.

        Raises: InputError for a wrong count or shape, what is no array of real numbers, NaN, or lower > upper, naming
        activation and index; and for bounds that were made for another network.
        """
        lower, upper = _sequence(self.lower), _sequence(self.upper)
        count = len(network.activations)
        if self.origin is not None:
            instance(self.origin, Origin, "The origin of pre-activation bounds")
        if not len(lower) == len(upper) == count:
            raise InputError(
                f"The pre-activation bounds have {len(lower)} lower and {len(upper)} upper ends; {network.name} has "
                f"{count} activations."
            )
        if self.origin is not None and not _same(self.origin.network.nodes, network.nodes):
            raise InputError(
                f"The pre-activation bounds were made for another network ({self.origin.network.name}). Make them "
                "for this one."
            )
        ends: tuple[list[Array], list[Array]] = [], []
        for k, source in enumerate(network.sources):
            what, size = f"activation {k} of {network.name}", network.nodes[source].size
            for side, given in zip(ends, (lower[k], upper[k]), strict=True):
                side.append(flatten_batch(float64_array(given, f"bounds of {what}", place), (size,), what))
            _check_pair(k, ends[0][-1], ends[1][-1])
        return PreactivationBounds(tuple(ends[0]), tuple(ends[1]), origin=self.origin)

    @property
    def implied(self) -> bool:
        """Whether the layers' relaxations, one after the other, are known to imply these bounds."""
        return self.origin is not None and self.origin.implied

    def take(self, rows: Array) -> "PreactivationBounds":
        """The bounds of the given rows only, any of them several times."""
        origin = None if self.origin is None else self.origin.take(rows)
        return PreactivationBounds(_taken(self.lower, rows), _taken(self.upper, rows), origin=origin)


@dataclass(frozen=True, eq=False)
class Origin:
    """What pre-activation bounds were made for: a network and input sets [rows, n], one per row of the bounds.

    implied: whether the layers' relaxations, one after the other, imply the bounds; what callers state may say more.
    """

    network: Network
    inputs: InputSet
    implied: bool = True

    def take(self, rows: Array) -> "Origin":
        """The sets of the given rows only."""
        return Origin(self.network, self.inputs.take(rows), self.implied)

    def covers(self, inputs: InputSet) -> bool:
        """Whether sets [rows or 1, n] lie inside these, row by row."""
        rows = {self.inputs.lead, inputs.lead} - {(1,)}
        return len(rows) <= 1 and self.inputs.put(inputs.placement).covers(inputs)


def _taken(arrays: tuple[Array, ...], rows: Array) -> tuple[Array, ...]:
    return tuple(namespace(array).take(array, rows, axis=0) for array in arrays)


def _sequence(given: Any) -> Sequence[Any]:
    if not isinstance(given, list | tuple):
        raise InputError(
            f"Pre-activation bounds came as {type(given).__name__}; give a sequence with one entry per activation."
        )
    return given


def _pair(given: Any) -> tuple[Any, Any]:
    if len(_sequence(given)) != 2:
        raise InputError(f"An activation has {len(given)} bounds; give a pair (lower, upper).")
    return given[0], given[1]


def _check_pair(k: int, lower: Array, upper: Array) -> None:
    if lower.shape != upper.shape:
        raise InputError(f"Activation {k} has lower bounds {tuple(lower.shape)} and upper {tuple(upper.shape)}.")
    bad = to_numpy(~(lower <= upper))
    if bad.any():
        row, neuron = (int(i[0]) for i in bad.nonzero())
        raise InputError(
            f"Activation {k}, row {row}, neuron {neuron}: the bounds [{float(lower[row, neuron])}, "
            f"{float(upper[row, neuron])}] are empty or NaN. Give lower <= upper."
        )


def _same(one: object, other: object) -> bool:
    """Whether the nodes of two networks, or parts of them, have the same structure and numbers."""
    if one is other:
        return True
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            _same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if hasattr(one, "shape") and hasattr(other, "shape"):
        return np.array_equal(to_numpy(one), to_numpy(other))
    return type(one) is type(other) and one == other
