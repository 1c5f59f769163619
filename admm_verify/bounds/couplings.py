"""Couplings: linear constraints on the values of a network's nodes, and what their multipliers add to a functional."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Array, Float, Placement, gamma, namespace, take_rows
from admm_verify.bounds.functionals import Functionals
from admm_verify.bounds.region import Region


@dataclass(frozen=True, eq=False)
class Couplings:
    """Constraints sum over i of parts[i] z_i + offset <= 0 on the values z_i of nodes.

    For any multipliers mu >= 0 a functional plus mu times the left side is, where the constraints hold, at most the
    functional: whoever bounds the sum from below bounds the functional there.
    Shapes: parts[i] [rows, m, n_i] and offset [rows, m], or 1 for rows where all share them; mu [rows, m].
    """

    parts: Mapping[int, Float[Array, "rows m _"]]
    offset: Float[Array, "rows m"]

    @property
    def count(self) -> int:
        """The number m of constraints of every row."""
        return self.offset.shape[-1]

    @property
    def burden(self) -> int:
        """Numbers that every row has of its own."""
        return self.count + sum(part.shape[1] * part.shape[2] for part in self.parts.values() if part.shape[0] > 1)

    @cached_property
    def sizes(self) -> tuple[Mapping[int, Array], Array]:
        """The absolute values of parts and offset."""
        return {i: abs(part) for i, part in self.parts.items()}, abs(self.offset)

    def mapped(self, change: Callable[[Array], Array]) -> "Couplings":
        """The constraints with each of their arrays changed."""
        return Couplings({i: change(part) for i, part in self.parts.items()}, change(self.offset))

    def put(self, placement: Placement) -> "Couplings":
        """The constraints as numbers of another placement: for iterations, not for bounds."""
        return self.mapped(placement.put)

    def take(self, rows: Array) -> "Couplings":
        """The constraints of the given rows only."""
        return self.mapped(lambda part: take_rows(part, rows))

    def values(self, values: Sequence[Array]) -> Float[Array, "rows m"]:
        """The left sides at values of all nodes, [rows, n_i] each."""
        total = self.offset
        for i, part in self.parts.items():
            total = total + times(part, values[i])
        return total

    def size(self, values: Sequence[Array]) -> Float[Array, "rows m"]:
        """The absolute sums behind the left sides at values, 1 where they are zero."""
        parts, total = self.sizes
        for i, part in parts.items():
            total = total + times(part, abs(values[i]))
        xp = namespace(total)
        return xp.where(total > 0, total, xp.ones_like(total))

    def weighed(self, mu: Array) -> dict[int, Array]:
        """sum over j of mu_j times the coefficients of constraint j, by the node."""
        return {i: weighed(mu, part) for i, part in self.parts.items()}

    def slack(self, values: Sequence[Array], errors: Mapping[int, Array]) -> Float[Array, "rows m"]:
        """A bound on the rounding errors of the left sides in float64, at values that have errors themselves."""
        sizes, total = self.sizes[0], self.size(values)
        count = 4 + len(sizes) + max(part.shape[-1] for part in sizes.values())
        carried = sum((times(part, errors[i]) for i, part in sizes.items()), gamma(count) * total)
        return 1.001 * carried + SMALLEST * count

    def added(self, to: Functionals, mu: Array) -> Functionals:
        """Functionals, one per row, plus mu times the left sides, rounded."""
        start = dict(to.start)
        for i, own in self.weighed(mu).items():
            start[i] = start[i] + own if i in start else own
        return replace(to, start=start, constant=to.constant + namespace(mu).sum(mu * self.offset, axis=-1))

    def lost(self, to: Functionals, mu: Array, region: Region) -> Float[Array, " rows"]:
        """What rounding in `added` can take from a bound over a region, in float64.

        Each coefficient is off by at most so many roundings of its terms' absolute sum, what it multiplies is at most
        its node's reach, and each product may lose the smallest number.
        """
        xp = namespace(mu)
        sizes, offsets = self.sizes
        total, reached = abs(to.constant) + xp.sum(mu * offsets, axis=-1), xp.zeros_like(mu[:, 0])
        for i in {**to.start, **sizes}:
            reach = region.reach_at(i)
            size = weighed(mu, sizes[i]) if i in sizes else 0.0
            size = size + abs(to.start[i]) if i in to.start else size
            total = total + xp.sum(size * reach, axis=-1)
            reached = reached + xp.sum(reach, axis=-1)
        count = self.count + 4
        return 4.0 * count * DOUBLE_ROUNDOFF * total + SMALLEST * count * (2.0 + 2.0 * reached)


def weighed(mu: Float[Array, "rows m"], part: Float[Array, "rows m n"]) -> Float[Array, "rows n"]:
    """sum over j of mu_j part_j for every row."""
    if part.shape[0] == 1:
        return mu @ part[0, ...]
    return (mu[:, None, :] @ part)[:, 0, :]


def times(part: Float[Array, "rows m n"], values: Float[Array, "rows n"]) -> Float[Array, "rows m"]:
    """part z for every row."""
    if part.shape[0] == 1:
        return values @ namespace(part).permute_dims(part, (0, 2, 1))[0, ...]
    return (part @ values[..., None])[..., 0]
