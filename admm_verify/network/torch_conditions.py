"""ATen comparisons of values that depend on the input, and what may read them."""

from dataclasses import replace
from typing import Any

import numpy as np

from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value
from admm_verify.network.stepped import both, either
from admm_verify.network.switch import Comparison, switch
from admm_verify.network.torch_layers import Handler, number


def _greater(builder: Builder, first: Any, second: Any) -> Comparison:
    return Comparison(builder.add(number(first), number(second), -1.0))


def _less(builder: Builder, first: Any, second: Any) -> Comparison:
    return _greater(builder, second, first)


def _at_least(builder: Builder, first: Any, second: Any) -> Comparison:
    return _less(builder, first, second).negated()


def _at_most(builder: Builder, first: Any, second: Any) -> Comparison:
    return _greater(builder, first, second).negated()


COMPARISONS: dict[str, Handler] = {"ge": _at_least, "gt": _greater, "le": _at_most, "lt": _less}
"""Handlers by ATen operator name, whose results are conditions."""


def _where(builder: Builder, condition: Any, first: Any, second: Any) -> Value:
    if not isinstance(condition, Comparison):
        raise UnsupportedUse("one of its values is itself a comparison, whose steps have no relaxation")
    return switch(builder, condition, number(first), number(second))


def _masked_fill(builder: Builder, x: Any, mask: Any, fill: Any) -> Value:
    return _where(builder, mask, fill, x)


def _index_put(builder: Builder, x: Any, indices: Any, fill: Any, accumulate: bool = False) -> Value:
    mask = indices[0]
    whole = len(indices) == 1 and isinstance(mask, Comparison) and mask.shape == x.shape
    if not whole or accumulate or isinstance(fill, Tensor) or np.size(fill) != 1:
        raise UnsupportedUse("it writes by a comparison, of the whole tensor, anything but one constant number")
    return _where(builder, mask, np.reshape(fill, ()), x)


def _times(builder: Builder, first: Any, second: Any) -> Value | Comparison:
    condition, other = (first, second) if isinstance(first, Comparison) else (second, first)
    if isinstance(other, Comparison):
        return both(builder, condition, other)
    return switch(builder, condition, number(other), np.zeros(()))


def _both(builder: Builder, first: Any, second: Any) -> Comparison:
    return both(builder, _condition(first), _condition(second))


def _either(builder: Builder, first: Any, second: Any) -> Comparison:
    return either(builder, _condition(first), _condition(second))


def _condition(value: Any) -> Comparison:
    if not isinstance(value, Comparison):
        raise UnsupportedUse("it joins a comparison with constants")
    return value


def _not(builder: Builder, condition: Comparison) -> Comparison:
    return condition.negated()


def _as_it_is(builder: Builder, condition: Comparison, *target: Any, **options: Any) -> Comparison:
    """A copy, or ones and zeros in another type."""
    kinds = [options.get("dtype"), *target]
    return replace(condition, numeric=any(getattr(kind, "is_floating_point", False) for kind in kinds))


def _nothing(builder: Builder, *arguments: Any, **options: Any) -> None:
    """A check that torch makes at run time."""


CONDITIONAL: dict[str, Handler] = {
    "_assert_tensor_metadata": _nothing,
    "_to_copy": _as_it_is,
    "bitwise_and": _both,
    "bitwise_not": _not,
    "bitwise_or": _either,
    "clone": _as_it_is,
    "index_put": _index_put,
    "logical_and": _both,
    "logical_not": _not,
    "logical_or": _either,
    "masked_fill": _masked_fill,
    "mul": _times,
    "to": _as_it_is,
    "where": _where,
}
"""Handlers by ATen operator name of operations that read a condition."""
