"""Functionals that ellipsoids and zonotopes share out best between themselves and a box that cuts them."""

from admm_verify.arrays import Array, Bool, Float, namespace, quiet_overflow
from admm_verify.sets.contract import Vectors
from admm_verify.sets.dual_simplex import solve_programs
from admm_verify.sets.images import along, applied

_MOST_SIDES = 32
"""Inputs that the box cuts: with more of them cutting planes take less than systems of that size."""

_STEPS = 12
"""Changes of the sides that a minimiser lies on; two to four are common."""

_REGULAR = 2.0**-40
"""What is added to the diagonal of correlation matrices, so that inputs may depend on each other."""

Shared = tuple[Vectors, Vectors, Bool[Array, "..."]]
"""The box's share of functionals, points near to minimisers, and whether both were found."""


def zonotope_share(center: Vectors, generators: Array, ends: tuple[Vectors, Vectors], coefficient: Vectors) -> Shared:
    """Of a linear program over z whose rows are the box's sides, the multipliers are the box's share.

    Shapes: generators [..., n, symbols].
    """
    xp, (lower, upper), cost = namespace(coefficient), ends, along(coefficient, generators)
    length = xp.max(xp.abs(generators), axis=-1)
    length = xp.where(length > 0, length, xp.ones_like(length))
    scaled, scale = generators / length[..., None], xp.max(xp.abs(cost), axis=-1, keepdims=True)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    rows = xp.concat([scaled, -scaled], axis=-2)
    rooms = xp.concat([(upper - center) / length, (center - lower) / length], axis=-1)
    one = xp.ones_like(generators[..., 0, :])
    z, mu = solve_programs(cost / scale, (-one, one), rows, rooms)
    n, x = coefficient.shape[-1], center + applied(generators, z)
    share = scale * (mu[..., n:] - mu[..., :n]) / length
    return share, xp.minimum(xp.maximum(x, lower), upper), xp.ones_like(share[..., 0], dtype=xp.bool)


def ellipsoid_share(
    center: Vectors, matrix: Array, ends: tuple[Vectors, Vectors], coefficient: Vectors
) -> Shared | None:
    """An active-set method: the slice of an ellipsoid by some sides of the box is an ellipsoid again, where minimiser
    and multipliers have closed forms; sides with a multiplier of the wrong sign leave, those that are passed join.

    Shapes: matrix [..., n, n], the shape. None where the box cuts too many inputs.
    Reference: Hintermüller, Ito and Kunisch, The primal-dual active set strategy as a semismooth Newton method, SIAM J.
    Optim. 13 (2003).
    """
    xp, search = namespace(coefficient), _Slices(center, matrix, ends, coefficient)
    if not search.sides or search.sides > _MOST_SIDES:
        return None
    with quiet_overflow():
        for _ in range(_STEPS):
            if search.step():
                break
    fine = xp.all(xp.isfinite(search.share), axis=-1)
    x = xp.minimum(xp.maximum(search.x, ends[0]), ends[1])
    known = (fine & xp.all(xp.isfinite(x), axis=-1))[..., None]
    share = xp.where(known, search.share, xp.zeros_like(search.share))
    x = xp.where(known, x, xp.minimum(xp.maximum(center + 0.0 * x, ends[0]), ends[1]))
    return share, x, search.settled & known[..., 0]


class _Slices:
    """Sides that the minimisers of some functionals are on, in units of the ellipsoid's half widths.

    Shapes: cost, x, share [..., n]; side [..., k] of the cut inputs: -1 for the lower one, 1 for the upper one, 0.
    """

    def __init__(self, center: Vectors, matrix: Array, ends: tuple[Vectors, Vectors], coefficient: Vectors) -> None:
        xp = self.xp = namespace(coefficient)
        width = xp.sqrt(xp.maximum(xp.linalg.diagonal(matrix), xp.zeros_like(center)))
        self.width = xp.where(width > 0, width, xp.ones_like(width))
        self.center, self.cost = center, coefficient * self.width
        self.shape = matrix / self.width[..., :, None] / self.width[..., None, :]
        below, above = ((end - center) / self.width for end in ends)
        cut = xp.reshape((below > -1.0) | (above < 1.0), (-1, center.shape[-1]))
        self.own = xp.nonzero(xp.any(cut, axis=0))[0]
        self.sides = int(self.own.shape[0])
        if not self.sides:
            return
        self.below, self.above = (self._pick(part + 0.0 * self.cost) for part in (below, above))
        self.across = xp.take(self.shape, self.own, axis=-1)
        self.inner = xp.take(self.across, self.own, axis=-2)
        self.eye = xp.eye(self.sides, dtype=matrix.dtype, device=matrix.device)
        self.ridge = max(_REGULAR, 8.0 * float(xp.finfo(matrix.dtype).eps))
        self.side = xp.zeros_like(self.below)
        self.along = applied(self.shape, self.cost)
        self.settled = xp.zeros_like(self.side[..., 0], dtype=xp.bool)
        self.x = self.share = xp.zeros_like(self.cost)

    def _pick(self, x: Vectors) -> Float[Array, "... k"]:
        return self.xp.take(x, self.own, axis=-1)

    def step(self) -> bool:
        """Slice by the present sides, and change them; whether nothing was left to change."""
        xp, on = self.xp, self.side != 0
        held = xp.astype(on, self.cost.dtype)
        place = xp.where(self.side > 0, self.above, self.below) * held
        system = self.inner * held[..., :, None] * held[..., None, :]
        system = system + (self.ridge + 1.0 - held)[..., None] * self.eye
        known = xp.all(xp.isfinite(system), axis=(-2, -1), keepdims=True)
        inverse = xp.linalg.inv(xp.where(known, system, self.eye))
        # Of the slice: the centre, what is left of the radius' square, and the shape's product with the functional.
        lean, own = applied(inverse, place) * held, applied(inverse, self._pick(self.along) * held) * held
        left = 1.0 - xp.sum(place * lean, axis=-1, keepdims=True)
        fall = self.along - applied(self.across, own)
        steep = xp.sum(self.cost * fall, axis=-1, keepdims=True)
        tiny = xp.finfo(self.cost.dtype).smallest_normal
        rate = xp.sqrt(xp.maximum(left, 0.0 * left) / xp.maximum(steep, 0.0 * steep + tiny))
        x = applied(self.across, lean) - rate * fall
        # S (c - d) = -(x - centre) / rate on the sides.
        pull = own + lean / xp.where(rate > 0, rate, rate + 1.0)
        here = self._pick(x)
        over = xp.where(here > self.above, 1.0 + 0.0 * here, xp.where(here < self.below, -1.0 + 0.0 * here, 0.0 * here))
        thin = self.above <= self.below
        side = xp.where(on, xp.where((pull * self.side < 0) | thin, self.side, 0.0 * self.side), over)
        self.x = xp.where(self.settled[..., None], self.x, self.center + self.width * x)
        self._share(xp.where(on, pull, xp.zeros_like(pull)))
        self.settled = self.settled | (xp.all(side == self.side, axis=-1) & (left[..., 0] > 0))
        self.side = xp.where(self.settled[..., None], self.side, side)
        return bool(xp.all(self.settled))

    def _share(self, pull: Float[Array, "... k"]) -> None:
        xp = self.xp
        full = xp.sum(
            pull[..., None] * xp.astype(self.own[:, None] == xp.arange(self.cost.shape[-1]), pull.dtype), axis=-2
        )
        self.share = xp.where(self.settled[..., None], self.share, full / self.width)
