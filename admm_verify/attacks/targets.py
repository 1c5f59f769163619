"""What attacks look for: points of sets at which linear functionals of the network's output are all at most zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import Array, Placement, namespace, quiet_overflow
from admm_verify.errors import InputError
from admm_verify.given import plain_array
from admm_verify.options import instance
from admm_verify.properties.rows import AtomRows
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False)
class Targets:
    """One target per row: x in inputs with objective[j] f(x) + offset[j] <= 0 for every atom j.

    The loss of a point is the largest of its atoms' values; the point is a hit where that is <= 0, < 0 where strict.
    All arrays are of one library and, but for strict, of the objective's floating type, in which attacks compute; what
    inputs of another type become is inside the ones given.

    Shapes: inputs [targets, n]; objective [targets, atoms, outputs]; offset [targets, atoms]; strict [targets], false
    if not given. A target with fewer atoms than others repeats one of its own.
    Raises: InputError for what is no set of inputs, shapes that do not fit, and no target or atom at all.
    """

    inputs: WalkableSet
    objective: Array
    offset: Array
    strict: Any = None

    def __post_init__(self) -> None:
        inputs = instance(self.inputs, WalkableSet, "The targets' inputs")
        for name in ("objective", "offset"):
            array = plain_array(getattr(self, name), f"targets' {name}")
            if not (own := namespace(array)).isdtype(array.dtype, "real floating"):
                array = own.astype(array, own.float64)
            object.__setattr__(self, name, array)
        xp = namespace(self.objective, self.offset)
        count, atoms = (*self.objective.shape, 0, 0)[:2]
        fits = (
            inputs.lead == (count,)
            and len(self.objective.shape) == 3
            and tuple(self.offset.shape) == (count, atoms)
            and count * atoms * inputs.size > 0
        )
        if not fits:
            raise InputError(
                f"Targets have inputs of shape {(*inputs.lead, inputs.size)}, objective {tuple(self.objective.shape)} "
                f"and offset {tuple(self.offset.shape)}; expected are [targets, inputs], [targets, atoms, outputs] and "
                "[targets, atoms], none of them empty."
            )
        placement = Placement.of(self.objective)
        if inputs.placement != placement:
            object.__setattr__(self, "inputs", inputs.inward(placement))
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
        return cls(rows.inputs.at(box), objective, offset, strict)

    def put(self, place: Placement) -> "Targets":
        """The same targets in another place."""
        inputs = self.inputs if self.inputs.placement == place else self.inputs.put(place)
        return Targets(inputs, place.put(self.objective), place.put(self.offset), place.put_flags(self.strict))

    def __len__(self) -> int:
        return self.inputs.count

    @cached_property
    def spread(self) -> WalkableSet:
        """The inputs, for points [targets, points, n]."""
        return self.inputs.spread()

    def scaled(self) -> "Targets":
        """The same targets with every atom's value divided by the length |objective[j]|, where that is not zero."""
        xp = namespace(self.objective)
        length = xp.sqrt(xp.sum(self.objective * self.objective, axis=-1))
        length = xp.where(length > 0, length, xp.ones_like(length))
        return Targets(self.inputs, self.objective / length[..., None], self.offset / length, self.strict)

    def hit(self, loss: Array) -> Array:
        """Where a loss [targets] says that the target is reached."""
        return (loss < 0) | ((loss == 0) & ~self.strict)

    def take(self, rows: Array) -> "Targets":
        """The targets of the given numbers, an index array of any library."""
        index = self.inputs.placement.put_indices(rows)
        parts = (self.objective, self.offset, self.strict)
        return Targets(self.inputs.at(index), *(part[index] for part in parts))


@dataclass(frozen=True, eq=False)
class Found:
    """The best point seen per target and its loss, as the network computed it there; infinite where none was finite.

    Shapes: x [targets, inputs], inside the sets, up to rounding where they are no boxes; loss [targets].
    """

    x: Array
    loss: Array
