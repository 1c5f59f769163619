"""What a certificate holds: all that a checker needs to prove again that a query has no solution."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from admm_verify.errors import CertificateError
from admm_verify.options import brief
from admm_verify.reprs import short_repr

ARITHMETICS = ("real", "float32", "float64")

KINDS = ("neuron", "input")
"""What the leaves' paths split."""


@dataclass(frozen=True, eq=False)
class Tightening:
    """Better bounds of some entries of one affine node over one box: slopes of the lines behind them.

    box: its number, in the order in which the property's disjuncts first use boxes. node: index in the network.
    columns: per activation of the network in graph order the entries whose slopes are given; all others, and those of
    activations that are not below the node, take the rule's. An activation with a line of its own on each side has
    2 n_k slopes, those below before those above.

    Shapes: neurons [m] int32; columns[k] [c_k] int32; lower (of the entries), upper (of their negatives) [m, sum c_k]
    float32.
    """

    box: int
    node: int
    neurons: np.ndarray
    columns: tuple[np.ndarray, ...]
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, eq=False)
class Leaves:
    """Parts of the disjuncts' boxes, each with an atom, or a sum of atoms, that cannot hold there.

    goal: number of the disjunct. atom: position in it; from its number of atoms on, that of a combination. splits: the
    path from the root, padded with zeros at its end; +-(1 + i) fixes the sign of neuron i, counted over all activations
    in graph order, or takes the upper or lower half of input i. beta: multipliers of fixed signs. slopes: as
    `Certificate.columns` says.

    Shapes: goal, atom [leaves] int32; splits [leaves, depth] int32; beta [leaves, depth] float32; slopes [leaves,
    columns] float32.
    """

    goal: np.ndarray
    atom: np.ndarray
    splits: np.ndarray
    beta: np.ndarray
    slopes: np.ndarray

    def __len__(self) -> int:
        return len(self.goal)


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """The claim that no input satisfies a query in an arithmetic, with slopes and multipliers that prove it.

    network, query: their digests. kind: "neuron" or "input", what the leaves split. columns: as in `Tightening`, of the
    leaves' slopes. combinations: weights >= 0 of a disjunct's rows, in its order, padded with zeros; where all atoms
    hold, so does their sum. shares: nodes of the graph as read that hold shares of sums and are relaxed as softmaxes of
    logarithms. pair: of a query about two networks in one graph the digests of both, and of how they are joined.
    Shapes: combinations [m, atoms] float32.
    """

    network: str
    query: str
    arithmetic: str
    kind: str
    tightenings: tuple[Tightening, ...]
    columns: tuple[np.ndarray, ...]
    leaves: Leaves
    combinations: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    shares: tuple[int, ...] = ()
    pair: tuple[str, ...] = ()

    __repr__ = short_repr

    def validate(self) -> None:
        """Raise CertificateError for types, shapes and numbers that no certificate has."""
        _digests(self)
        for name, value, allowed in (("arithmetic", self.arithmetic, ARITHMETICS), ("kind", self.kind, KINDS)):
            # Text first: arrays compare entry by entry.
            if not isinstance(value, str) or value not in allowed:
                raise CertificateError(f"The certificate's {name} is {value!r}; it can be {', '.join(allowed)}.")
        _records("leaves", (self.leaves,), Leaves)
        _records("tightenings", self.tightenings, Tightening)
        leaves, count, width = self.leaves, np.size(self.leaves.goal), _columns("leaves", self.columns)
        depth = np.shape(leaves.splits)[1] if np.ndim(leaves.splits) == 2 else 0
        _integers("goal", leaves.goal, (count,), 0)
        _integers("atom", leaves.atom, (count,), 0)
        _integers("splits", leaves.splits, (count, depth), None)
        _floats("beta", leaves.beta, (count, depth))
        _floats("slopes", leaves.slopes, (count, width))
        shape = np.shape(self.combinations)
        _floats("combinations", self.combinations, shape if len(shape) == 2 else (0, 0))
        if not isinstance(self.shares, tuple) or not all(type(node) is int for node in self.shares):
            raise CertificateError(f"The certificate's shares are {brief(self.shares)}; they must be numbers of nodes.")
        if (self.combinations < 0).any():
            raise CertificateError("A weight of the certificate's combinations is negative.")
        if (leaves.beta < 0).any():
            raise CertificateError("A multiplier beta of the certificate is negative.")
        if self.kind == "input" and leaves.beta.any():
            raise CertificateError("The certificate splits inputs and has multipliers beta, which only neurons have.")
        for number, found in enumerate(self.tightenings):
            name = f"tightening {number}"
            for part in (found.box, found.node):
                if type(part) is not int or part < 0:
                    raise CertificateError(f"The certificate's {name} has no valid box or node.")
            shape = np.size(found.neurons), _columns(name, found.columns)
            _integers(f"{name}'s neurons", found.neurons, shape[:1], 0)
            _floats(f"{name}'s lower slopes", found.lower, shape)
            _floats(f"{name}'s upper slopes", found.upper, shape)


def _digests(certificate: Certificate) -> None:
    pair = certificate.pair
    if not isinstance(pair, tuple) or len(pair) not in (0, 3):
        raise CertificateError(f"The certificate's pair is {brief(pair)}; it must be three digests or none.")
    parts = zip(("first network", "second network", "joint graph"), pair, strict=False)
    for name, digest in (("network", certificate.network), ("query", certificate.query), *parts):
        if not isinstance(digest, str) or len(digest) != 64:
            raise CertificateError(f"The certificate's {name} is no SHA-256 digest.")


def _records(name: str, given: object, kind: type) -> None:
    if not isinstance(given, tuple) or not all(isinstance(one, kind) for one in given):
        raise CertificateError(f"The certificate's {name} are {brief(given)}; they must be {kind.__name__}.")


def _columns(name: str, columns: Sequence[np.ndarray]) -> int:
    if not isinstance(columns, tuple):
        raise CertificateError(f"The certificate's {name} have columns {brief(columns)}; they must be a tuple.")
    for column in columns:
        _integers(f"{name}' columns", column, (np.size(column),), 0)
    return sum(len(column) for column in columns)


def _integers(name: str, array: np.ndarray, shape: tuple[int, ...], least: int | None) -> None:
    _check(name, array, shape, np.dtype(np.int32))
    if least is not None and (array < least).any():
        raise CertificateError(f"The certificate's {name} has a number below {least}.")


def _floats(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    _check(name, array, shape, np.dtype(np.float32))
    if not np.isfinite(array).all():
        raise CertificateError(f"The certificate's {name} has NaN or infinite numbers.")


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        kind = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise CertificateError(f"The certificate's {name} is {kind}; it must be {dtype} of shape {shape}.")
