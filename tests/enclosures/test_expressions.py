"""Reading arithmetic text: what is allowed, what it means, and what is said of the rest."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from admm_verify import InputError
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.decimals import shortest_decimal
from admm_verify.enclosures.expressions import Applied, Reader, affine, evaluate, in_order
from tests.laws.laws import law

NAMES = ("x1", "x2", "u1")
PLACES = {"x1": 0.3, "x2": -1.7, "u1": 2.25}
SAFE = {name: getattr(np, name) for name in ("sin", "cos", "tan", "exp", "tanh", "sqrt", "pi")}
SAFE |= {"abs": abs, "min": min, "max": max}


def texts() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["x1", "x2", "u1", "0.5", "3", "pi", "1e-1"])

    def grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.tuples(parts, st.sampled_from(["+", "-", "*"]), parts)
        return (
            pairs.map(lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})")
            | parts.map(lambda part: f"-({part})")
            | parts.map(lambda part: f"({part})**3")
            | parts.map(lambda part: f"tanh({part})/(2+cos({part}))")
            | parts.map(lambda part: f"(1.5+tan(0.5*tanh({part})))**-2")
            | st.tuples(parts, parts).map(lambda pair: f"max({pair[0]}, abs({pair[1]}), 1) - min({pair[1]}, {pair[0]})")
            | parts.map(lambda part: f"sin({part})*exp(-sqrt(1+tanh({part})))")
        )

    return st.recursive(leaves, grown, max_leaves=6)


@law(150)
@given(texts())
def test_texts_mean_what_python_means(text):
    expected = eval(text, {"__builtins__": {}}, {**SAFE, **PLACES})
    found = evaluate([Reader(NAMES).read(text)], PLACES, FLOATS)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_equal_parts_are_one_node():
    reader = Reader(NAMES)
    first, second = reader.read("sin(x1-x2)**2 + cos(x1-x2)"), reader.read("cos(x1 - x2)*sin(x1-x2)")
    applied = [node for node in in_order([first, second]) if isinstance(node, Applied)]
    assert len(applied) == 6


def test_abbreviations_and_parameters():
    reader = Reader(("x1",), {"g": 9.8, "h": Fraction(1, 3)}, [("d", "x1/2"), ("e", "d*g")])
    assert evaluate([reader.read("e + d - h")], {"x1": 4.0}, FLOATS)[0] == pytest.approx(2 * 9.8 + 2 - 1 / 3)


def test_numbers_are_the_decimals_as_written():
    assert affine(Reader(()).read("0.1 + 2"), ()) == ((), Fraction(21, 10))
    assert affine(Reader((), {"a": 0.1}).read("a*3"), ()) == ((), Fraction(3, 10))
    assert shortest_decimal(0.05) == Fraction(1, 20)


def test_powers():
    names = ("x1",)
    for exponent in (0, 1, 2, 3, 7, 64, -1, -2, -64):
        found = evaluate([Reader(names).read(f"x1**{exponent}")], {"x1": 1.5}, FLOATS)[0]
        assert found == pytest.approx(1.5**exponent)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x1 + )", ["x1 + )", "column 6", "sin"]),
        ("x9", ["x9", "column 1", "x1"]),
        ("x1**0.5", ["column 1", "whole number"]),
        ("x1**x2", ["column 1", "whole number"]),
        ("x1**-65", ["whole number from -64 to 64"]),
        ("arctan(x1)", ["function 'arctan'", "column 1", "did you mean tan?"]),
        ("x1 + log(x1)", ["function 'log'", "column 6", "sqrt"]),
        ("max(x1)", ["max", "given 1 arguments", "two or more"]),
        ("sin(x1, x2)", ["sin", "given 2 arguments", "one"]),
        ("2*sin", ["'sin' at column 3", "write sin(...)"]),
        ("x1**65", ["whole number"]),
        ("__import__('os')", ["'__import__'", "unknown"]),
        ("x1.real", ["x1.real"]),
        ("2*x1^2", ["'2*x1^2'", "a power is x**2; write"]),
        ("np.sin(x1)", ["np.sin(x1)", "sin stands without a module's name"]),
        ("x1 if x1 else x2", ["not allowed"]),
        ("True", ["True"]),
        ("0x10", ["0x10"]),
        ("1j", ["1j"]),
        ("x1 % 2", ["x1 % 2"]),
        ("", ["cannot be read"]),
        ("-" * 300 + "x1", ["nested"]),
    ],
)
def test_errors_say_what_where_and_what_is_allowed(text, words):
    with pytest.raises(InputError) as error:
        Reader(NAMES).read(text)
    for word in words:
        assert word in str(error.value)


def test_names_are_taken_once():
    for arguments in ((("x1", "x1"),), (("sin",),), (("x1",), {"x1": 2.0}), (("x1",), {}, [("pi", "3")])):
        with pytest.raises(InputError, match="taken already"):
            Reader(*arguments)
    with pytest.raises(InputError, match="finite"):
        Reader((), {"a": float("nan")})


def test_a_name_without_a_value_is_named():
    with pytest.raises(InputError, match="'x2' has no value"):
        evaluate([Reader(NAMES).read("x2")], {"x1": 1.0}, FLOATS)


def test_affine_parts():
    names = ("x1", "x4", "x5")
    reader = Reader(names)
    assert affine(reader.read("10+1.4*x5-(x1-x4)"), names) == (
        (Fraction(-1), Fraction(1), Fraction(7, 5)),
        Fraction(10),
    )
    assert affine(reader.read("30"), names) == ((Fraction(0),) * 3, Fraction(30))
    assert affine(reader.read("(x1+1)*2/4 - x1*0.5"), names) == ((Fraction(0),) * 3, Fraction(1, 2))
    assert affine(reader.read("(x1-x1)*x4 + x4"), names) == ((Fraction(0), Fraction(1), Fraction(0)), Fraction(0))


@pytest.mark.parametrize("text", ["x1*x4", "x1**2", "1/x1", "sin(x1)", "pi*x1", "x1/0"])
def test_what_is_not_affine_is_refused(text):
    with pytest.raises(InputError):
        affine(Reader(("x1", "x4")).read(text), ("x1", "x4"))
    with pytest.raises(InputError):
        affine(Reader(("x1", "x4")).read("x4"), ("x1",))
