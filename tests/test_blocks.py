"""Blocks of rows in another process, which knows of them only what was pickled: the same numbers."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from multiprocessing import get_context

import numpy as np

import admm_verify as av
from admm_verify.arrays import Placement, quiet_overflow
from admm_verify.splitting.solve import Block
from tests.complete.test_threads import near, splitters
from tests.random_networks import random_case


def block_of(method: str, precision: str) -> Block:
    case = random_case(3)
    objective = np.random.default_rng(0).standard_normal((5, case.network.output_size))
    problem = av.Problem(case.network, case.box, objective)
    place = Placement.numpy() if precision == "float64" else Placement.numpy().single
    return Block(
        problem, method, place, av.SolverSettings(max_passes=40, tolerance=0.0), av.Run.of(None, timeout=600.0)
    )


def blocks() -> dict[str, tuple[Callable, tuple]]:
    """Work on rows first..last, by what it is."""
    found = {f"solve by {method}": (block_of(method, "float64").solved, (1, 4)) for method in ("auto", "admm")}
    found["solve in float32"] = block_of("ascent", "float32").solved, (0, 5)
    halving, fixing = splitters(near(3, "dense")[1])
    with quiet_overflow():
        boxes, parts = halving.root().open, fixing.root().open
    bounds = av.preactivation_bounds(halving.network, boxes.inputs)
    found["halved boxes"] = partial(halving._block, boxes, boxes.inputs, bounds), (0, len(boxes.disjunct))
    found["fixed signs"] = partial(fixing._block, parts, 3), (0, len(parts.disjunct))
    return found


def arrays_of(thing: object) -> list[np.ndarray]:
    """All arrays of a record, at any depth, but for what depends on the clock."""
    if isinstance(thing, np.ndarray):
        return [thing]
    parts = thing if isinstance(thing, tuple | list) else ()
    if hasattr(thing, "__dataclass_fields__"):
        parts = [getattr(thing, field.name) for field in fields(thing)]
    return [array for part in parts for array in arrays_of(part)]


def test_blocks_travel_to_another_process() -> None:
    works = blocks()
    with quiet_overflow():
        here = {name: work(*span) for name, (work, span) in works.items()}
    with get_context("spawn").Pool(1) as pool:
        there = {name: pool.apply(work, span) for name, (work, span) in works.items()}
    for name, found in here.items():
        ours, theirs = arrays_of(found), arrays_of(there[name])
        assert len(ours) == len(theirs) > 0, name
        for array, other in zip(ours, theirs, strict=True):
            assert np.array_equal(array, other, equal_nan=True), name
