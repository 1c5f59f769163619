"""Constraints of a problem: what callers state, and the couplings of a network's nodes that these are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.bounds.couplings import Couplings
from admm_verify.errors import InputError
from admm_verify.given import float64_array, plain_array
from admm_verify.network.graph import Network, check_network
from admm_verify.options import brief, several
from admm_verify.reprs import short_repr

Where = Literal["input", "output"] | tuple[Literal["pre", "post"], int]
"""Values of a network: its input, its output, or what activation k, counted from 0 in graph order, reads or gives."""

Numbers = Array | Sequence[Any]
"""An array, or nested lists of numbers."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Constraint:
    """Linear constraints on values z of a network: sum over places of coefficients[place]'z_place + offset <= 0.

    They hold for every row of a problem, or each row has its own; an equation is two of them. coefficients: by the
    place of the values, "input", "output", ("pre", k) or ("post", k), k counting activations in graph order. Arrays
    are copied.

    Shapes: coefficients[place] [*shape] for one constraint, [m, *shape] for m of them that rows share, [rows, m,
    *shape] for m of each row's own, where shape is that of the values, or their number; offset a number, [m] or
    [rows, m].
    Raises: InputError for no coefficients at all, unknown places, and what is no array of finite real numbers; the
    problem checks the sizes.
    """

    coefficients: Mapping[Where, Array]
    offset: Array

    __repr__ = short_repr

    def __init__(self, coefficients: Mapping[Where, Numbers], offset: Numbers | float = 0.0) -> None:
        if not isinstance(coefficients, Mapping) or not coefficients:
            raise InputError(
                f"A constraint's coefficients are {brief(coefficients)}; give arrays by where their values are, such "
                'as {"output": [1.0, -1.0]}.'
            )
        found: dict[Where, Array] = {}
        for where, part in coefficients.items():
            found[_place(where)] = _finite(part, f"constraint's coefficients of {where!r}", None)
        home = Placement.of(next(iter(found.values())))
        object.__setattr__(self, "coefficients", {where: home.put(part) for where, part in found.items()})
        object.__setattr__(self, "offset", _finite(offset, "constraint's offset", home))

    @classmethod
    def outputs(cls, normals: Numbers, limits: Numbers | float) -> "Constraint":
        """normals f(x) <= limits. Shapes: normals as coefficients; limits as the offset."""
        return cls({"output": normals}, -_finite(limits, "constraint's limits", None))

    @classmethod
    def inputs(cls, normals: Numbers, limits: Numbers | float) -> "Constraint":
        """normals x <= limits. Shapes: normals as coefficients; limits as the offset."""
        return cls({"input": normals}, -_finite(limits, "constraint's limits", None))

    @classmethod
    def split(
        cls, network: Network, activation: int, neuron: int | Sequence[int], sign: float | Sequence[float]
    ) -> "Constraint":
        """sign z >= 0 for the input z of one neuron of an activation; neuron and sign may be one for each row.

        Raises: InputError for what is no network, a neuron that it lacks, and signs other than 1 and -1.
        """
        node = _node(check_network(network), _place(("pre", activation)))
        size = network.nodes[node].size
        given = to_numpy(plain_array(neuron, "neuron of a split")), to_numpy(plain_array(sign, "sign of a split"))
        try:
            chosen, signs = np.broadcast_arrays(*given)
        except ValueError:
            raise InputError(
                f"The split has neurons of shape {given[0].shape} and signs of shape {given[1].shape}; give one of "
                "both, or one for each row."
            ) from None
        if chosen.ndim > 1 or chosen.dtype.kind not in "iu" or chosen.size == 0:
            raise InputError(f"The neuron of a split is {brief(neuron)}; give its number, or one for each row.")
        if not ((chosen >= 0) & (chosen < size)).all():
            raise InputError(f"Activation {activation} has {size} neurons, and the split is at {brief(neuron)}.")
        if not (np.abs(signs) == 1.0).all():
            raise InputError(f"The sign of a split is {brief(sign)}; give 1 or -1.")
        rows = -signs[..., None].astype(np.float64) * (np.arange(size) == chosen[..., None])
        return cls({("pre", activation): rows[:, None, :] if chosen.ndim else rows})

    def normal(self, network: Network, rows: int, home: Placement) -> "Constraint":
        """The same constraints for so many rows of a network's problem, where the inputs live, with all axes.

        Shapes: coefficients[place] [1 or rows, m, n]; offset [1 or rows, m].
        Raises: InputError where sizes do not fit, and for a constraint that says nothing of any value.
        """
        parts: dict[Where, Array] = {where: self._laid(network, where, home) for where in self.coefficients}
        offset = home.put(self.offset)
        if len(offset.shape) > 2:
            raise InputError(
                f"A constraint's offset has shape {tuple(offset.shape)}; give a number, [constraints] or [rows, "
                "constraints]."
            )
        offset = namespace(offset).reshape(offset, (1,) * (2 - len(offset.shape)) + tuple(offset.shape))
        count = max(part.shape[1] for part in parts.values())
        if offset.shape[1] == 1:
            offset = home.xp.broadcast_to(offset, (offset.shape[0], count))
        for what, array in {
            **{f"coefficients of {where!r}": part for where, part in parts.items()},
            "offset": offset,
        }.items():
            if array.shape[0] not in (1, rows) or array.shape[1] != count:
                raise InputError(
                    f"A constraint's {what} are for {array.shape[0]} rows of {array.shape[1]} constraints; give 1 or "
                    f"{rows} rows, as the problem has, of {count}."
                )
        says = sum(np.abs(to_numpy(part)).max(axis=(0, 2)) for part in parts.values())
        if not np.all(says):
            raise InputError(
                f"Constraint {int(np.argmin(says))} of {list(parts)} has coefficients of zero only, so it says nothing "
                "of any value. Leave it out."
            )
        return self._of(parts, offset)

    def part(self, first: int, last: int) -> "Constraint":
        """Those of rows first..last; what the rows share stays shared. Valid when: `normal`."""

        def cut(array: Array) -> Array:
            return array if array.shape[0] == 1 else array[first:last]

        return self._of({where: cut(part) for where, part in self.coefficients.items()}, cut(self.offset))

    @classmethod
    def _of(cls, coefficients: Mapping[Where, Array], offset: Array) -> "Constraint":
        """Constraints that are known to be fine."""
        found = object.__new__(cls)
        object.__setattr__(found, "coefficients", coefficients)
        object.__setattr__(found, "offset", offset)
        return found

    def _laid(self, network: Network, where: Where, home: Placement) -> Array:
        """The coefficients of one place as [1 or rows, m, n]."""
        part, size = home.put(self.coefficients[where]), network.nodes[_node(network, where)].size
        own = {"input": network.input_shape, "output": network.output_shape}.get(str(where), (size,))
        for shape in ((size,), own):
            lead = len(part.shape) - len(shape)
            if 0 <= lead <= 2 and tuple(part.shape[lead:]) == shape:
                return namespace(part).reshape(part, (1,) * (2 - lead) + (*part.shape[:lead], size))
        raise InputError(
            f"A constraint's coefficients of {where!r} have shape {tuple(part.shape)}; there are {size} values, so "
            f"give [{size}], [constraints, {size}] or [rows, constraints, {size}]."
        )


