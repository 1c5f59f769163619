"""Exact arrays agree with fractions, and no float takes part."""

from fractions import Fraction

import numpy as np
import pytest

from admm_verify.certificates.dyadics import Dyadics, cleared
from admm_verify.certificates.numbers import Numbers
from admm_verify.errors import CertificateError

NUMBERS = Numbers(True)
SCALES = (1.0, 1e-300, 1e300, 2.0**-1074, 1e6)


def fractions(found) -> np.ndarray:
    """An exact array, or one of floats, as fractions."""
    if isinstance(found, Dyadics):
        return np.vectorize(lambda n: Fraction(n) * Fraction(2) ** found.exponent, otypes=[object])(found.integers)
    return np.vectorize(Fraction, otypes=[object])(np.asarray(found, dtype=np.float64))


def drawn(rng, *shape: int) -> np.ndarray:
    """Floats of many magnitudes and lengths, some of them 0."""
    short = rng.integers(-5, 6, shape).astype(np.float64)
    long = rng.standard_normal(shape) * rng.choice([1.0, 1e-9, 1e5], shape)
    return np.where(rng.random(shape) < 0.4, short, long)


def same(found, expected) -> bool:
    return found.shape == np.shape(expected) and bool((fractions(found) == expected).all())


@pytest.mark.parametrize("scale", SCALES)
def test_arithmetic_is_that_of_fractions(scale):
    rng = np.random.default_rng(3)
    a, b = scale * drawn(rng, 4, 7), drawn(rng, 4, 7)
    x, y, p, q = Dyadics.of_floats(a), Dyadics.of_floats(b), fractions(a), fractions(b)
    assert same(x, p) and same(y, q)
    for operation in (np.add, np.subtract, np.multiply, np.maximum, np.minimum):
        assert same(operation(x, y), operation(p, q))
        assert same(operation(x, y[0]), operation(p, q[0])) and same(operation(x, 3), operation(p, 3))
    assert same(-x, -p) and same(abs(x), abs(p))
    for operation in (np.less, np.less_equal, np.greater, np.greater_equal):
        assert (operation(x, y) == operation(p, q)).all() and (operation(x, 0) == operation(p, 0)).all()
    assert same(np.vecdot(x, y), (p * q).sum(axis=1))
    assert same(np.sum(x, axis=-1), p.sum(axis=1)) and same(np.max(x, axis=0), p.max(axis=0))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(3, 50, 4), (1, 1, 1), (2, 0, 3), (0, 4, 2), (5, 300, 2)])
def test_products_of_matrices_are_exact(shape, scale):
    rng, (rows, middle, columns) = np.random.default_rng(4), shape
    a, b = scale * drawn(rng, rows, middle), drawn(rng, middle, columns)
    x, y, p, q = Dyadics.of_floats(a), Dyadics.of_floats(b), fractions(a), fractions(b)
    expected = np.array([[sum(row * column, Fraction(0)) for column in q.T] for row in p], dtype=object)
    expected = expected.reshape(rows, columns)
    assert same(x @ y, expected) and same((x @ y) @ y.T, np.matmul(expected, q.T)) and same(y.T @ x.T, expected.T)
    if columns:
        assert same(x @ y[:, 0], expected[:, 0])


def test_products_at_the_ends_of_limbs():
    ends = [
        sign * (2**k + off) for k in (0, 14, 15, 16, 17, 31, 32, 47, 48, 64) for off in (-1, 0, 1) for sign in (1, -1)
    ]
    column = np.array(ends, dtype=object)[:, None]
    assert (Dyadics(column, 0) @ Dyadics(column.T, 0)).integers.tolist() == (column * column.T).tolist()
    most = np.full((1, 5000), 2**48 - 1, dtype=object)
    for sign in (1, -1):
        found = Dyadics(sign * most, 0) @ Dyadics(most.T, 0)
        assert found.integers.item() == sign * 5000 * (2**48 - 1) ** 2


