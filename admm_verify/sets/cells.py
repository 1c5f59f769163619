"""Cells of exact boxes in which inputs, cut off towards zero, are the same whole numbers."""

from fractions import Fraction
from math import ceil, floor

from admm_verify.sets.exact import ExactBox


def cut_off(box: ExactBox, i: int) -> range:
    """The whole numbers that input i has, cut off towards zero."""
    low, high = box.lower[i], box.upper[i]
    first, last = int(low), int(high)
    if i in box.strict_lower and low == first and first < 0:
        first += 1
    if i in box.strict_upper and high == last and last > 0:
        last -= 1
    return range(first, last + 1)


def cell_of(box: ExactBox, i: int, number: int) -> ExactBox:
    """The part of a box in which input i has this whole number, cut off: from it to the next one away from zero."""
    low, open_below = (number, False) if number > 0 else (number - 1, True)
    high, open_above = (number, False) if number < 0 else (number + 1, True)
    lower, upper = list(box.lower), list(box.upper)
    strict_lower, strict_upper = box.strict_lower, box.strict_upper
    if low > lower[i] or (low == lower[i] and open_below):
        lower[i], strict_lower = Fraction(low), strict_lower - {i} | ({i} if open_below else set())
    if high < upper[i] or (high == upper[i] and open_above):
        upper[i], strict_upper = Fraction(high), strict_upper - {i} | ({i} if open_above else set())
    return ExactBox(tuple(lower), tuple(upper), frozenset(strict_lower), frozenset(strict_upper))


def whole_point(box: ExactBox) -> tuple[Fraction, ...]:
    """A point of a cell whose other inputs are fixed: a whole number where there is one, else a middle."""
    found = []
    for i, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
        least, most = (i in ends for ends in (box.strict_lower, box.strict_upper))
        near = [Fraction(number) for number in (ceil(low), floor(high)) if low <= number <= high]
        inside = [number for number in near if (number > low or not least) and (number < high or not most)]
        found.append(low if low == high else inside[0] if inside else (low + high) / 2)
    return tuple(found)
