"""What rows share: input sets, bounds and lines, held once for neighbours that have the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from admm_verify.arrays import Array, Int, namespace, take_rows
from admm_verify.relaxations.lines import Lines
from admm_verify.sets.contract import WalkableSet


@dataclass(frozen=True, eq=False)
class Held:
    """Input sets, pre-activation bounds of all activations and their lines, and which of them every row has.

    owner: None where every row has its own, or all share one.
    Shapes: inputs [sets, n]; lower[k], upper[k] [sets or 1, n_k]; owner [rows].
    """

    inputs: WalkableSet
    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    lines: tuple[Lines, ...]
    owner: Int[Array, " rows"] | None = None

    def of_rows(self, array: Array) -> Array:
        """What is known of every set, [sets or 1, n], row by row."""
        return array if self.owner is None else take_rows(array, self.owner)

    @cached_property
    def joined(self) -> tuple[Array, Array]:
        """Lower and upper bounds of all activations side by side, [sets or 1, all]."""
        count, xp = max(end.shape[0] for end in self.lower), namespace(self.lower[0])
        lower, upper = (
            xp.concat([xp.broadcast_to(end, (count, end.shape[-1])) for end in side], axis=-1)
            for side in (self.lower, self.upper)
        )
        return lower, upper

    def take(self, rows: Array) -> "Held":
        """What the given rows have."""
        if self.owner is not None:
            return replace(self, owner=namespace(rows).take(self.owner, rows, axis=0))
        lower, upper = (rows_of(side, rows) for side in (self.lower, self.upper))
        return Held(self.inputs.take(rows), lower, upper, tuple(line.take(rows) for line in self.lines))


def rows_of(ends: Sequence[Array], owner: Array | None) -> tuple[Array, ...]:
    """Bounds [sets or 1, n_k] of all layers row by row."""
    return tuple(ends) if owner is None else tuple(take_rows(end, owner) for end in ends)
