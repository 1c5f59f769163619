"""Queries about two networks as texts, with what their inputs are beside one vector, for tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from admm_verify import Network
from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.maps import DenseMap
from admm_verify.network.splice import splice


def declared(
    inputs: Sequence[int], outputs: Sequence[int], relation: str = "", kinds: Sequence[str] = ("real", "real")
) -> str:
    """The head of a text about networks f and g, whose tensors are X_f, Y_f, X_g and Y_g; relation: to f, of g.

    inputs, outputs: sizes for f and for g.
    """
    parts = [
        f"(declare-network {name} {related}(declare-input X_{name} {kind} [{size}]) "
        f"(declare-output Y_{name} {kind} [{wide}]))"
        for name, related, kind, size, wide in zip("fg", ("", relation), kinds, inputs, outputs, strict=True)
    ]
    return "\n".join(["(vnnlib-version <2.0>)", *parts, ""])


def bounded(name: str, lower: Iterable[object], upper: Iterable[object]) -> str:
    """Bounds of a tensor's entries."""
    ends = enumerate(zip(lower, upper, strict=True))
    return "".join(f"(assert (and (>= {name}[{i}] {low}) (<= {name}[{i}] {high})))\n" for i, (low, high) in ends)


def equal(size: int) -> str:
    """X_g == X_f."""
    return "".join(f"(assert (== X_f[{i}] X_g[{i}]))\n" for i in range(size))


def sum_of(terms: Iterable[tuple[Decimal | int, str]], constant: object = 0) -> str:
    """A sum of multiples as a term."""
    return f"(+ {constant} {' '.join(f'(* {value} {name})' for value, name in terms)})"


@dataclass(frozen=True, eq=False)
class Tied:
    """x_f = u and x_g = M u + s, with u in a box, as a text and as a network [f(u); g(M u + s)].

    Numbers are short decimals. Shapes: matrix [n, n]; shift, lower, upper [n].
    """

    matrix: np.ndarray
    shift: tuple[Decimal, ...]
    lower: tuple[Decimal, ...]
    upper: tuple[Decimal, ...]

    def text(self) -> str:
        """Bounds of x_f, and equations for x_g."""
        rows = []
        for i, row in enumerate(self.matrix):
            terms = [(Decimal(str(value)), f"X_f[{j}]") for j, value in enumerate(row.tolist()) if value]
            rows.append(f"(assert (== X_g[{i}] {sum_of(terms, self.shift[i])}))\n")
        return bounded("X_f", self.lower, self.upper) + "".join(rows)

    def together(self, first: Network, second: Network) -> Network:
        """u -> [f(x_f); g(x_g)], made of both graphs alone."""
        builder = Builder((len(self.lower),))
        shift = np.array([float(value) for value in self.shift])
        moved = Tensor(builder.affine(builder.input, DenseMap(self.matrix.astype(float)), shift), shift.shape)
        parts = [splice(builder, first, builder.input), splice(builder, second, moved)]
        return builder.finish(builder.concat([*parts], 0), "both")


def decimal(value: Fraction | float, digits: int = 12) -> Decimal:
    """The nearest decimal of some digits behind the point."""
    return Decimal(round(Fraction(value) * 10**digits)).scaleb(-digits)
