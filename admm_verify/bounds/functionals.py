"""Linear functionals of a network's values, and the one way from multipliers to certified lower bounds of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Float, Int, Placement, namespace
from admm_verify.bounds.backward import Backward, Choose, backward
from admm_verify.bounds.matrix_products import PassedProduct
from admm_verify.bounds.region import Region, Sparing


@dataclass(frozen=True, eq=False)
class Splits:
    """Neurons of one layer whose sign a branch fixes, sign * pre >= 0, with a multiplier beta >= 0 each.

    The multiplier of the pre-activation becomes g - sign beta; beta moves in place. Over [0, u] or [l, 0] that costs
    nothing: the least value of sign beta pre there is 0.
    place: flat and distinct, in [rows, n]; row: of each place.
    """

    place: Int[Array, " splits"]
    row: Int[Array, " splits"]
    sign: Float[Array, " splits"]
    beta: Float[Array, " splits"]

    def lowered(self, g: Array, amount: Array) -> Array:
        """Multipliers of the whole layer, [..., n], less an amount each at these neurons."""
        xp = namespace(g)
        flat = xp.reshape(g, (-1,))
        flat[self.place] = flat[self.place] - amount
        return xp.reshape(flat, g.shape)


@dataclass(frozen=True, eq=False)
class FreeEnds:
    """Ends lower <= pre <= upper of one layer's inputs that the layers below do not imply, with a multiplier tau each.

    tau (lower - pre) where tau > 0, and tau (upper - pre) where tau < 0, is at most 0 in the range. So the multiplier
    of the pre-activation becomes g - tau, and the constant gains tau lower, or tau upper; tau moves in place.
    cut: where an end is not implied; tau is 0 elsewhere. unit: of tau, None for the mean coefficient of the layer.
    Shapes: tau [rows, n], or [parts, rows, n]; all others alike, with any axis but the last of length 1.
    """

    lower: Float[Array, "*#rows n"]
    upper: Float[Array, "*#rows n"]
    cut: Float[Array, "*#rows n"]
    tau: Float[Array, "*#rows n"]
    unit: Float[Array, "*#rows n"] | None = None

    def gained(self) -> Float[Array, "*#rows"]:
        """What the constant gains, as computed."""
        xp, tau = namespace(self.tau), self.tau
        return xp.sum(xp.where(tau > 0, tau * self.lower, xp.where(tau < 0, tau * self.upper, 0.0)), axis=-1)

    def gradient(self, pre: Float[Array, "*#rows n"]) -> Float[Array, "*#rows n"]:
        """The supergradient of D in tau at inputs of the linearised network."""
        xp = namespace(pre)
        low, high = self.lower - pre, self.upper - pre
        zero = xp.zeros_like(low)
        still = xp.maximum(low, zero) + xp.minimum(high, zero)
        moved = xp.where(self.tau > 0, low, xp.where(self.tau < 0, high, still))
        return xp.where(self.cut, moved, zero)


@dataclass(frozen=True, eq=False)
class Functionals:
    """Linear functionals of the values z_i of a network's nodes: sum over i of start[i]'z_i + constant.

    error: how far they are, being rounded, from what they stand for; certified bounds lose it. splits[k]: signs fixed
    in layer k, None for none; their multipliers are in float32 in any placement, and move in place. ranges[k]: ends of
    layer k that are constraints of their own, None for none; in the placement of the iteration.
    Shapes: start[i] [..., n_i]; constant and error broadcast against the leading axes.
    """

    start: Mapping[int, Float[Array, "... _"]]
    constant: Float[Array, "..."]
    error: Array | float = 0.0
    splits: tuple[Splits | None, ...] = ()
    ranges: tuple[FreeEnds | None, ...] = ()

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes, which count the functionals."""
        return tuple(next(iter(self.start.values())).shape[:-1])

    def put(self, placement: Placement) -> "Functionals":
        """The functionals as numbers of another placement: for iterations, not for bounds."""
        start = {i: placement.put(part) for i, part in self.start.items()}
        return Functionals(start, placement.put(self.constant), splits=self.splits, ranges=self.ranges)

    def negative(self) -> "Functionals":
        """The functionals times -1."""
        return Functionals({i: -part for i, part in self.start.items()}, -self.constant, self.error)

    def both_sides(self) -> "Functionals":
        """The functionals and then their negatives, along the last of the leading axes."""
        xp = namespace(self.constant)
        start = {i: xp.concat([part, -part], axis=-2) for i, part in self.start.items()}
        error = xp.broadcast_to(self.error, xp.broadcast_arrays(self.error, self.constant)[0].shape)
        return Functionals(
            start, xp.concat([self.constant, -self.constant], axis=-1), xp.concat([error, error], axis=-1)
        )


def certify(
    region: Region,
    functionals: Functionals,
    choose: Choose,
    kinks: Sequence[Sparing | None] = (),
    products: Mapping[int, PassedProduct] | None = None,
) -> tuple[Float[Array, "..."], Backward]:
    """Certified lower bounds D(g) of functionals over a region from any multipliers g, and the sweep behind them.

    g_k is the multiplier of activation k's input, as `Region.plane` uses it; NaN or infinite ones give no bound.
    kinks: as `Region.concretise` takes them; products: as `backward`. Shapes: [...], the leading axes.
    Error: rounded downward; NaN becomes -inf: no bound.
    Reference: DeepSplit, arXiv 2106.09117; Dvijotham et al., arXiv 1803.06567 (the dual).
    """
    sweep = backward(region.network, functionals.start, functionals.constant, choose, products)
    bound = region.concretise(sweep, kinks) - functionals.error
    xp = namespace(bound)
    return xp.where(xp.isnan(bound), xp.full_like(bound, -float("inf")), bound), sweep


def neurons(region: Region, wanted: Int[np.ndarray, "... m"]) -> Functionals:
    """Neurons of a region's last node, [m] of every set or [sets, m], as functionals of the nodes before it.

    The rounding of that first product is their error.
    """
    target, first = region.network.affine[region.network.output], region.magnitudes[-1]
    assert first is not None
    placement = region.inputs.placement
    lead = wanted.shape if wanted.ndim == 2 else (1, len(wanted))
    start: dict[int, Array] = {}
    for term in target.terms:
        rows = term.map.rows_at(wanted.reshape(-1), placement)
        part = placement.xp.reshape(rows, (*lead, rows.shape[-1]))
        start[term.source] = start[term.source] + part if term.source in start else part
    return Functionals(start, _picked(target.bias, wanted), _picked(region.relative_error * first, wanted))


def _picked(array: Array, wanted: np.ndarray) -> Array:
    """The wanted entries of an array [n] or [sets, 1, n], for wanted [m] or [sets, m]."""
    xp, put = namespace(array), Placement.of(array).put_indices
    if wanted.ndim == 1:
        taken = xp.take(array, put(wanted), axis=-1)
        return taken if len(taken.shape) == 1 else taken[..., 0, :]
    size = array.shape[-1]
    own = np.arange(len(wanted))[:, None] * size if len(array.shape) == 3 and array.shape[0] > 1 else 0
    return xp.reshape(xp.take(xp.reshape(array, (-1,)), put((wanted + own).reshape(-1)), axis=0), wanted.shape)
