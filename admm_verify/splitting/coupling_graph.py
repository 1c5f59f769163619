"""Constraints in the layered splitting: copies of what they read, and of their left sides, tied together row by row."""

from dataclasses import dataclass, replace

from admm_verify.arrays import Array, namespace, take_rows
from admm_verify.bounds.couplings import times, weighed
from admm_verify.splitting.problem import Rows
from admm_verify.splitting.state import PerRow


@dataclass(frozen=True, eq=False)
class CouplingGraph(PerRow):
    """The graph {(x, s) : s = A x} of constraints s <= limit on sources x, with weights w_e on these and 1 on s.

    Every constraint is divided by its unit, so that A has rows of length 1 where sources are measured by their weights.
    weights: of the sources, numbers. solver: the inverse of 1 + A inv(w) A'.
    Shapes: parts[e] [rows or 1, m, n_e]; limit, unit [rows or 1, m]; solver [rows or 1, m, m].
    """

    parts: list[Array]
    weights: tuple[float, ...]
    limit: Array
    unit: Array
    solver: Array

    @classmethod
    def of(cls, parts: list[Array], limit: Array, weights: tuple[float, ...]) -> "CouplingGraph":
        """The graph of constraints parts x <= limit."""
        xp = namespace(limit)
        zero = xp.zeros_like(parts[0][:, :, 0])
        unit = xp.sqrt(sum((xp.sum(part**2, axis=-1) / w for part, w in zip(parts, weights, strict=True)), zero))
        unit = xp.where(xp.isfinite(unit) & (unit > 0), unit, xp.ones_like(unit))
        parts = [part / unit[..., None] for part in parts]
        inner = sum(part @ xp.permute_dims(part, (0, 2, 1)) / w for part, w in zip(parts, weights, strict=True))
        eye = xp.eye(unit.shape[1], dtype=unit.dtype, device=unit.device)
        return cls(parts, weights, limit / unit, unit, xp.linalg.inv(inner + eye))

    def take(self, rows: Array) -> "CouplingGraph":
        """The constraints of the given rows only."""
        return replace(
            self,
            parts=[take_rows(part, rows) for part in self.parts],
            limit=take_rows(self.limit, rows),
            unit=take_rows(self.unit, rows),
            solver=take_rows(self.solver, rows),
        )

    def limited(self, s: Array, scale: Array | None) -> Array:
        """The nearest left sides at most their limits, or, for the penalty scale [rows, 1] of s, where t is added to
        all limits: argmin over s+ and t of t + scale |s+ - s|^2 / 2 with s+ <= limit + t.

        By Moreau's identity that is s minus the projection of scale (s - limit) on the simplex, over scale.
        """
        if scale is None:
            return namespace(s).minimum(s, self.limit)
        return s - _on_simplex(scale * (s - self.limit)) / scale

    def apply(self, sources: list[Array]) -> Array:
        """A x. Shapes: sources[e] [rows, n_e] -> [rows, m]."""
        first, *others = (times(part, x) for part, x in zip(self.parts, sources, strict=True))
        return sum(others, first)

    def pulls(self, multipliers: Array) -> list[Array]:
        """inv(w) A' of multipliers [rows, m], for every source."""
        return [weighed(multipliers, part) / w for part, w in zip(self.parts, self.weights, strict=True)]

    def project(self, sources: list[Array], s: Array) -> tuple[list[Array], Array]:
        """argmin sum_e w_e |x_e+ - x_e|^2 + |s+ - s|^2 over s+ = A x+.

        t = inv(1 + A inv(w) A') (s - A x), x+ = x + inv(w) A' t, s+ = s - t.
        """
        t = times(self.solver, s - self.apply(sources))
        return [x + pull for x, pull in zip(sources, self.pulls(t), strict=True)], s - t


def _on_simplex(v: Array) -> Array:
    """The nearest points of {mu >= 0, sum mu = 1}, for rows [rows, m]: max(v - theta, 0) for theta by sorting."""
    xp = namespace(v)
    falling = -xp.sort(-v, axis=-1)
    count = xp.cumulative_sum(xp.ones_like(v), axis=-1)
    thetas = (xp.cumulative_sum(falling, axis=-1) - 1.0) / count
    used = xp.max(xp.where(falling > thetas, count, xp.zeros_like(count)), axis=-1, keepdims=True)
    theta = xp.sum(xp.where(count == used, thetas, xp.zeros_like(thetas)), axis=-1, keepdims=True)
    return xp.maximum(v - theta, xp.zeros_like(v))


def folded(rows: Rows, places: dict[int, int]) -> tuple[dict[int, Array], Array | None]:
    """Constraints as parts x <= limit on sources alone, None for none: other values are what maps make of sources.

    places: of the nodes that are sources. Shapes: parts[source] [rows or 1, m, n]; limit [rows or 1, m].
    """
    couplings, xp = rows.couplings, rows.xp
    if couplings is None:
        return {}, None
    carried, limit, found = dict(couplings.parts), -couplings.offset, {}
    while carried:
        node = max(carried)
        part = carried.pop(node)
        if node in places:
            found[places[node]] = part
            continue
        affine = rows.network.affine[node]
        limit = limit - part @ affine.bias
        flat = xp.reshape(part, (-1, part.shape[-1]))
        for term in affine.terms:
            moved = xp.reshape(term.map.transpose(flat), (*part.shape[:2], -1))
            carried[term.source] = carried[term.source] + moved if term.source in carried else moved
    return dict(sorted(found.items())), limit
