"""The numbers a checker computes with: float64 and a bound on every rounding, or fractions and no rounding."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from admm_verify.arrays import SMALLEST, Placement, to_numpy
from admm_verify.errors import CertificateError
from admm_verify.network.graph import Activation, Affine, Network, Node, Term
from admm_verify.network.maps import DenseMap, LinearMap

_DENSE_LIMIT = 2**22
"""Entries of the largest matrix of fractions."""


@dataclass(frozen=True)
class Numbers:
    """float64, or where exact fractions.Fraction in arrays of objects; the same NumPy code runs on both."""

    exact: bool

    def number(self, value: float) -> Any:
        """A float as one of these numbers."""
        return Fraction(value) if self.exact else float(value)

    def of(self, array: Any) -> np.ndarray:
        """An array of floats as one of these numbers."""
        found = np.asarray(to_numpy(array), dtype=np.float64)
        return self.fractions(list(map(Fraction, found.reshape(-1).tolist())), found.shape) if self.exact else found

    @staticmethod
    def fractions(values: list[Fraction], shape: tuple[int, ...]) -> np.ndarray:
        """Fractions as an array of objects."""
        array = np.empty(prod(shape), dtype=object)
        array[:] = values
        return array.reshape(shape)

    @staticmethod
    def shown(number: Any) -> float:
        """One of these numbers as a float near it."""
        try:
            return float(number)
        except OverflowError:
            return float("inf") if number > 0 else float("-inf")

    @property
    def tiny(self) -> Any:
        """What underflow takes from a number at most, generously."""
        return self.error(2.0**-1022)

    @property
    def smallest(self) -> Any:
        """Twice what underflow takes from one product."""
        return self.error(SMALLEST)

    def error(self, size: float) -> Any:
        """A bound on rounding errors, which exact numbers do not have."""
        return Fraction(0) if self.exact else size

    def least(self, bound: np.ndarray) -> np.ndarray:
        """Lower bounds with -inf, no bound, in place of what overflowed; exact ones down to what float64 holds."""
        if not self.exact:
            return np.where(np.isfinite(bound), bound, -np.inf)
        return self.fractions([_short(number, True) for number in bound.reshape(-1)], bound.shape)

    def near(self, array: np.ndarray) -> np.ndarray:
        """Numbers whose rounding does not matter; exact ones with few digits, which would double at every layer."""
        if not self.exact:
            return array
        return self.fractions([_short(number, False) for number in array.reshape(-1)], array.shape)

    def network(self, network: Network) -> Network:
        """A network in these numbers; exact maps are matrices.

        Raises: CertificateError where those are too large.
        """
        if not self.exact:
            return network.put(Placement.numpy())
        return replace(network, nodes=tuple(self._node(node) for node in network.nodes))

    def _node(self, node: Node) -> Node:
        if isinstance(node, Activation):
            return replace(node, parameters=tuple(map(self.of, node.parameters)))
        if not isinstance(node, Affine):
            return node
        terms = tuple(Term(term.source, self._matrix(term.map)) for term in node.terms)
        return replace(node, terms=terms, bias=self.of(node.bias), bias_magnitude=self.of(node.bias_magnitude))

    def _matrix(self, map: LinearMap) -> DenseMap:
        if map.rows * map.columns > _DENSE_LIMIT:
            raise CertificateError(
                f"A map of {map.rows} x {map.columns} entries is too large to be checked in exact numbers; "
                "check the certificate in float64."
            )
        dense = map.dense()
        magnitude = None if dense.magnitude is None else self.of(dense.magnitude)
        return DenseMap(self.of(dense.weight), magnitude, dense.roundings)


def _short(number: Fraction, down: bool) -> Fraction:
    """A float64 near a number, or the largest that is not larger; the number itself beyond them all."""
    near = Numbers.shown(number)
    if down and not np.isinf(near) and Fraction(near) > number:
        near = float(np.nextafter(near, -np.inf))
    return number if np.isinf(near) else Fraction(near)
