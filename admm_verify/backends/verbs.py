"""The seam of the kernels: the elementwise chains in which an iteration spends its time, one verb each.

Arrays are [rows, n] in one floating dtype. Bounds and lines are [B, n]: row r uses their row box[r], and rows of one
box share it; with B = 1 all rows share it, whatever `box` says. Sums over a row come back as [rows].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from admm_verify.arrays import Array, inner, namespace, take_rows
from admm_verify.errors import InputError
from admm_verify.relaxations import triangle


@dataclass(frozen=True)
class Signature:
    """How many arrays of each kind the kernels of a verb take: inputs [rows, n], bounds [B, n], results."""

    inputs: int
    bounds: int
    matrices: int
    sums: int


VERBS = {
    "descend": Signature(inputs=2, bounds=2, matrices=1, sums=1),
    "climb": Signature(inputs=2, bounds=4, matrices=1, sums=0),
    "vertex": Signature(inputs=1, bounds=2, matrices=1, sums=1),
    "support_triangle": Signature(inputs=2, bounds=2, matrices=0, sums=2),
    "project_triangle": Signature(inputs=2, bounds=2, matrices=2, sums=0),
    "reflect_triangle": Signature(inputs=2, bounds=2, matrices=2, sums=0),
    "halpern": Signature(inputs=4, bounds=0, matrices=1, sums=1),
}
"""All verbs. Kernels take inputs, bounds, box, B, rows, n, what else the verb needs, then results."""


@dataclass(frozen=True)
class Adam:
    """Constants of Adam's step t: momentum and memory, first = 1 - momentum^t, second = 1 - memory^t, and the rate."""

    momentum: float
    memory: float
    first: float
    second: float
    rate: float


@dataclass(frozen=True, eq=False)
class SlopeState:
    """Slopes and Adam's averages of a layer, [rows, n] each, which `climb` overwrites: three arrays of their own."""

    slopes: Array
    mean: Array
    square: Array


def fit(inputs: Sequence[Array], bounds: Sequence[Array], box: Array | None) -> tuple[int, int, int]:
    """rows, n and B of a kernel's arrays.

    Raises: InputError where shapes or dtypes differ.
    """
    shape, dtype = inputs[0].shape, inputs[0].dtype
    held = bounds[0].shape if bounds else (1, shape[-1])
    for expected, arrays in ((shape, inputs), (held, bounds)):
        for array in arrays:
            if array.shape != expected or array.dtype != dtype:
                raise InputError(
                    f"An array has shape {tuple(array.shape)} and dtype {array.dtype} where {tuple(expected)} and "
                    f"{dtype} are expected; all arrays [rows, n] must be alike, and so must all bounds [B, n]."
                )
    if len(shape) != 2 or len(held) != 2 or held[1] != shape[1]:
        raise InputError(f"Rows of shape {tuple(shape)} and bounds of shape {tuple(held)} are no [rows, n] and [B, n].")
    if held[0] != 1 and (box is None or box.shape != shape[:1]):
        raise InputError(f"{held[0]} rows of bounds need a box that gives one of them to each of {shape[0]} rows.")
    return shape[0], shape[1], held[0]


def fit_vector(vector: Array, size: int, dtype: Any) -> Array:
    """The vector, if it has one number for each of `size`.

    Raises: InputError where it has not, or another dtype.
    """
    if vector.shape != (size,) or vector.dtype != dtype:
        raise InputError(
            f"A vector has shape {tuple(vector.shape)} and dtype {vector.dtype}; expected are ({size},) and {dtype}."
        )
    return vector


def slope_state(slopes: Array, empty: Callable[[tuple[int, ...]], Array]) -> SlopeState:
    """Slopes as they are before Adam's first step, in arrays that `empty` makes."""
    arrays = [empty(tuple(slopes.shape)) for _ in range(3)]
    for array, value in zip(arrays, (slopes, 0.0, 0.0), strict=True):
        array[...] = value
    return SlopeState(*arrays)


