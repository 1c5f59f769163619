"""One matrix along one axis of a tensor, the same for all places along the others, as in products of sequences."""

from dataclasses import dataclass, replace

import numpy as np

from admm_verify.arrays import Array, Placement, namespace
from admm_verify.network.maps import DenseMap


@dataclass(frozen=True, eq=False)
class BlockMap:
    """y[o, :, i] = W x[o, :, i] for every o < outer and i < inner.

    Shapes: weight [m, k], flat x [outer k inner] -> [outer m inner]; magnitude as the weight, where that is a merged
    product.
    """

    weight: Array
    outer: int
    inner: int = 1
    magnitude: Array | None = None
    roundings: int = 0

    def __post_init__(self) -> None:
        # Both directions sum along an axis of the weight.
        object.__setattr__(self, "roundings", max(self.roundings, *self.weight.shape))

    @property
    def rows(self) -> int:
        return self.outer * self.weight.shape[0] * self.inner

    @property
    def columns(self) -> int:
        return self.outer * self.weight.shape[1] * self.inner

    @property
    def multiplications(self) -> int:
        return self.outer * self.inner * self.weight.shape[0] * self.weight.shape[1]

    @property
    def numbers(self) -> tuple[Array, ...]:
        return (self.weight,)

    def apply(self, x: Array) -> Array:
        return self._along(self.weight, x)

    def transpose(self, y: Array) -> Array:
        return self._along(self.weight.T, y)

    def absolute_apply(self, x: Array) -> Array:
        return self._along(namespace(x).abs(self.weight), x)

    def magnitude_apply(self, x: Array) -> Array:
        return self.absolute_apply(x) if self.magnitude is None else self._along(self.magnitude, x)

    def absolute_transpose(self, y: Array) -> Array:
        return self._along(namespace(y).abs(self.weight).T, y)

    def magnitude_transpose(self, y: Array) -> Array:
        return self.absolute_transpose(y) if self.magnitude is None else self._along(self.magnitude.T, y)

    def rows_at(self, wanted: np.ndarray, placement: Placement) -> Array:
        unit = np.zeros((len(wanted), self.rows))
        unit[np.arange(len(wanted)), wanted] = 1.0
        return self.transpose(placement.put(unit))

    def with_roundings(self, count: int) -> "BlockMap":
        return replace(self, roundings=count)

    def put(self, placement: Placement) -> "BlockMap":
        magnitude = None if self.magnitude is None else placement.put(self.magnitude)
        return replace(self, weight=placement.put(self.weight), magnitude=magnitude)

    def dense(self) -> DenseMap:
        magnitude = None if self.magnitude is None else self._spread(self.magnitude)
        return DenseMap(self._spread(self.weight), magnitude, self.roundings)

    def like(self, other: object) -> bool:
        """Whether another map acts along the same axis of the same places."""
        return isinstance(other, BlockMap) and (self.outer, self.inner) == (other.outer, other.inner)

    def _spread(self, weight: Array) -> np.ndarray:
        return np.kron(np.eye(self.outer), np.kron(np.asarray(weight), np.eye(self.inner)))

    def _along(self, weight: Array, x: Array) -> Array:
        xp, lead = namespace(x), x.shape[:-1]
        m, k = weight.shape
        if self.inner == 1:
            return xp.reshape(xp.reshape(x, (-1, k)) @ weight.T, (*lead, self.outer * m))
        return xp.reshape(weight @ xp.reshape(x, (-1, k, self.inner)), (*lead, self.outer * m * self.inner))