def checked_constraints(given: object, network: Network, rows: int, home: Placement) -> tuple[Constraint, ...]:
    """Constraints that a problem of so many rows was handed, one or several, in their normal form.

    Raises: InputError for what are none, and as `Constraint.normal`.
    """
    found = (given,) if isinstance(given, Constraint) else several(given, Constraint, "problem's constraints")
    return tuple(one.normal(network, rows, home) for one in found)


def couplings_of(constraints: Sequence[Constraint], network: Network) -> Couplings | None:
    """Constraints in their normal form as one batch, one after the other; None for none."""
    if not constraints:
        return None
    home = Placement.of(constraints[0].offset)
    xp, counts = home.xp, [one.offset.shape[1] for one in constraints]
    arrays = [array for one in constraints for array in (one.offset, *one.coefficients.values())]
    rows = max(array.shape[0] for array in arrays)
    columns: dict[int, list[Array]] = {}
    for j, one in enumerate(constraints):
        for where, part in one.coefficients.items():
            i = _node(network, where)
            if i not in columns:
                sizes = [(rows, count, network.nodes[i].size) for count in counts]
                columns[i] = [xp.zeros(size, dtype=home.dtype, device=home.device) for size in sizes]
            # Two places can be one node's values.
            columns[i][j] = columns[i][j] + part
    offsets = [xp.broadcast_to(one.offset, (rows, count)) for one, count in zip(constraints, counts, strict=True)]
    return Couplings({i: xp.concat(parts, axis=1) for i, parts in columns.items()}, xp.concat(offsets, axis=1))


def _place(where: object) -> Where:
    if where == "input":
        return "input"
    if where == "output":
        return "output"
    if isinstance(where, tuple) and len(where) == 2 and isinstance(where[1], int | np.integer) and where[1] >= 0:
        if where[0] == "pre":
            return "pre", int(where[1])
        if where[0] == "post":
            return "post", int(where[1])
    raise InputError(
        f'A constraint is on values at {brief(where)}; give "input", "output", ("pre", k) for what activation k reads, '
        'or ("post", k) for what it gives.'
    )


def _node(network: Network, where: Where) -> int:
    """The node whose values these are.

    Raises: InputError for an activation that the network lacks.
    """
    if isinstance(where, str):
        return 0 if where == "input" else network.output
    side, k = where
    if k >= len(network.activations):
        raise InputError(
            f"A constraint is on {where!r}, and {network.name} has {len(network.activations)} activations, counted "
            "from 0 in graph order."
        )
    return network.sources[k] if side == "pre" else network.activations[k]


def _finite(value: object, what: str, home: Placement | None) -> Array:
    found = float64_array(value, what, home)
    if 0 in found.shape:
        raise InputError(f"The {what} have shape {tuple(found.shape)}, which holds no constraint. Leave it out.")
    if not bool(namespace(found).all(namespace(found).isfinite(found))):
        raise InputError(f"The {what} hold NaN or infinite numbers; give finite ones.")
    return found
