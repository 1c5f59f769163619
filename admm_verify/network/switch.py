"""Choices by the sign of a value, x where d > 0 and else y: y + c relu(d) where both meet at d = 0, x - y = c d.

Whether they do is decided in exact arithmetic. Others jump, y + step(d) (x - y).
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.graph import Affine, Term
from admm_verify.network.maps import DiagonalMap
from admm_verify.network.selection import SelectionMap

_DEPTH = 8
"""Steps from a value back to what it is a line of: a bound counts more roundings than they take."""

_CASES = 4096
"""Different lines in one choice, each of which is compared exactly."""

_JUMP = (
    "both sides of the comparison must be one number where it turns, as in torch.where(x > 0, x, 0.1 * x); these jump, "
    "or are not seen to meet"
)


@dataclass(frozen=True)
class Comparison:
    """A condition per entry: that excess > 0, or the contrary; numeric: as the numbers one and zero."""

    excess: Tensor
    inverted: bool = False
    numeric: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.excess.shape

    def negated(self) -> "Comparison":
        return Comparison(self.excess, not self.inverted, self.numeric)


@dataclass(frozen=True, eq=False)
class _Line:
    """y_i = sum over k of weight[k, i] z[place[k, i]] + shift_i over entries z of earlier nodes.

    reach: the sum of the sizes of all shifts on the way, by which rounding may exceed that of the line itself.
    """

    place: np.ndarray
    weight: np.ndarray
    shift: np.ndarray
    reach: np.ndarray


def switch(builder: Builder, condition: Comparison, first: Value, second: Value) -> Tensor:
    """first where the condition holds, else second, broadcast together."""
    if condition.inverted:
        first, second = second, first
    shape = np.broadcast_shapes(condition.shape, first.shape, second.shape)
    excess, x, y = (_wide(builder, value, shape) for value in (condition.excess, first, second))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        jump = builder.scale(builder.activation("heaviside", excess, 0.0), first - second, roundings=1)
        return builder.stands_for(builder.add(jump, second), "switch", [excess, x, y])
    try:
        lines = [line_of(builder, value) for value in (excess, x, y)]
        slope = _slope(*lines)
    except UnsupportedUse:
        jump = builder.product(builder.activation("heaviside", excess, 0.0), builder.add(x, y, -1.0))
        return builder.stands_for(builder.add(jump, y), "switch", [excess, x, y])
    bent = builder.scale(builder.activation("relu", excess), slope.reshape(shape), roundings=1)
    rewritten = builder.add(bent, y)
    reach = lines[1].reach + lines[2].reach
    if reach.any():
        # What the sides themselves lose on the way, by shifts that cancel.
        rewritten = Tensor(builder.affine(rewritten, SelectionMap.identity(reach.size), None, reach), shape)
    return builder.stands_for(rewritten, "switch", [excess, x, y])


def _wide(builder: Builder, value: Value, shape: tuple[int, ...]) -> Tensor:
    if isinstance(value, np.ndarray):
        return builder.lift(np.array(np.broadcast_to(value, shape)))
    return builder.select(value, np.broadcast_to(value.labels, shape))


def line_of(builder: Builder, value: Tensor, depth: int = _DEPTH) -> _Line:
    """A value as lines of what it is computed from entry by entry."""
    node = builder.node(value.node)
    parts = None
    if isinstance(node, Affine) and node.original is None and depth:
        parts = [_through(builder, term, depth - 1) for term in node.terms]
    if not isinstance(node, Affine) or parts is None or None in parts:
        # Numbers that tell the entries of all nodes apart.
        place = np.arange(value.size)[None] + (value.node << 32)
        return _Line(place, np.ones(place.shape), np.zeros(value.size), np.zeros(value.size))
    empty = np.zeros((0, value.size))
    total = _Line(empty, empty, np.asarray(node.bias), np.abs(np.asarray(node.bias)))
    for part in parts:
        if part is not None:
            place, weight = np.concatenate([total.place, part.place]), np.concatenate([total.weight, part.weight])
            total = _Line(place, weight, _exactly(np.add, total.shift, part.shift), total.reach + part.reach)
    return total


def _through(builder: Builder, term: Term, depth: int) -> _Line | None:
    """The lines of a summand; None where its map mixes entries."""
    if not isinstance(term.map, SelectionMap | DiagonalMap):
        return None
    below = line_of(builder, Tensor(term.source, (term.map.columns,)), depth)
    if isinstance(term.map, DiagonalMap):
        scale = np.asarray(term.map.scale)
        weight, shift = _exactly(np.multiply, below.weight, scale), _exactly(np.multiply, below.shift, scale)
        return _Line(below.place, weight, shift, below.reach * np.abs(scale))
    gather = np.asarray(term.map.gather)
    parts = (below.place, below.weight, below.shift, below.reach)
    return _Line(*(np.append(part, np.zeros((*part.shape[:-1], 1)), axis=-1)[..., gather] for part in parts))


def _exactly(operation: np.ufunc, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A product or sum that is a number of float64; others are refused."""
    found = operation(first, second)
    pairs = np.unique(np.stack(np.broadcast_arrays(first, second), axis=-1).reshape(-1, 2), axis=0)
    if len(pairs) > _CASES or not np.isfinite(pairs).all() or not np.isfinite(found).all():
        raise UnsupportedUse("it chooses between too many different lines")
    for a, b in pairs:
        exact = Fraction(a) * Fraction(b) if operation is np.multiply else Fraction(a) + Fraction(b)
        if Fraction(float(operation(a, b))) != exact:
            raise UnsupportedUse("it chooses between values whose factors and shifts are rounded on the way")
    return found


