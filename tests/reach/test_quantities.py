"""Requirements on functions of the state: what is shown of them holds for every trajectory."""

import json
from fractions import Fraction

import numpy as np
import pytest

import admm_verify as av
from admm_verify import Answer, Kind
from admm_verify.arrays import quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from tests.reach.tasks import INTEGRATOR, PENDULUM, write

TEXTS = ("x1*x2", "x1**2 + x2**2", "sin(x1)/(2 + x2)", "max(x1, -x2) - abs(x1*x2)", "pi*x1")
DISCRETE = PENDULUM["dynamics"] | {"kind": "discrete", "equations": ["x1 + 0.1*x2", "x2 + 0.1*(g*sin(x1) - d*x2 + u1)"]}
SYSTEMS = {"linear": INTEGRATOR, "discrete": PENDULUM | {"dynamics": DISCRETE}, "continuous": PENDULUM}


def asked(kind: str, low: float | None, high: float | None, texts=("x1**2 + x2**2",), **times) -> dict:
    return {"kind": kind, "of": list(texts), "box": {"lower": [low], "upper": [high]}, **times}


def test_forms_hold_the_values_at_every_point() -> None:
    rng = np.random.default_rng(0)
    states = AffineForms(rng.uniform(-0.5, 0.5, (4, 2)), 0.2 * rng.standard_normal((4, 2, 3)), np.zeros((4, 2)))
    quantities, directions = av.Quantities.read(TEXTS, 2), rng.standard_normal((20, len(TEXTS)))
    bound = quantities.support(states, directions)
    for cell in range(4):
        z = rng.uniform(-1, 1, (3000, 3))
        z[::2] = np.sign(z[::2])
        x = states.centre[cell] + z @ states.generators[cell].T
        own = np.stack(
            [
                x[:, 0] * x[:, 1],
                (x**2).sum(axis=1),
                np.sin(x[:, 0]) / (2 + x[:, 1]),
                np.maximum(x[:, 0], -x[:, 1]) - np.abs(x[:, 0] * x[:, 1]),
                np.pi * x[:, 0],
            ],
            axis=1,
        )
        np.testing.assert_allclose(quantities.values(x), own, rtol=1e-12, atol=1e-15)
        most = (own @ directions.T).max(axis=0)
        assert (most <= bound[cell]).all() and (bound[cell] <= most + 1.5 * np.abs(directions).sum(axis=1)).all()


def test_what_is_not_defined_is_not_bounded() -> None:
    states = AffineForms(np.array([[0.0, 0.0], [2.0, 0.0]]), np.ones((2, 2, 1)), np.zeros((2, 2)))
    with quiet_overflow():
        found = av.Quantities.read(["tanh(1/x1)", "x2"], 2).support(states, np.eye(2))
    assert np.isinf(found[0, 0]) and np.isfinite(found[1]).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_verdicts_beside_simulations(tmp_path, name: str) -> None:
    """Limits on both sides of what simulations attain, far enough for either to be shown."""
    data, path = SYSTEMS[name], write(tmp_path, SYSTEMS[name] | {"property": []})
    task = av.read_task(path)
    paths = av.simulate(task.system, task.initial.scattered(500, np.random.default_rng(0)), task.steps)
    radius = (paths**2).sum(axis=-1)
    most, least = float(radius.max()), float(radius[:, -1].min())
    product = float((paths[..., 0] * paths[..., 1]).max())
    data = data | {
        "property": [
            asked("always_in", None, most + 0.1),
            asked("always_in", None, most - 0.02),
            asked("never_in", most + 0.1, None),
            asked("reach_at_end", None, least - 0.01),
            {"kind": "always_le", "expr": f"x1*x2 - {product + 0.1!r}"},
            {"kind": "always_le", "expr": f"x1*x2 - ({product - 0.01!r})"},
            asked("always_in", -0.01, None, ["x1 + x2 - 1/x1"]),
        ]
    }
    path.write_text(json.dumps(data))
    found = av.reach_sets(av.read_task(path), timeout=30).judgements
    true, false = Answer.VERIFIED, Answer.FALSIFIED
    assert [one.outcome for one in found] == [true, false, true, false, true, false, false]
    for one in found:
        if one.outcome is false:
            assert one.requirement.room(one.trajectory[None])[0] < 0


def test_quantities_check_what_they_are_given() -> None:
    two, times = av.Quantities.read(["x1", "x2"], 2), (Fraction(0), Fraction(1))
    for make, words in (
        (lambda: av.Quantities.read([], 2), "no quantities"),
        (lambda: av.Quantities.read(["x3"], 2), "name 'x3'"),
        (
            lambda: av.Requirement(Kind.NEVER_IN, av.Polytope.box([0], [1]), *times, of=two),
            "quantities",
        ),
    ):
        with pytest.raises(av.InputError, match=words):
            make()
