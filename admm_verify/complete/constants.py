"""Queries that fix the inputs by which the network multiplies: for each group of values they are constants."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from admm_verify.errors import UnsupportedOperatorError
from admm_verify.network.from_onnx import network_from_model
from admm_verify.network.onnx_files import model_from_bytes
from admm_verify.network.onnx_part import part_of
from admm_verify.network.onnx_whole import factor_inputs
from admm_verify.properties.query import Query
from admm_verify.run import Run

_MOST_GROUPS = 256
"""Networks that are read for one query."""


@dataclass(frozen=True, eq=False)
class Group:
    """The query about some of the disjuncts, and their numbers."""

    query: Query
    numbers: list[int]


def by_constants(query: Query, run: Run) -> list[Group]:
    """The disjuncts of a query grouped by the numbers of the inputs that are factors of other values and that every
    disjunct fixes, with the network read anew where these are constants; nothing where there are none.

    Only numbers of the network's type are constants: there the network as computed and in real numbers have them alike.
    Raises: Stopped.
    """
    network, disjuncts = query.network, query.property.disjuncts
    if query.model is None or not disjuncts or not any(node.kind == "product" for node in network.functions):
        return []
    model = part_of(model_from_bytes(query.model, network.name))
    boxes = list({id(one.box): one.box for one in disjuncts}.values())
    dtype = np.dtype(network.element_type).type
    fixed = [
        i
        for i in sorted(factor_inputs(model.proto, network.name))
        if all(box.fixes(i) and Fraction(float(dtype(float(box.range[0][i])))) == box.range[0][i] for box in boxes)
    ]
    groups: dict[tuple[Fraction, ...], list[int]] = {}
    for number, disjunct in enumerate(disjuncts):
        ends = disjunct.box.range[0]
        groups.setdefault(tuple(ends[i] for i in fixed), []).append(number)
    if not fixed or len(groups) > _MOST_GROUPS:
        return []
    found = []
    for values, numbers in groups.items():
        constants = dict(zip(fixed, map(float, values), strict=True))
        own = replace(query.property, disjuncts=tuple(disjuncts[i] for i in numbers))
        try:
            part = network_from_model(model, run, constants)
        except UnsupportedOperatorError:
            # Its numbers would be rounded; the network that reads them as inputs is bounded instead.
            return []
        found.append(Group(replace(query, property=own, network=part), numbers))
    return found