def _slope(excess: _Line, first: _Line, second: _Line) -> np.ndarray:
    """c with first - second = c excess, correctly rounded."""
    size, excess = excess.shift.size, _merged(excess)
    columns = [first.shift, second.shift, excess.shift]
    matched = [np.zeros(side.weight.shape, dtype=bool) for side in (first, second)]
    for place, weight in zip(excess.place, excess.weight, strict=True):
        columns.append(weight)
        for i, side in enumerate((first, second)):
            same = (side.place == place) & (weight != 0)
            matched[i] |= same
            if np.any(np.count_nonzero(same & (side.weight != 0), axis=0) > 1):
                raise UnsupportedUse("it chooses between values that add up one entry twice")
            columns.append(np.sum(np.where(same, side.weight, 0.0), axis=0))
    for side, used in zip((first, second), matched, strict=True):
        if np.any(~used & (side.weight != 0)):
            raise UnsupportedUse(_JUMP)
    cases, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    if len(cases) > _CASES or not np.isfinite(cases).all():
        raise UnsupportedUse("it chooses between too many different lines")
    return np.array([_ratio(case.tolist()) for case in cases])[which.reshape(size)]


def _merged(line: _Line) -> _Line:
    """The same lines, in which every entry has one weight that is not zero, such as the 2 of x + x."""
    order = np.argsort(line.place, axis=0, kind="stable")
    place, weight = (np.take_along_axis(part, order, axis=0) for part in (line.place, line.weight))
    for k in range(1, len(place)):
        again = place[k] == place[k - 1]
        weight[k] = _exactly(np.add, weight[k], np.where(again, weight[k - 1], 0.0))
        weight[k - 1] = np.where(again, 0.0, weight[k - 1])
    return replace(line, place=place, weight=weight)


def _ratio(case: list[float]) -> float:
    """c of one entry: its three shifts, then per term the weights of the excess and of both sides."""
    one, other, start, *rest = map(Fraction, case)
    steps = [(start, one - other), *((rest[i], rest[i + 1] - rest[i + 2]) for i in range(0, len(rest), 3))]
    slopes = {difference / step for step, difference in steps if step}
    if any(difference and not step for step, difference in steps) or len(slopes) > 1:
        raise UnsupportedUse(_JUMP)
    return float(slopes.pop()) if slopes else 0.0
