"""The array-API seam: the same lines run on NumPy and torch arrays, and only one place converts.

Nothing here imports torch; a torch array brings its own namespace along.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import array_api_compat
import numpy as np

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Int, Shaped
else:  # importing jaxtyping takes longer than a small query

    class Shaped:
        """Stands for jaxtyping's annotations of dtype and shape where nobody checks them."""

        def __class_getitem__(cls, annotation: tuple[type, str]) -> type:
            return annotation[0]

    Bool = Float = Int = Shaped


@runtime_checkable
class Array(Protocol):
    """An array of any library that follows the Python array API standard."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def device(self) -> Any: ...

    if TYPE_CHECKING:  # torch warns of it where there are not two axes

        @property
        def T(self) -> Any: ...

    def __array__(self) -> np.ndarray: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...
    def __neg__(self) -> Any: ...
    def __abs__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


SameArray = TypeVar("SameArray", bound=Array)
"""An array of one library, of which another one is made."""

DOUBLE_ROUNDOFF = 2.0**-53
"""Unit roundoff u of float64 with rounding to nearest."""

SINGLE_ROUNDOFF = 2.0**-24
"""Unit roundoff u of float32 with rounding to nearest."""


def namespace(*arrays: Array) -> Any:
    """The array-API namespace that the arrays share."""
    # The general look-up takes as long as a small operation.
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_api_compat.array_namespace(*arrays)
    return _NUMPY


_HEAVY = {"char", "ctypeslib", "f2py", "ma", "polynomial", "rec", "testing"}


def _numpy_namespace() -> Any:
    """NumPy's namespace, for which all is looked up that NumPy names.

    Of a compiler of Fortran, test tools, masked arrays and the like, which NumPy imports when they are looked up, it is
    spared the names: they take as long to import as all the rest of NumPy.
    """
    numpy: Any = np
    listed, told = numpy.__all__, numpy.__dir__
    left = [name for name in listed if name not in _HEAVY]
    numpy.__all__, numpy.__dir__ = left, lambda: left
    try:
        return array_api_compat.array_namespace(np.zeros(0))
    finally:
        numpy.__all__, numpy.__dir__ = listed, told


_NUMPY = _numpy_namespace()


SMALLEST = 2.0**-1074
"""Smallest positive float64: no product loses more than half of it to underflow."""


def quiet_overflow() -> np.errstate:
    """A context in which NumPy does not warn of overflow and NaN, which every reported number is checked for."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")


def gamma(count: float, roundoff: float = DOUBLE_ROUNDOFF) -> float:
    """Bound on the relative error of `count` successive roundings.

    gamma_n = n u / (1 - n u), which covers sums and dot products of n terms in any order of summation.

    Valid when: n u < 1; otherwise the result is infinite, so that a bound built on it is useless but never wrong.
    Reference: Higham, Accuracy and Stability of Numerical Algorithms, Lemma 3.1.
    """
    product = count * roundoff
    return product / (1.0 - product) if product < 1.0 else float("inf")


