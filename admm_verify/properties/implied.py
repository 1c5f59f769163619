"""Bounds of inputs that have none of their own, as constraints between inputs imply them."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from sys import float_info

from admm_verify.properties.alternatives import Coupling, InputBound

_LARGEST = int(float_info.max)


def implied_bounds(bounds: Iterable[InputBound], couplings: Sequence[Coupling], inputs: int) -> Iterator[InputBound]:
    """Bounds on sides of inputs that have none, from couplings whose other inputs are bounded, one after the other.

    Of sum c_j x_j + d <= 0, the input t has c_t x_t <= -d - sum over j != t of min c_j x_j. The couplings stay: a bound
    is not strict where they are, and takes nothing away.
    """
    ends = _KnownEnds(bounds)
    if not couplings or ends.count == 2 * inputs:
        return
    rows = [coupling.row.terms for coupling in couplings]
    # An input's end by which its part of a row is least, and the rows that wait for it.
    waiting: dict[tuple[int, bool], list[int]] = {}
    unknown = [0] * len(rows)
    for number, terms in enumerate(rows):
        for entry, coefficient in terms:
            key = entry, coefficient < 0
            if key not in ends.values:
                waiting.setdefault(key, []).append(number)
                unknown[number] += 1
    ready = [number for number, count in enumerate(unknown) if count <= 1]
    while ready:
        number = ready.pop()
        for entry, upper, value in _bounded(couplings[number], ends, unknown[number]):
            if abs(value) > _LARGEST:
                continue
            ends.values[entry, upper] = value
            yield InputBound(entry, upper, value, False, couplings[number].offset)
            for other in waiting.pop((entry, upper), ()):
                unknown[other] -= 1
                if unknown[other] <= 1:
                    ready.append(other)


class _KnownEnds:
    """The tightest values of inputs' ends: of the upper one where the key says so."""

    def __init__(self, bounds: Iterable[InputBound]) -> None:
        self.values: dict[tuple[int, bool], Fraction] = {}
        for bound in bounds:
            key = bound.entry, bound.upper
            known = self.values.get(key)
            if known is None or (bound.value < known) == bound.upper:
                self.values[key] = bound.value

    @property
    def count(self) -> int:
        """Ends that there are."""
        return len(self.values)


def _bounded(coupling: Coupling, ends: _KnownEnds, unknown: int) -> list[tuple[int, bool, Fraction]]:
    """What one coupling says of ends that are not known: (input, whether the upper one, value).

    unknown: how many parts of its sum have no least value, one at most; of the others nothing follows then.
    """
    row = coupling.row
    least = [ends.values.get((entry, coefficient < 0)) for entry, coefficient in row.terms]
    known = (coefficient * end for (_, coefficient), end in zip(row.terms, least, strict=True) if end is not None)
    total = sum(known, row.constant)
    found = []
    for (entry, coefficient), end in zip(row.terms, least, strict=True):
        alone = end is None or not unknown
        if coefficient and alone and (entry, coefficient > 0) not in ends.values:
            others = total if end is None else total - coefficient * end
            found.append((entry, coefficient > 0, -others / coefficient))
    return found
