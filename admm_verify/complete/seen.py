"""What a search on the host sees of bounds, wherever these were computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import Array, Placement, host_copies, namespace
from admm_verify.bounds.functionals import FreeEnds, Splits
from admm_verify.bounds.relaxed import Bounded


@dataclass(frozen=True, eq=False)
class Seen:
    """Certified bounds of parts, where their planes are least, the planes, slopes that can be chosen, and, where asked
    for, the inputs of all activations and the coefficients of their outputs, and multipliers of what was split.

    Shapes: lower [parts, rows]; vertices, plane [parts, rows, inputs]; slopes[k] [parts, rows, chosen of k]; pre[k]
    [parts, rows or 1, n_k]; post[k] [parts, rows, n_k] or None; beta[k], tau[k] as they were given.
    """

    lower: np.ndarray
    vertices: np.ndarray
    plane: np.ndarray
    slopes: list[np.ndarray]
    pre: list[np.ndarray]
    post: list[np.ndarray | None]
    beta: list[np.ndarray | None]
    tau: list[np.ndarray | None]

    @classmethod
    def of(
        cls,
        bounded: Bounded,
        columns: Sequence[np.ndarray],
        pre: Sequence[Array] = (),
        splits: Sequence[Splits | None] = (),
        ranges: Sequence[FreeEnds | None] = (),
    ) -> "Seen":
        """columns: the slopes of every activation that can be chosen; pre: none for neither these nor coefficients."""
        slopes = [_chosen(slope, own) for slope, own in zip(bounded.slopes, columns, strict=True)]
        post = list(bounded.sweep.post) if pre else []
        beta = [None if split is None else split.beta for split in splits]
        tau = [None if ends is None else ends.tau for ends in ranges]
        first = [bounded.lower, bounded.vertices, bounded.sweep.input]
        # All of it at once: a GPU's host waits for every copy.
        everything = [*first, *slopes, *pre, *post, *beta, *tau]
        copies = iter(host_copies(everything))
        found = [None if array is None else next(copies) for array in everything]
        lower, vertices, plane, *left = found
        assert lower is not None and vertices is not None and plane is not None, "these are always there"
        parts: list[list[np.ndarray | None]] = []
        for group in (slopes, pre, post, beta, tau):
            parts.append(left[: len(group)])
            left = left[len(group) :]
        chosen, inputs = ([array for array in part if array is not None] for part in parts[:2])
        return cls(lower, vertices, plane, chosen, inputs, *parts[2:])


def _chosen(slope: Array, columns: np.ndarray) -> Array:
    """The slopes in some columns: all of them as they are."""
    if len(columns) == slope.shape[-1]:
        return slope
    return namespace(slope).take(slope, Placement.of(slope).put_indices(columns), axis=-1)
