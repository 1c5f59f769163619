"""Input sets."""

from dataclasses import dataclass

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import InputError


@dataclass(frozen=True, eq=False)
class Box:
    """The set {x : lower <= x <= upper}, or a batch of them.

    Shapes: lower, upper [*input_shape] for one box, [rows, *input_shape] for one per row.
    Raises: InputError for unequal shapes, NaN or infinite ends, or lower > upper (an empty set), naming the index.
    """

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = getattr(self, name)
            array = value if hasattr(value, "shape") and not isinstance(value, tuple) else to_numpy(value)
            xp = namespace(array)
            object.__setattr__(self, name, xp.astype(array, xp.float64))
        if type(self.lower) is not type(self.upper):
            raise InputError(
                f"The box has a lower end of type {type(self.lower).__name__} and an upper end of type "
                f"{type(self.upper).__name__}; give both as arrays of one library."
            )
        if tuple(self.lower.shape) != tuple(self.upper.shape):
            raise InputError(
                f"The box has lower of shape {tuple(self.lower.shape)} and upper of shape {tuple(self.upper.shape)}; "
                "give both the same shape."
            )
        xp = namespace(self.lower, self.upper)
        _refuse(~(xp.isfinite(self.lower) & xp.isfinite(self.upper)), self, "is NaN or infinite; give finite ends")
        _refuse(self.lower > self.upper, self, "makes the box empty; give lower <= upper")

    @classmethod
    def around(
        cls, center: Array, radius: Array | float, within: tuple[Array | float, Array | float] | None = None
    ) -> "Box":
        """The box {x : |x - center| <= radius}, cut with [within[0], within[1]] elementwise.

        Ends are computed in float64 and moved outward by one unit in the last place, so that rounding never loses a
        point of the set.

        Shapes: center [*input_shape] or [rows, *input_shape]; radius a number or an array that broadcasts.
        Raises: InputError for a negative or NaN radius, or when the cut is empty.
        Error: rounded outward.
        """
        placement = Placement.of(center if hasattr(center, "shape") else to_numpy(center)).double
        xp, middle = placement.xp, placement.put(center)
        width = _spread(placement, radius, middle, "radius")
        if not bool(xp.all(width >= 0)):
            raise InputError(f"The radius {radius} is negative or NaN; give numbers >= 0.")
        infinity = xp.full_like(middle, float("inf"))
        lower = xp.where(width > 0, xp.nextafter(middle - width, -infinity), middle)
        upper = xp.where(width > 0, xp.nextafter(middle + width, infinity), middle)
        if within is not None:
            floor, ceiling = (_spread(placement, end, middle, "range within") for end in within)
            lower, upper = xp.maximum(lower, floor), xp.minimum(upper, ceiling)
        return cls(lower, upper)


def _spread(placement: Placement, value: Array | float, middle: Array, what: str) -> Array:
    array = placement.put(to_numpy(value))
    try:
        return placement.xp.broadcast_to(array, middle.shape)
    except (ValueError, RuntimeError):
        raise InputError(
            f"The {what} has shape {tuple(array.shape)}, but the center has {tuple(middle.shape)}."
        ) from None


def _refuse(bad: Array, box: Box, reason: str) -> None:
    found = to_numpy(bad)
    if found.any():
        index = tuple(int(i[0]) for i in found.nonzero())
        low, high = to_numpy(box.lower)[index], to_numpy(box.upper)[index]
        raise InputError(f"At index {index} the interval [{low}, {high}] {reason}.")
