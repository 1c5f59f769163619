"""Plants that are networks of state, inputs and noise: the same step by step, with sets around every trajectory."""

import json
from fractions import Fraction

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify import Answer, Box, Controller, Kind, NetworkSystem, NonlinearSystem, Requirement
from admm_verify.reach.discrete.rollout import rollout
from tests.reach.systems import dense, drawn
from tests.reach.tasks import PENDULUM, write

STEPS = 3
FAST = av.ReachSettings(method="crown", iterations=10, samples=1000)


class Vehicle(torch.nn.Module):
    """Two states; what steers the second one ends somewhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.drag = torch.nn.Linear(2, 2).double()

    def forward(self, x: torch.Tensor, u: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        moved, turn = x + 0.1 * torch.tanh(self.drag(x)), torch.sin(x[:, :1])
        pushed = 0.2 * torch.clamp(u, -0.1, 0.3) * turn + 0.1 * torch.cos(x[:, 1:]) ** 2
        return torch.cat([moved[:, :1] + 0.1 * w * turn, (moved[:, 1:] + pushed) / (1 + x[:, :1] ** 2)], dim=1)


def system() -> NonlinearSystem:
    plant = av.trace_plant(Vehicle(), 2, 1, 1)
    noise = Box(np.array([-0.2]), np.array([0.1]))
    return NonlinearSystem(Controller.of(dense(np.random.default_rng(1), 2, 6, 1)), plant, noise)


def simulated(own: NonlinearSystem, x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """By torch, step after step: noise [points, steps, 1] -> [points, steps + 1, 2]."""
    module, states = Vehicle(), [x]
    for t in range(STEPS):
        u = own.controller.network(states[-1]).reshape(-1, 1)
        with torch.no_grad():
            states.append(module(*map(torch.tensor, (states[-1], u, noise[:, t]))).numpy())
    return np.stack(states, axis=1)


def test_no_trajectory_leaves_the_sets() -> None:
    rng, own, box = np.random.default_rng(2), system(), Box(np.array([-0.3, 0.1]), np.array([0.1, 0.4]))
    limit = Requirement(Kind.ALWAYS_IN, av.Polytope.box([-2, -2], [2, 2]), Fraction(0), Fraction(STEPS))
    about = Requirement(
        Kind.NEVER_IN, av.Polytope.box([1], [None]), Fraction(0), Fraction(STEPS), of=av.Quantities.read(["x1*x2"], 2)
    )
    found = av.reach_sets(av.Task("vehicle", own, box, STEPS, (limit, about)), "octagon", settings=FAST)
    assert [one.outcome for one in found.judgements] == [Answer.VERIFIED] * 2
    paths = simulated(own, drawn(rng, box, 3000, 1)[:, 0], drawn(rng, own.noise, 3000, STEPS))
    sets = found.sets
    for t in range(STEPS + 1):
        most = (paths[:, t] @ sets.directions.T).max(axis=0)
        assert (most <= sets.upper[t]).all() and (sets.upper[t] <= most + 0.2).all()


def test_the_steps_of_a_horizon_take_one_graph_each() -> None:
    """What reads a state twice, entry by entry, is not written out again in every step."""
    own = system()
    once, many = (rollout(own, steps).network for steps in (1, 30))
    assert len(many.functions) == 30 * len(once.functions) and len(many.nodes) <= 30 * len(once.nodes)
    again = rollout(NetworkSystem(av.trace_plant(lambda x: torch.sin(x) + 0.1 * x.flip(1) * x[:, :1], 2)), 30).network
    assert len(again.nodes) <= 30 * 10


def test_tightening_goes_round_products_that_nobody_reads() -> None:
    """Two branches of one state, of which the later layers' neurons see either."""
    network = rollout(system(), 1).network
    box = Box(np.array([-0.3, 0.1, -0.2]), np.array([0.1, 0.4, 0.1]))
    tight, plain = (av.preactivation_bounds(network, box, method=method) for method in ("tightened", "crown"))
    x = box.scattered(2000, np.random.default_rng(3))
    values = network.evaluate(x)
    for k, source in enumerate(network.sources):
        own = np.asarray(values[source])
        assert (tight.lower[k] <= own).all() and (own <= tight.upper[k]).all()
        assert (plain.lower[k] <= tight.lower[k] + 1e-9).all() and (tight.upper[k] <= plain.upper[k] + 1e-9).all()


def test_plants_in_onnx(tmp_path) -> None:
    """x+ = A (x, u) with A from a file, beside the same by matrices."""
    matrix = np.array([[1.0, 0.1, 0.0], [-0.1, 0.9, 0.2]])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["z", "A"], ["y"])],
        "plant",
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1, 2])],
        [numpy_helper.from_array(matrix.T.copy(), "A")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "plant.onnx")
    limit = [{"kind": "always_in", "box": {"lower": [-1, -1], "upper": [1, 1]}}]
    data = PENDULUM | {"dynamics": {"kind": "discrete", "onnx": "plant.onnx"}, "property": limit}
    path = write(tmp_path, data)
    task = av.read_task(path)
    linear = {"kind": "discrete_linear", "A": matrix[:, :2].tolist(), "B": matrix[:, 2:].tolist()}
    same = av.read_task(write(tmp_path, data | {"dynamics": linear}))
    start = task.initial.scattered(20, np.random.default_rng(0))
    np.testing.assert_allclose(av.simulate(task.system, start, 9), av.simulate(same.system, start, 9), rtol=1e-12)
    (one,) = av.reach_sets(task, timeout=30).judgements
    assert one.outcome is Answer.VERIFIED
    path.write_text(json.dumps(data | {"dynamics": data["dynamics"] | {"equations": ["x1", "x2"]}}))
    with pytest.raises(av.InputError, match=r"dynamics\.equations' is not read"):
        av.read_task(path)


def test_what_is_no_plant_is_named() -> None:
    plant = av.trace_plant(lambda x, u: x + 0.1 * torch.relu(u), 2, 2)
    assert np.allclose(plant(np.array([[1.0, 2.0, 3.0, -4.0]])), [[1.3, 2.0]])
    for make, words in (
        (lambda: av.trace_plant("x1", 2), "is str"),
        (lambda: av.trace_plant(lambda x: x, 10**12), "at most 16777216"),
        (lambda: av.trace_plant(lambda x: x[:, :1], 2), "gives 1 numbers for 2 states"),
        (lambda: av.trace_plant(lambda x: x, 2, element_type="float16"), "'float16'"),
        (lambda: NonlinearSystem(None, plant), "has to take 2 and to give 2"),
        (lambda: NonlinearSystem(Controller.of(dense(np.random.default_rng(0), 2, 1)), plant), "has to take 3"),
    ):
        with pytest.raises(av.InputError, match=words):
            make()