class Verbs(Protocol):
    """Fused elementwise work on [rows, n] arrays.

    Valid when: 0 <= box < B, no array overlaps another, and all have one dtype. Raises: InputError in the native
    version for shapes, dtypes and boxes that do not fit; on a GPU a box out of range is not noticed.
    Error: a few roundings of the terms; sums over a row a few more. NaN stays NaN.
    """

    def state(self, slopes: Array) -> SlopeState:
        """Slopes [rows, n], copied, as they are before Adam's first step."""
        ...

    def descend(self, a: Array, slopes: Array, chord: Array, intercept: Array, box: Array) -> tuple[Array, Array]:
        """A kink layer's part of the backward sweep.

        g = slopes a where a > 0, else chord a; value = sum of min(a, 0) intercept.

        Shapes: a, slopes, g [rows, n]; chord, intercept [B, n]; box, value [rows].
        """
        ...

    def climb(
        self,
        a: Array,
        pre: Array,
        chord: Array,
        intercept: Array,
        minimum: Array,
        maximum: Array,
        box: Array,
        state: SlopeState,
        adam: Adam,
    ) -> Array:
        """A kink layer's part of the forward sweep, and Adam's step on its slopes in place.

        post = slopes pre where a > 0, else chord pre + intercept, with the slopes before the step;
        gradient = max(a, 0) pre, mean = momentum mean + (1 - momentum) gradient, square = memory square + (1 - memory)
        gradient^2, slopes = clip(slopes + rate (maximum - minimum) (mean / first) / max(sqrt(square / second), least),
        minimum, maximum), where least is the dtype's smallest normal number.

        Shapes: a, pre, post, state [rows, n]; chord, intercept, minimum, maximum [B, n]; box [rows].
        """
        ...

    def vertex(self, coefficient: Array, lower: Array, upper: Array, box: Array) -> tuple[Array, Array]:
        """The vertex of the box that minimises coefficient'x.

        x = lower where coefficient > 0, else upper; value = sum of coefficient x.

        Shapes: coefficient, x [rows, n]; lower, upper [B, n]; box, value [rows].
        """
        ...

    def support_triangle(
        self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array, box: Array
    ) -> tuple[Array, Array]:
        """The least value of a linear function on a layer's triangles, and the scale of its terms in pre.

        value = sum of min over (p, q) of post_weight q - pre_weight p; reach = sum of |pre_weight| max(|lower|,
        |upper|).

        Shapes: post_weight, pre_weight [rows, n]; lower, upper [B, n]; box, value, reach [rows].
        """
        ...

    def project_triangle(self, lower: Array, upper: Array, pre: Array, post: Array, box: Array) -> tuple[Array, Array]:
        """The nearest point of the triangle relaxation.

        (p, q) = argmin (p - pre)^2 + (q - post)^2, in the closed form of `relaxations.triangle.project`.

        Shapes: pre, post, p, q [rows, n]; lower, upper [B, n]; box [rows].
        """
        ...

    def reflect_triangle(
        self, sums: Array, edge: Array, bias: Array, lower: Array, upper: Array, box: Array
    ) -> tuple[Array, Array]:
        """The pointwise half of an ADMM step: z = (sums, edge) reflected at a layer's triangles.

        (p, q) = project(sums + bias, edge), v = (p - bias, q), reflected point = 2 v - z.

        Shapes: sums, edge and both results [rows, n]; bias [n]; lower, upper [B, n]; box [rows].
        """
        ...

    def halpern(self, u: Array, r: Array, z: Array, anchor: Array, since: Array) -> tuple[Array, Array]:
        """Halpern's step of the reflected operator, with r = 2 v - z, and the square of the residual.

        z_new = anchor / (since + 2) + (since + 1) / (since + 2) (2 u - r); square = sum of (u - (r + z) / 2)^2.

        Shapes: u, r, z, anchor, z_new [rows, n]; since, square [rows].
        """
        ...


class ArrayVerbs:
    """The verbs as chains of array operations, for any library: NumPy in float64 is the reference."""

    def state(self, slopes: Array) -> SlopeState:
        xp = namespace(slopes)
        return slope_state(slopes, lambda shape: xp.empty(shape, dtype=slopes.dtype, device=slopes.device))

    def descend(self, a: Array, slopes: Array, chord: Array, intercept: Array, box: Array) -> tuple[Array, Array]:
        xp = namespace(a)
        g = xp.where(a > 0, slopes, take_rows(chord, box)) * a
        return g, inner(xp.minimum(a, xp.zeros_like(a[..., :1])), take_rows(intercept, box))

    def climb(
        self,
        a: Array,
        pre: Array,
        chord: Array,
        intercept: Array,
        minimum: Array,
        maximum: Array,
        box: Array,
        state: SlopeState,
        adam: Adam,
    ) -> Array:
        xp = namespace(a)
        low, high = take_rows(minimum, box), take_rows(maximum, box)
        post = xp.where(a > 0, state.slopes * pre, take_rows(chord, box) * pre + take_rows(intercept, box))
        gradient = xp.maximum(a, xp.zeros_like(a[..., :1])) * pre
        mean = adam.momentum * state.mean + (1.0 - adam.momentum) * gradient
        square = adam.memory * state.square + (1.0 - adam.memory) * gradient**2
        least = xp.full_like(a[..., :1], xp.finfo(a.dtype).smallest_normal)
        move = (mean / adam.first) / xp.maximum(xp.sqrt(square / adam.second), least)
        slopes = xp.minimum(xp.maximum(state.slopes + adam.rate * (high - low) * move, low), high)
        for array, moved in ((state.slopes, slopes), (state.mean, mean), (state.square, square)):
            array[...] = moved
        return post

    def vertex(self, coefficient: Array, lower: Array, upper: Array, box: Array) -> tuple[Array, Array]:
        xp = namespace(coefficient)
        x = xp.where(coefficient > 0, take_rows(lower, box), take_rows(upper, box))
        return x, inner(coefficient, x)

    def support_triangle(
        self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array, box: Array
    ) -> tuple[Array, Array]:
        xp = namespace(post_weight)
        size = take_rows(xp.maximum(xp.abs(lower), xp.abs(upper)), box)
        least = triangle.support(take_rows(lower, box), take_rows(upper, box), post_weight, pre_weight)
        return xp.sum(least, axis=-1), inner(xp.abs(pre_weight), size)

    def project_triangle(self, lower: Array, upper: Array, pre: Array, post: Array, box: Array) -> tuple[Array, Array]:
        return triangle.project(take_rows(lower, box), take_rows(upper, box), pre, post)

    def reflect_triangle(
        self, sums: Array, edge: Array, bias: Array, lower: Array, upper: Array, box: Array
    ) -> tuple[Array, Array]:
        target = sums + bias
        pre, post = self.project_triangle(lower, upper, target, edge, box)
        return 2.0 * (sums + (pre - target)) - sums, 2.0 * post - edge

    def halpern(self, u: Array, r: Array, z: Array, anchor: Array, since: Array) -> tuple[Array, Array]:
        xp = namespace(u)
        move = u - 0.5 * (r + z)
        pull = (since + 1.0)[:, None] / (since + 2.0)[:, None]
        return anchor / (since + 2.0)[:, None] + pull * (2.0 * u - r), xp.sum(move * move, axis=-1)
