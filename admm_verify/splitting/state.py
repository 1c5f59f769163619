"""Records of arrays with one entry per row, of which finished rows can be dropped."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from admm_verify.arrays import Array, Placement, namespace, select_rows
from admm_verify.backends.choice import kernels_for
from admm_verify.bounds.backward import Backward
from admm_verify.splitting.problem import Rows


@dataclass(frozen=True, eq=False)
class PerRow:
    """A record whose arrays, alone, in lists and in records like it, have one entry per row; the rest is shared."""

    def take(self, rows: Array) -> Self:
        """The record of the given rows only."""
        return type(self)(**{field.name: _take(getattr(self, field.name), rows) for field in fields(self)})


@dataclass(frozen=True, eq=False)
class Duals(PerRow):
    """Multipliers of a bound: of all activations' inputs, and mu >= 0 of the rows' constraints.

    residual: w of the plane below a quadratic objective, 2 w'(y - target) - |w|^2; None for a linear one.
    Shapes: layers[k] [rows, n_k]; coupled [rows, m], m = 0 where there are no constraints; residual [rows, m].
    """

    layers: list[Array]
    coupled: Array
    residual: Array | None = None

    @classmethod
    def zero(cls, rows: Rows) -> "Duals":
        """All of them zero."""
        residual = None if rows.squares is None else namespace(rows.objective).zeros_like(rows.objective)
        return cls(rows.neurons(0.0), rows.unweighted(), residual)

    def mapped(self, change: Callable[[Array], Array]) -> "Duals":
        """With each of their arrays changed."""
        residual = None if self.residual is None else change(self.residual)
        return Duals([change(layer) for layer in self.layers], change(self.coupled), residual)

    def where(self, chosen: Array, otherwise: "Duals") -> "Duals":
        """Those of the chosen rows [rows], the others' elsewhere."""
        layers = [select_rows(chosen, g, old) for g, old in zip(self.layers, otherwise.layers, strict=True)]
        residual = otherwise.residual
        if self.residual is not None and residual is not None:
            residual = select_rows(chosen, self.residual, residual)
        coupled = otherwise.coupled
        if coupled.shape[1]:
            coupled = select_rows(chosen, self.coupled, coupled)
        return Duals(layers, coupled, residual)


@dataclass(frozen=True, eq=False)
class Incumbent(PerRow):
    """The best multipliers that a scheme has seen, and their dual value, [rows]."""

    value: Array
    multipliers: Duals

    @classmethod
    def none(cls, rows: Rows) -> "Incumbent":
        """Nothing yet, which every value is better than."""
        return cls(rows.xp.full_like(rows.offset, -float("inf")), Duals.zero(rows))

    def improved(self, value: Array, sweep: Backward, coupled: Array) -> "Incumbent":
        """With a sweep's multipliers, and those of constraints, in the rows where its value is larger."""
        old, place = self.multipliers, Placement.of(value)
        kernels = kernels_for(place) if place.on_gpu and not coupled.shape[1] else None
        if kernels is not None:
            # In one launch, whose results are new arrays: others may hold the old ones.
            some = [k for k, g in enumerate(sweep.pre) if g is not None]
            found = [g for k, g in enumerate(sweep.pre) if g is not None and k in some]
            best, *kept = kernels.keep(value, self.value, found, [old.layers[k] for k in some])
            layers = list(old.layers)
            for k, g in zip(some, kept, strict=True):
                layers[k] = g
            return Incumbent(best, replace(old, layers=layers))
        better = value > self.value
        found = [before if g is None else g for g, before in zip(sweep.pre, old.layers, strict=True)]
        better_value = namespace(value).where(better, value, self.value)
        return Incumbent(better_value, Duals(found, coupled).where(better, old))


def _take(value: Any, rows: Array) -> Any:
    if isinstance(value, PerRow):
        return value.take(rows)
    if isinstance(value, list):
        return [_take(part, rows) for part in value]
    return namespace(value).take(value, rows, axis=0) if hasattr(value, "shape") else value
