"""Step functions cut at their jumps: parts beside a jump are flat, and nothing between them is lost."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.network.builder import Builder
from admm_verify.relaxations.steps import Ceil, Floor, Heaviside, Round, Sign, StepFunction
from tests.complete.queries import NEURONS

KINDS: dict[str, tuple[float, ...]] = {"ceil": (), "floor": (), "heaviside": (1.0,), "round": (), "sign": ()}
BOX = av.Box(np.array([-2.25, -1.0]), np.array([2.75, 1.0]))


def distance(kind: str, *parameters: float) -> av.Network:
    """|phi(x0 + x1 / 2) - 1 / 2|, which is 1 / 2 or more, as phi is whole."""
    builder = Builder((1, 2), "float64")
    x = builder.matmul(builder.input, np.array([[1.0], [0.5]]))
    step = builder.activation(kind, x, *parameters)
    return builder.finish(builder.activation("prelu", builder.add(step, np.array(-0.5)), -1.0), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_whole_values_exclude_is_decided(kind):
    network = distance(kind, *KINDS[kind])
    settings = av.VerifySettings(max_subproblems=200, search=NEURONS, arithmetic="real")
    found = av.verify(av.query(network, BOX, "y0 <= 0.49"), settings=settings)
    assert found.verdict is av.Verdict.UNSAT and found.subproblems <= 30
    assert av.verify(av.query(network, BOX, "y0 <= 0.5"), settings=settings).verdict is av.Verdict.SAT
    # Where arithmetic may come out on either side of a jump, nothing is claimed there.
    near = av.VerifySettings(max_subproblems=30, search=NEURONS, arithmetic="float32")
    assert av.verify(av.query(network, BOX, "y0 <= 0.49"), settings=near).verdict is not av.Verdict.SAT


STEPS: list[StepFunction] = [
    *(record(tolerance=e) for record in (Ceil, Floor, Round, Sign) for e in (0.0, 1e-6, 0.3)),
    *(Heaviside(np.array(at_zero), tolerance=e) for at_zero in (0.0, 0.5, 1.0) for e in (0.0, 1e-6)),
]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_parts_hold_all_floats_and_become_flat(step):
    rng = np.random.default_rng(0)
    low = np.concatenate([rng.uniform(-4, 4, 300), np.round(2 * rng.uniform(-4, 4, 300)) / 2])
    high = low + np.where(rng.random(600) < 0.3, np.round(3 * rng.random(600)), 3 * rng.random(600))
    beside = rng.random(600) < 0.2
    low = np.where(beside, np.nextafter(low, -9.0), low)
    left = [(low[i : i + 1], high[i : i + 1]) for i in range(600)]
    tolerance = float(np.max(step.tolerance))
    for _ in range(40):
        parts = []
        for start, end in left:
            if not step.open(start, end).any():
                continue
            below, above = step.halves(start, end)
            if not (start <= below < end and start < above <= end):
                # What is left is no wider than the tolerance.
                assert (end - start <= 2.001 * tolerance + 1e-12).all() and tolerance > 0
                continue
            # No float is between both parts; what rounds to neither is not there.
            assert (above == below).all() or (np.nextafter(below, np.inf) == above).all()
            if tolerance == 0 and (above > below).all():
                inside = step.value(below)
                assert (step.image(start, below)[1] == inside).all()
            parts += [(start, below), (above, end)]
        left = parts
    assert not left