def test_parts_are_taken_joined_and_set():
    rng = np.random.default_rng(5)
    a, b = drawn(rng, 3, 4), 1e-5 * drawn(rng, 3, 4)
    x, y = Dyadics.of_floats(a), Dyadics.of_floats(b)
    chosen = a > 0
    assert same(np.where(chosen, x, y), fractions(np.where(chosen, a, b)))
    assert same(np.where(chosen, x, 1), fractions(np.where(chosen, a, 1.0)))
    assert same(np.concatenate([x, y]), fractions(np.concatenate([a, b])))
    assert same(np.stack([x, y]), fractions(np.stack([a, b])))
    assert same(np.take(x, [2, 0], axis=0), fractions(a[[2, 0]]))
    assert same(np.broadcast_to(x[0], (5, 4)), fractions(np.broadcast_to(a[0], (5, 4))))
    square = y.T
    assert same(square @ x, (fractions(b).T @ fractions(a)))
    z, c, turned, part = x.copy(), a.copy(), x.T, x[1:]
    for place in ((slice(None), [1, 2]), (slice(1, 2),)):
        assert same(z @ y.T, fractions(c) @ fractions(b).T) and same(y.T @ z, fractions(b).T @ fractions(c))
        z[place], c[place] = y[place], b[place]
    assert same(z, fractions(c)) and same(x, fractions(a)) and same(z.T, fractions(c.T))
    assert same(y.T @ z, fractions(b).T @ fractions(c))
    assert same(turned, fractions(a.T)) and same(part, fractions(a[1:]))


def test_roundings_are_down():
    rng = np.random.default_rng(6)
    x = Dyadics.of_floats(drawn(rng, 200))
    shorter = x.floor(20)
    size = max(abs(fractions(x)))
    assert (shorter <= x).all() and all(abs(fractions(x - shorter)) <= size / 2**19) and x.floor(2000) is x
    y = abs(x) + Dyadics.of_floats(1e-3)
    found, exact = fractions(x.quotient(y, 30)), fractions(x) / fractions(y)
    assert all((found <= exact) & (exact < found + Fraction(1, 2**30)))


def test_fractions_are_enclosed():
    values = [Fraction(1, 3), Fraction(-22, 7), Fraction(5), Fraction(1, 10**300), Fraction(0)]
    low, high = (fractions(NUMBERS.fractions(values, (5,), up)) for up in (False, True))
    for value, below, above in zip(values, low, high, strict=True):
        assert below <= value <= above and above - below <= abs(value) / 2**200
    exact = [Fraction(3, 2**60), Fraction(-5, 4), Fraction(2**80)]
    assert all(fractions(NUMBERS.fractions(exact, (3,), up=False)) == np.array(exact, dtype=object))
    assert NUMBERS.fractions([Fraction(1, 3)], (), up=True).shape == ()
    assert cleared([Fraction(1, 12), Fraction(5, 6), Fraction(3, 10), Fraction(1, 8)]) == 15


def test_floats_take_no_part():
    x = Dyadics.of_floats(np.ones(3))
    for operation in (lambda: x + 1.0, lambda: np.ones(3) * x, lambda: x < 0.5, lambda: np.where([True] * 3, x, 0.0)):
        with pytest.raises(TypeError, match="not exact"):
            operation()
    for operation in (lambda: x / x, lambda: np.exp(x), lambda: np.mean(x), lambda: np.add.reduce(x)):
        with pytest.raises(TypeError):
            operation()
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(CertificateError, match="no exact numbers"):
            Dyadics.of_floats(np.array([1.0, value]))
    assert NUMBERS.shown(Dyadics(10**400, 0)) == float("inf") and NUMBERS.shown(Dyadics(-(10**400), 0)) == -float("inf")
    assert NUMBERS.shown(Dyadics(-3, -1)) == -1.5
