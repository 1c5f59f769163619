"""Networks in exact rational arithmetic: the truth that certified bounds are compared with, without any slack."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from admm_verify import Network
from admm_verify.network.graph import Activation, Affine
from admm_verify.network.maps import LinearMap

exact = np.vectorize(Fraction, otypes=[object])
"""An array of floats as an object array of the fractions they stand for."""


def exact_matrix(part: LinearMap) -> np.ndarray:
    """The matrix of a map that is no merged product, as fractions."""
    return exact(part.dense().weight.astype(np.float64))


@dataclass(frozen=True, eq=False)
class ExactNetwork:
    """A network's matrices and biases as fractions, so that many points can be evaluated."""

    network: Network
    matrices: tuple[tuple[np.ndarray, ...], ...]
    biases: tuple[np.ndarray | None, ...]

    @classmethod
    def of(cls, network: Network) -> "ExactNetwork":
        affine = [node if isinstance(node, Affine) else None for node in network.nodes]
        return cls(
            network,
            tuple(() if node is None else tuple(exact_matrix(term.map) for term in node.terms) for node in affine),
            tuple(None if node is None else exact(node.bias.astype(np.float64)) for node in affine),
        )

    def values(self, x: np.ndarray) -> list[np.ndarray]:
        """The values of all nodes at one input of floats [n]."""
        values = [exact(x)]
        for i, node in enumerate(self.network.nodes[1:], start=1):
            if isinstance(node, Activation):
                values.append(np.maximum(values[node.source], Fraction(0)))
            elif isinstance(node, Affine):
                total = self.biases[i]
                for term, matrix in zip(node.terms, self.matrices[i], strict=True):
                    total = total + matrix @ values[term.source]
                values.append(total)
        return values

    def objective(self, x: np.ndarray, objective: np.ndarray, offset: float) -> Fraction:
        """objective f(x) + offset."""
        return exact(objective) @ self.values(x)[-1] + Fraction(offset)

    def preactivations(self, x: np.ndarray) -> list[np.ndarray]:
        """The input of every activation."""
        values = self.values(x)
        return [values[source] for source in self.network.sources]
