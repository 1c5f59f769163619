"""Short queries for the reader's tests."""

import pytest

from admm_verify import QueryError
from admm_verify.memory import Budget
from admm_verify.properties.property import Disjunct
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.sets.exact import ExactBox


def flat(*conditions: str, inputs: int = 1, unit_box: bool = True) -> str:
    """A VNN-LIB 1.0 text with two outputs; with unit_box, every input lies in [0, 1]."""
    lines = [f"(declare-const {name} Real)" for name in (*(f"X_{i}" for i in range(inputs)), "Y_0", "Y_1")]
    if unit_box:
        lines += [f"(assert (>= X_{i} 0)) (assert (<= X_{i} 1))" for i in range(inputs)]
    return "\n".join([*lines, *(f"(assert {condition})" for condition in conditions)])


def network(*conditions: str, x: str = "real [1,2]", y: str = "real [2]", extra: str = "") -> str:
    """A VNN-LIB 2.0 text in which X[0,0] and X[0,1] lie in [0, 1]."""
    lines = [f"(vnnlib-version <2.0>)\n(declare-network f (declare-input X {x}) {extra} (declare-output Y {y}))"]
    lines += [f"(assert (and (>= X[0,{i}] 0) (<= X[0,{i}] 1)))" for i in range(2)]
    return "\n".join([*lines, *(f"(assert {condition})" for condition in conditions)])


def only(text: str) -> Disjunct:
    (disjunct,) = parse_vnnlib(text).disjuncts
    return disjunct


def box(*conditions: str, inputs: int = 1) -> ExactBox:
    return only(flat(*conditions, inputs=inputs, unit_box=False)).box


def check_refused(text: str, words: str, kind: type[QueryError] = QueryError, budget: Budget | None = None) -> None:
    """The message has every one of the words, which "|" separates."""
    with pytest.raises(QueryError) as caught:
        parse_vnnlib(text, "my.vnnlib", budget)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.startswith("my.vnnlib: ") and message.endswith(".") and "\n" not in message and len(message) < 400
    assert [word for word in words.split("|") if word not in message] == [], message
