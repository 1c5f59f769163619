"""How far onnxruntime and torch are from smooth functions in float32, against what the records allow for."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from admm_verify.arrays import SINGLE_ROUNDOFF, quiet_overflow
from admm_verify.network.activations import FUNCTIONS
from admm_verify.relaxations.registry import RELAXATIONS

OPERATORS = {
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "gelu": "Gelu",
    "gelu_tanh": "Gelu",
    "hardswish": "HardSwish",
    "log": "Log",
    "mish": "Mish",
    "power": "Pow",
    "reciprocal": "Reciprocal",
    "sin": "Sin",
    "sinh": "Sinh",
    "softsign": "Softsign",
    "sqrt": "Sqrt",
    "tan": "Tan",
}
EXPONENTS = {"power": [3.0, -0.5, 0.30000001192092896, 1.7000000476837158, -3.0]}
NONNEGATIVE = ("log", "sqrt", "power")


def by_onnxruntime(kind: str, exponent: float | None) -> Callable[[np.ndarray], np.ndarray]:
    operator, given = OPERATORS[kind], ["x"] if exponent is None else ["x", "e"]
    attributes = {"approximate": "tanh"} if kind == "gelu_tanh" else {}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    constants = [] if exponent is None else [helper.make_tensor("e", TensorProto.FLOAT, [], [exponent])]
    graph = helper.make_graph(
        [helper.make_node(operator, given, ["y"], **attributes)], "g", ends[:1], ends[1:], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def by_torch(kind: str, exponent: float | None) -> Callable[[np.ndarray], np.ndarray]:
    library = torch.nn.functional
    named = {
        "gelu_tanh": lambda x: library.gelu(x, approximate="tanh"),
        "power": lambda x: x**exponent,
        **{name: getattr(library, name) for name in ("gelu", "hardswish", "mish", "silu", "softsign")},
    }
    function = named[kind] if kind in named else getattr(torch, kind)
    return lambda x: function(torch.from_numpy(x)).numpy()


CASES = [
    (kind, exponent, make)
    for kind in (*OPERATORS, "silu", "square")
    for exponent in EXPONENTS.get(kind, [None])
    for make in ((by_onnxruntime, by_torch) if kind in OPERATORS else (by_torch,))
]


@pytest.mark.parametrize(("kind", "exponent", "make"), CASES)
def test_runtimes_stay_within_what_is_allowed_for(kind, exponent, make):
    rng = np.random.default_rng(0)
    sized = rng.choice([-1.0, 1.0], 20_000) * 10.0 ** rng.uniform(-6, 7, 20_000)
    x = np.concatenate([3 * rng.normal(size=40_000), sized, np.linspace(-110, 90, 40_000)]).astype(np.float32)
    x = np.abs(x) + np.float32(1e-6) if kind in NONNEGATIVE else x
    x = np.abs(x) + np.float32(1.0) if kind == "acosh" else np.tanh(x / 8) if kind in ("asin", "atanh") else x
    x = x[np.abs(x) < 1] if kind == "atanh" else x
    parameters = [] if exponent is None else [np.array(exponent)]
    record, wide = RELAXATIONS[kind](*parameters), x.astype(np.float64)
    with quiet_overflow():
        exact = FUNCTIONS[kind](wide, parameters)
        found = make(kind, exponent)(x).astype(np.float64)
        # Beyond, no bound says anything, whatever overflows.
        usual = np.abs(exact) <= 2.0**126
        allowed = record.own_error(wide, wide, np.abs(exact), SINGLE_ROUNDOFF) + 2.0**-122
        assert (np.abs(found - exact) <= allowed)[usual].all()