@dataclass(frozen=True)
class Placement:
    """Where arrays live and in which precision: library namespace, floating dtype and device."""

    xp: Any
    dtype: Any
    device: Any

    @classmethod
    def of(cls, array: Array, dtype: Any = None) -> "Placement":
        """The placement of an existing array, with another dtype if one is given."""
        return cls(namespace(array), array.dtype if dtype is None else dtype, array_api_compat.device(array))

    @classmethod
    def numpy(cls, dtype: Any = np.float64) -> "Placement":
        """NumPy on the host; in float64 this is the reference every other placement is compared with."""
        return cls.of(np.zeros(0), np.dtype(dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        # Modules cannot be pickled; an array that lives there can.
        return Placement.of, (self.xp.zeros(0, dtype=self.dtype, device=self.device),)

    @property
    def is_numpy(self) -> bool:
        """Whether arrays here are NumPy's."""
        return array_api_compat.is_numpy_namespace(self.xp)

    @property
    def on_gpu(self) -> bool:
        """Whether arrays here are on a CUDA device."""
        return str(self.device).startswith("cuda")

    @property
    def fastest(self) -> "Placement":
        """NumPy for arrays of any library on the host, else the same place.

        NumPy's products, convolutions and kernels took less time than torch's there, from one row to many hundreds:
        half of it for few rows.
        """
        there = self.is_numpy or str(self.device) != "cpu"
        return self if there else Placement.numpy(str(self.dtype).removeprefix("torch."))

    @property
    def double(self) -> "Placement":
        """The same library and device in float64."""
        return Placement(self.xp, self.xp.float64, self.device)

    @property
    def single(self) -> "Placement":
        """The same library and device in float32."""
        return Placement(self.xp, self.xp.float32, self.device)

    def put(self, array: Array) -> Array:
        """The array moved here, infinite where a number is too large; no copy where it already is here."""
        if isinstance(array, np.ndarray):
            with quiet_overflow():
                return self.xp.asarray(self._taken(array), dtype=self.dtype, device=self.device)
        if namespace(array) is self.xp:
            return array_api_compat.to_device(self.xp.astype(array, self.dtype, copy=False), self.device)
        return self.put(to_numpy(array))

    def directed(self, array: Array, up: bool) -> Array:
        """An array in float64 moved here, rounded up or down and never the other way."""
        nearest, exact = self.put(array), self.double.put(array)
        there = self.double.put(nearest)
        target = self.xp.full_like(nearest, float("inf") if up else -float("inf"))
        wrong = there < exact if up else there > exact
        return self.xp.where(wrong, self.xp.nextafter(nearest, target), nearest)

    def put_indices(self, indices: Array | Sequence[int]) -> Array:
        """An integer array moved here as int64."""
        return self.xp.asarray(self._taken(to_numpy(indices)), dtype=self.xp.int64, device=self.device)

    def put_flags(self, flags: Array) -> Array:
        """An array of truth values moved here."""
        return self.xp.asarray(self._taken(to_numpy(flags)), dtype=self.xp.bool, device=self.device)

    def _taken(self, array: np.ndarray) -> np.ndarray:
        """The array, or a copy where another library than NumPy would not take it."""
        if self.is_numpy:
            return array
        plain = array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0
        return array if plain else array.astype(array.dtype.newbyteorder("="), order="C")


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy view or copy of any array, a sequence of numbers or a number."""
    if array_api_compat.is_torch_array(array):
        return array.detach().cpu().numpy()
    if array_api_compat.is_cupy_array(array):
        return array.get()
    return np.asarray(array)


def host_copies(arrays: Sequence[Array | None]) -> list[np.ndarray]:
    """NumPy views or copies of arrays, none of the absent ones; those of one dtype on a GPU come in one copy, for
    which the host waits once.
    """
    present = [array for array in arrays if array is not None]
    if not present or not all(Placement.of(array).on_gpu for array in present):
        return [to_numpy(array) for array in present]
    found: list[np.ndarray] = [np.zeros(0)] * len(present)
    for dtype in {str(array.dtype) for array in present}:
        own = [i for i, array in enumerate(present) if str(array.dtype) == dtype]
        xp = namespace(*(present[i] for i in own))
        joined = to_numpy(xp.concat([xp.reshape(present[i], (-1,)) for i in own], axis=0))
        ends = np.cumsum([prod(present[i].shape) for i in own])
        for i, part in zip(own, np.split(joined, ends[:-1]), strict=True):
            found[i] = part.reshape(present[i].shape)
    return found


def own_copy(array: SameArray) -> SameArray:
    """A copy in the same place, without gradients."""
    plain = array.detach() if array_api_compat.is_torch_array(array) else array
    return namespace(plain).asarray(plain, copy=True)


def take_rows(array: Array, rows: Array) -> Array:
    """The given rows of an array whose first axis counts rows; an array of one shared row stays as it is."""
    return array if array.shape[0] == 1 else namespace(array).take(array, rows, axis=0)


def select_rows(condition: Array, chosen: Array, otherwise: Array) -> Array:
    """Row-wise choice between two arrays [rows, n]: chosen where the condition [rows] holds, otherwise the other."""
    if isinstance(condition, np.ndarray) and chosen.shape == otherwise.shape and chosen.dtype == otherwise.dtype:
        # Most often all rows agree, which on the host costs nothing to see.
        if condition.all():
            return chosen
        if not condition.any():
            return otherwise
    xp = namespace(condition)
    return xp.where(xp.reshape(condition, (-1,) + (1,) * (len(chosen.shape) - 1)), chosen, otherwise)


def spread(part: Array, places: np.ndarray, size: int, filler: float = 0.0, axis: int = 0) -> Array:
    """An array of some size along an axis with the parts of another, not empty one at given places, else a filler."""
    xp, index = namespace(part), np.full(size, len(places), dtype=np.int64)
    index[places] = np.arange(len(places))
    put = Placement.of(part).put_indices
    edge = xp.full_like(xp.take(part, put(np.zeros(1, dtype=np.int64)), axis=axis), filler)
    return xp.take(xp.concat([part, edge], axis=axis), put(index), axis=axis)


def scattered(part: Array, places: Array, size: int, filler: float = 0.0) -> Array:
    """An array with so many rows, with those of another at places that live where it does, else a filler."""
    found = namespace(part).full((size, *part.shape[1:]), filler, dtype=part.dtype, device=part.device)
    found[places] = part
    return found


def inner(coefficient: Array, vector: Array) -> Array:
    """sum over the last axis of coefficient * vector, as a matrix product where the vector is shared.

    Shapes: coefficient [..., n]; vector [n], or [..., n] with leading axes that are 1 or equal -> [...].
    """
    xp = namespace(coefficient, vector)
    lead = tuple(vector.shape[:-1])
    if all(size == 1 for size in lead) and len(lead) <= len(coefficient.shape):
        return coefficient @ xp.reshape(vector, (-1,))
    if len(lead) == len(coefficient.shape) - 1 == 2 and lead[1] == 1 and lead[0] == coefficient.shape[0]:
        return (coefficient @ xp.permute_dims(vector, (0, 2, 1)))[..., 0]
    return xp.sum(coefficient * vector, axis=-1)
