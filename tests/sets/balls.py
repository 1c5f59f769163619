"""Balls of all sizes, and the same in exact numbers."""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from admm_verify import Ball
from admm_verify.sets.norm_names import NormName
from tests.sets.laws import Point, Subject, dot, exact

_DIGITS = 2**200


def root_above(value: Fraction) -> Fraction:
    """An upper bound of a square root, exact for squares, off by a factor of less than 1 + 2^-100."""
    numerator, denominator = value.as_integer_ratio()
    if isqrt(numerator) ** 2 == numerator and isqrt(denominator) ** 2 == denominator:
        return Fraction(isqrt(numerator), isqrt(denominator))
    scale = _DIGITS * 4 ** max(0, denominator.bit_length() - numerator.bit_length())
    return Fraction(isqrt(numerator * scale * scale // denominator) + 1, scale)


@dataclass(frozen=True)
class ExactBall:
    """The twin of a ball cut with a box."""

    norm: NormName
    center: Point
    radius: Point
    lower: Point
    upper: Point

    def holds(self, x: Point) -> bool:
        parts = list(zip(x, self.center, self.radius, self.lower, self.upper, strict=True))
        inside = all(low <= value <= high and (r > 0 or value == c) for value, c, r, low, high in parts)
        y = [(value - c) / r for value, c, r, _, _ in parts if r > 0]
        return inside and sum((abs(a) if self.norm == "l1" else a * a for a in y), Fraction(0)) <= 1

    def minimum(self, coefficient: Point) -> Fraction:
        """A lower bound: c'x >= g'center - |radius g| + min over the box of (c - g)'x, for g near the best."""
        best = None
        for g in self._multipliers(coefficient):
            scaled = [r * a for r, a in zip(self.radius, g, strict=True)]
            length = root_above(dot(scaled, scaled)) if self.norm == "l2" else max(map(abs, scaled))
            rest = [a - b for a, b in zip(coefficient, g, strict=True)]
            box = sum((min(a * l, a * u) for a, l, u in zip(rest, self.lower, self.upper, strict=True)), Fraction(0))
            value = dot(g, self.center) - length + box
            best = value if best is None else max(best, value)
        assert best is not None
        return best

    def _multipliers(self, coefficient: Point) -> list[list[Fraction]]:
        """Multipliers of the ball, among them nearly the best; any are valid."""
        zero = [Fraction(0)] * len(coefficient)
        free = [float(r) > 0 for r in self.radius]
        parts = list(zip(coefficient, self.center, self.radius, self.lower, self.upper, strict=True))
        q = np.array([float(c * r) for c, _, r, _, _ in parts])
        low, high = (
            np.array([float((p[k] - p[1]) / p[2]) if p[2] > 0 else 0.0 for p in parts]).clip(-1, 1) for k in (3, 4)
        )
        found = [list(coefficient), zero]
        levels = np.abs(q[q != 0])
        if self.norm == "l1":
            # Concave and piecewise linear in the level; its kinks are where entries reach it, or 0.
            for level in [*levels.tolist(), 0.0]:
                h = np.where(low > 0, -level, np.where(high < 0, level, np.clip(q, -level, level)))
                found.append(self._unscaled(coefficient, q, h, free))
        elif len(levels):
            least, most = 1e-3 / np.linalg.norm(q), 1e3 / levels.min()
            for _ in range(200):
                middle = np.sqrt(least * most)
                y = np.clip(-middle * q, low, high)
                least, most = (middle, most) if y @ y <= 1 else (least, middle)
            y = np.clip(-least * q, low, high)
            h = np.where((-least * q > low) & (-least * q < high), q, -y / least)
            found.append(self._unscaled(coefficient, q, h, free))
        return found

    def _unscaled(self, coefficient: Point, q: np.ndarray, h: np.ndarray, free: list[bool]) -> list[Fraction]:
        parts = zip(coefficient, q, h, self.radius, free, strict=True)
        return [Fraction(float(b)) / r if some and a != b else c for c, a, b, r, some in parts]


def balls(rng: np.random.Generator, norm: NormName) -> Subject:
    """Balls with or without cuts, some of whose entries are fixed; centers inside, outside or far from the origin."""
    sets, size = (int(count) for count in rng.integers(1, 5, 2))
    scale = 10.0 ** rng.integers(-30, 9, (sets, 1)) * 10.0 ** rng.integers(-1, 2, (sets, size))
    radius = rng.uniform(0.1, 1.0, (sets, size)) * scale * (rng.random((sets, size)) < 0.85)
    center = rng.standard_normal((sets, size)) * 10.0 ** rng.integers(-30, 9, (sets, size))
    center = np.where(rng.random((sets, 1)) < 0.3, 0.0, center)
    within = None
    if rng.random() < 0.7:
        # Around a point that the ball holds, which need not be the center.
        middle = center + rng.uniform(-0.9, 0.9, (sets, size)) * radius / size * (rng.random((sets, 1)) < 0.7)
        width = rng.random((sets, size)) * radius * rng.choice([0.01, 1.0, 3.0], (sets, 1))
        within = middle - width, middle + width
    found = Ball(center, radius, norm, within).flattened(lambda part: part)
    twins = (ExactBall(norm, *map(exact, one)) for one in zip(*found.numbers, strict=True))
    return Subject(found, tuple(twins))
