"""What a search asks of a way of splitting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from admm_verify.complete.disjuncts import Disjuncts
from admm_verify.complete.pool import Nodes
from admm_verify.complete.tables import take

Kind = TypeVar("Kind", bound=Nodes)


@dataclass(frozen=True, eq=False)
class Closed:
    """Subproblems that are excluded, with what proves it: an atom or a sum of atoms, slopes and multipliers of splits.

    weights: of the atoms; their weighted sum is positive all over, or not negative where it is a single strict one.
    splits: +-(1 + number) of what was split, from the root on, then zeros.
    Shapes: disjunct [n]; weights [n, atoms]; splits, beta [n, depth]; slopes [n, slopes].
    """

    disjunct: np.ndarray
    weights: np.ndarray
    splits: np.ndarray
    beta: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class Grown(Generic[Kind]):
    """What became of some subproblems: those that stay open, those excluded, and inputs at which bounds are attained.

    offset: of the atoms, less what the network's own arithmetic can take even at the point alone.
    Shapes: points [points, inputs]; disjunct [points], the disjunct each point is to satisfy; offset [points, atoms].
    """

    open: Kind
    closed: Closed
    points: np.ndarray
    disjunct: np.ndarray
    offset: np.ndarray


def extended(path: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Paths with one more split each, in the first column that is still zero.

    Shapes: path [n, depth]; code [n] -> [n, depth + 1 or less].
    """
    length = (path != 0).sum(axis=1)
    depth = int(length.max(initial=0)) + 1
    longer = np.zeros((len(path), depth), dtype=path.dtype)
    held = min(depth, path.shape[1])
    longer[:, :held] = path[:, :held]
    longer[np.arange(len(path)), length] = code
    return longer


def closed(
    disjuncts: Disjuncts,
    disjunct: np.ndarray,
    excluded: np.ndarray,
    atoms: np.ndarray,
    splits: np.ndarray,
    beta: np.ndarray | None,
    slopes: Sequence[np.ndarray],
) -> Closed:
    """What is excluded, by the atom with the largest bound among those that exclude it.

    Shapes: disjunct [parts]; excluded, atoms [parts, atoms]; splits [parts, depth]; beta [parts, atoms, depth], None
    for none; slopes[k] [parts, atoms, slopes_k].
    """
    gone = np.flatnonzero(excluded.any(axis=1))
    best = np.where(excluded, atoms, -np.inf).argmax(axis=1)[gone]
    # A network without activations has no slopes at all.
    none = np.zeros((len(gone), 0), dtype=np.float32)
    chosen = np.concatenate([none, *(slope[gone, best] for slope in slopes)], axis=-1)
    # Slopes of curves may be beyond float32, where any other one is as sound.
    limit = np.finfo(np.float32).max
    chosen = np.clip(chosen, -limit, limit).astype(np.float32)
    own = np.zeros((len(gone), splits.shape[1]), dtype=np.float32) if beta is None else beta[gone, best]
    # Disjuncts with fewer atoms than others repeat their last one.
    atom = np.minimum(best, disjuncts.count[disjunct[gone]] - 1)
    weights = np.eye(disjuncts.atoms, dtype=np.float32)[atom]
    return Closed(disjuncts.number[disjunct[gone]], weights, splits[gone], own, chosen)


def none_left(disjuncts: Disjuncts, nodes: Kind, splits: np.ndarray) -> Grown[Kind]:
    """What becomes of subproblems that are all empty; where that is used nothing is recorded.

    Shapes: splits [nodes, depth].
    """
    nothing, none = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32)
    proof = Closed(nothing, np.zeros((0, disjuncts.atoms), dtype=np.float32), splits[:0], none, none)
    points = np.zeros((0, disjuncts.inputs.size))
    return Grown(take(nodes, nothing), proof, points, nothing, disjuncts.offset[nothing])


class Splitter(Protocol[Kind]):
    """Makes subproblems and bounds them. Raises: Stopped once asked to."""

    @property
    def disjuncts(self) -> Disjuncts:
        """What is to be excluded."""
        ...

    @property
    def columns(self) -> list[np.ndarray]:
        """The entries of every activation whose slopes come with what is excluded."""
        ...

    def root(self) -> Grown[Kind]:
        """The disjuncts as they are."""
        ...

    def expand(self, nodes: Kind) -> Grown[Kind]:
        """The parts of some open subproblems."""
        ...
