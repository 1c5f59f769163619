"""The input boxes of disjuncts: base bounds, cut by the bounds of a branch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from admm_verify.properties.alternatives import Coupling, InputBound
from admm_verify.properties.implied import implied_bounds
from admm_verify.properties.linear import Entry, Scope
from admm_verify.sets.exact import ExactBox

_NUMBER_BYTES = 32
"""An entry of a box: its two ends in the box and in the rows."""

_TUPLES = 2**10
"""Tuples of bounds whose boxes are known at once."""

_ZERO = Fraction(0)


class Contradiction(NamedTuple):
    """A lower and an upper bound of one input between which there is nothing."""

    lower: InputBound
    upper: InputBound


@dataclass
class _Ends:
    """The tightest lower and upper bound of each entry that has one."""

    lower: dict[int, InputBound] = field(default_factory=dict)
    upper: dict[int, InputBound] = field(default_factory=dict)

    def cut(self, bounds: Iterable[InputBound]) -> "_Ends":
        """The ends that some bounds make tighter, and no others."""
        found = _Ends()
        for bound in bounds:
            ends, base = (found.upper, self.upper) if bound.upper else (found.lower, self.lower)
            present = ends.get(bound.entry) or base.get(bound.entry)
            if present is None or bound.tighter_than(present):
                ends[bound.entry] = bound
        return found

    @cached_property
    def strict(self) -> tuple[frozenset[int], frozenset[int]]:
        """The entries whose lower, and upper, end excludes equality; asked for once all bounds are in."""
        lower, upper = (
            frozenset(index for index, bound in ends.items() if bound.strict) for ends in (self.lower, self.upper)
        )
        return lower, upper


class Boxes:
    """Input boxes: those of the base bounds, cut by the bounds of a branch."""

    def __init__(self, scope: Scope, inputs: int, base: list[InputBound], held: float) -> None:
        """held: bytes that other things take."""
        self._scope, self._inputs, self._held = scope, inputs, held
        self._base = _Ends().cut(scope.source.paced(base))
        # By the hash of what the bounds change: boxes of the same one are compared.
        self._built: dict[int, ExactBox | Contradiction] = {}
        self._entries = 0
        # By identity: the branches of a product share the very tuple of bounds when only one factor has any.
        self._by_tuple: dict[int, tuple[tuple[InputBound, ...], ExactBox | Contradiction]] = {}

    def box(self, bounds: tuple[InputBound, ...], couplings: Sequence[Coupling] = ()) -> ExactBox | Contradiction:
        """The base box cut by the bounds; the same object for the same bounds.

        couplings: what ends that neither has may follow from.
        """
        known = self._by_tuple.get(id(bounds))
        if known is None:
            if couplings and not self._complete:
                ends = (*self._base.lower.values(), *self._base.upper.values(), *bounds)
                cut = self._base.cut((*bounds, *implied_bounds(ends, couplings, self._inputs)))
                return self._shared(cut)
            if len(self._by_tuple) >= _TUPLES:
                self._by_tuple.clear()
            known = self._by_tuple[id(bounds)] = bounds, self._shared(self._base.cut(bounds))
        return known[1]

    @cached_property
    def _complete(self) -> bool:
        """Whether the base has both ends of every input."""
        return len(self._base.lower) == len(self._base.upper) == self._inputs

    def _shared(self, cut: _Ends) -> ExactBox | Contradiction:
        """The box of a cut; the same object for equal ones, but for two of one hash."""
        box = self._build(cut)
        if isinstance(box, Contradiction):
            return box
        found = self._built.setdefault(hash(frozenset((*cut.lower.values(), *cut.upper.values()))), box)
        if found is box:
            self._entries += self._inputs
        return found if found == box else box

    def _build(self, cut: _Ends) -> ExactBox | Contradiction:
        self._require_complete(cut)
        contradiction = self._base_contradiction or self._contradiction(cut)
        if contradiction:
            return contradiction
        what = f"different boxes of {self._inputs} inputs"
        self._scope.source.check(self._held + self._entries * _NUMBER_BYTES, what=what)
        lower, upper = list(self._base_lower), list(self._base_upper)
        for index, bound in cut.lower.items():
            lower[index] = bound.value
        for index, bound in cut.upper.items():
            upper[index] = bound.value
        strict_lower, strict_upper = (
            base.difference(ends) | own if base or own else base
            for base, ends, own in zip(self._base.strict, (cut.lower, cut.upper), cut.strict, strict=True)
        )
        return ExactBox(tuple(lower), tuple(upper), strict_lower, strict_upper)

    def _require_complete(self, cut: _Ends) -> None:
        for end, base, own in (("lower", self._base.lower, cut.lower), ("upper", self._base.upper, cut.upper)):
            if len(base) + sum(index not in base for index in own) < self._inputs:
                # The first gap comes early: no file holds as many bounds as a shape can claim entries.
                missing = next(index for index in range(self._inputs) if index not in base and index not in own)
                name = self._scope.entry_name(Entry(False, missing))
                message = f"the input {name} has no {end} bound; give every input a finite lower and upper bound, in "
                raise self._scope.source.error(message + "every alternative of an or.")

    @cached_property
    def _base_lower(self) -> list[Fraction]:
        return self._filled(self._base.lower)

    @cached_property
    def _base_upper(self) -> list[Fraction]:
        return self._filled(self._base.upper)

    def _filled(self, ends: dict[int, InputBound]) -> list[Fraction]:
        # Where the base has no bound, the branch does: `_require_complete` comes first.
        return [ends[index].value if index in ends else _ZERO for index in range(self._inputs)]

    @cached_property
    def _base_contradiction(self) -> Contradiction | None:
        return self._contradiction(self._base)

    def _contradiction(self, cut: _Ends) -> Contradiction | None:
        """The first entry of the cut without a value between its ends."""
        for index in sorted(cut.lower.keys() | cut.upper.keys()):
            lower = cut.lower.get(index) or self._base.lower.get(index)
            upper = cut.upper.get(index) or self._base.upper.get(index)
            # Of an input that is fixed, both ends are often one object.
            if lower and upper and (lower.value is upper.value or lower.value >= upper.value):
                if lower.value != upper.value or lower.strict or upper.strict:
                    return Contradiction(lower, upper)
        return None
