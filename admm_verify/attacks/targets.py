"""What attacks look for: points of boxes at which linear functionals of the network's output are all at most zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.properties.rows import AtomRows


@dataclass(frozen=True, eq=False)
class Targets:
    """One target per row: x with lower <= x <= upper and objective[j] f(x) + offset[j] <= 0 for every atom j.

    The loss of a point is the largest of its atoms' values; the point is a hit where that is <= 0, < 0 where strict.
    All arrays are of one library and, but for strict, of one dtype, in which attacks compute.

    Shapes: lower, upper [targets, inputs]; objective [targets, atoms, outputs]; offset [targets, atoms]; strict
    [targets], false if not given. A target with fewer atoms than others repeats one of its own.
    Raises: InputError for shapes that do not fit, no target or atom at all, ends that are NaN or infinite, and
    lower > upper.
    """

    lower: Array
    upper: Array
    objective: Array
    offset: Array
    strict: Array = None

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "objective", "offset"):
            object.__setattr__(self, name, plain_array(getattr(self, name), f"targets' {name}"))
        xp = namespace(self.lower, self.upper, self.objective, self.offset)
        count, atoms = (*self.objective.shape, 0, 0)[:2]
        fits = (
            len(self.lower.shape) == 2
            and len(self.objective.shape) == 3
            and tuple(self.upper.shape) == tuple(self.lower.shape)
            and tuple(self.offset.shape) == (count, atoms)
            and self.lower.shape[0] == count
            and count * atoms * self.lower.shape[1] > 0
        )
        if not fits:
            raise InputError(
                f"Targets have ends of shapes {tuple(self.lower.shape)} and {tuple(self.upper.shape)}, objective "
                f"{tuple(self.objective.shape)} and offset {tuple(self.offset.shape)}; expected are twice [targets, "
                "inputs], then [targets, atoms, outputs] and [targets, atoms], none of them empty."
            )
        finite = xp.isfinite(self.lower) & xp.isfinite(self.upper)
        if not bool(xp.all(finite & (self.lower <= self.upper))):
            raise InputError("A target's box is empty or has NaN or infinite ends; give finite lower <= upper.")
        if self.strict is None:
            object.__setattr__(self, "strict", xp.zeros_like(self.offset[:, 0], dtype=xp.bool))

    @classmethod
    def of(cls, rows: AtomRows, disjuncts: Sequence[int], dtype: Any = np.float32) -> "Targets":
        """One target per chosen disjunct of a property, its box rounded inward to numbers of dtype.

        A side of a box without any such number becomes the next one above it, beside the box.

        Raises: InputError where no disjunct is chosen.
        """
        if not len(disjuncts):
            raise InputError("No disjunct was chosen to attack; give at least one.")
        padded = rows.padded(disjuncts)
        # Disjuncts without atoms hold everywhere and name no box; verdicts on them need no attack, and any box will do.
        bare = padded[:, 0] < 0
        box = np.where(bare, 0, rows.box[padded[:, 0]]) if len(rows.box) else np.zeros(len(padded), dtype=np.int64)
        count, atoms = padded.shape
        objective = np.zeros((count, atoms, rows.objective.shape[1]), dtype)
        offset, strict = np.zeros((count, atoms), dtype), np.zeros(count, dtype=bool)
        own = padded[~bare]
        with quiet_overflow():
            objective[~bare], offset[~bare] = rows.objective[own], rows.offset[own]
        strict[~bare] = rows.strict[own].any(axis=1)
        lower = _rounded(rows.boxes_lower[box], dtype, np.inf)
        upper = np.maximum(_rounded(rows.boxes_upper[box], dtype, -np.inf), lower)
        return cls(lower, upper, objective, offset, strict)

    def __len__(self) -> int:
        return self.lower.shape[0]

    @property
    def inputs(self) -> int:
        """Length of a point."""
        return self.lower.shape[1]

    @property
    def half(self) -> Array:
        """Half the widths of the boxes, [targets, inputs]; no overflow even for the widest boxes."""
        return 0.5 * self.upper - 0.5 * self.lower

    @property
    def centre(self) -> Array:
        """The centres of the boxes, [targets, inputs]."""
        return self.clip((0.5 * self.lower + 0.5 * self.upper)[:, None, :])[:, 0, :]

    def clip(self, points: Array) -> Array:
        """The nearest points of the boxes, [targets, points, inputs]."""
        xp = namespace(points)
        return xp.minimum(xp.maximum(points, self.lower[:, None, :]), self.upper[:, None, :])

    def stepped(self, points: Array, step: Array | float, direction: Array) -> Array:
        """clip(points + step half sign(direction)), where the sign of NaN is 0.

        Shapes: points, direction [targets, points, inputs]; step a number or [targets, points, 1].
        """
        xp = namespace(points)
        signs = xp.astype(direction > 0, points.dtype) - xp.astype(direction < 0, points.dtype)
        # In this order, no step is the product of infinity and zero.
        return self.clip(points + (step * signs) * self.half[:, None, :])

    def scaled(self) -> "Targets":
        """The same targets with every atom's value divided by the length |objective[j]|, where that is not zero."""
        xp = namespace(self.objective)
        length = xp.sqrt(xp.sum(self.objective * self.objective, axis=-1))
        length = xp.where(length > 0, length, xp.ones_like(length))
        return Targets(self.lower, self.upper, self.objective / length[..., None], self.offset / length, self.strict)

    def hit(self, loss: Array) -> Array:
        """Where a loss [targets] says that the target is reached."""
        return (loss < 0) | ((loss == 0) & ~self.strict)

    def take(self, rows: Array) -> "Targets":
        """The targets of the given numbers, an index array of any library."""
        index = Placement.of(self.lower).put_indices(rows)
        xp = namespace(self.lower)
        parts = (self.lower, self.upper, self.objective, self.offset, self.strict)
        return Targets(*(xp.take(part, index, axis=0) for part in parts))


@dataclass(frozen=True, eq=False)
class Found:
    """The best point seen per target and its loss, as the network computed it there; infinite where none was finite.

    Shapes: x [targets, inputs], inside the boxes; loss [targets].
    """

    x: Array
    loss: Array


def _rounded(ends: np.ndarray, dtype: Any, toward: float) -> np.ndarray:
    """float64 ends as dtype, never rounded away from `toward`, and finite."""
    with np.errstate(over="ignore"):
        nearest = np.asarray(ends).astype(dtype)
    moved = np.nextafter(nearest, np.asarray(toward, dtype))
    wrong = nearest < ends if toward > 0 else nearest > ends
    largest = np.finfo(dtype).max
    return np.clip(np.where(wrong, moved, nearest), -largest, largest)
