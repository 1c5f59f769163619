"""Models of several outputs and inputs, with functions of their own, in files and in memory."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.cli import main
from tests.network.onnx_models import node, weights

W, V, TABLE = weights(4, 3), weights(3, 2), weights(1, 4)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def two_heads(functions=()):
    """x and a table in; a head of logits, and one that sorts, which is not read."""
    nodes = [
        node("Add", ["x", "table"], ["shifted"]),
        node("MatMul", ["shifted", "w"], ["hidden"]),
        node("Relu", ["hidden"], ["features"]),
        node("MatMul", ["features", "v"], ["logits"]),
        node("Unique", ["features"], ["sorted"]),
        node("Mul", ["image", "image"], ["square"]),
    ]
    inputs = [floats("x", "N", 4), floats("table", "N", 4), floats("image", 1, 2)]
    outputs = [floats("logits", "N", 2), floats("sorted", None), floats("square", 1, 2)]
    constants = [numpy_helper.from_array(W, "w"), numpy_helper.from_array(V, "v")]
    graph = helper.make_graph(nodes, "heads", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, functions=functions)


def expected(proto, output, x, table):
    feed = {"x": x, "table": table, "image": np.zeros((1, 2), np.float32)}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([output], feed)[0]


def refusal(*given, **chosen):
    with pytest.raises(av.AdmmVerifyError) as caught:
        av.read_onnx(*given, **chosen)
    return str(caught.value)


@pytest.mark.parametrize(
    "fixed", [TABLE, TABLE[0], TABLE.astype(float).tolist(), torch.nn.Parameter(torch.tensor(TABLE))]
)
def test_one_output_and_one_input_are_read(fixed):
    proto = two_heads()
    net = av.read_onnx(proto, output="logits", inputs={"table": fixed})
    assert net.input_shape == (4,) and net.output_shape == (2,)
    x = weights(1, 4)
    assert np.allclose(net(x), expected(proto, "logits", x, TABLE), rtol=1e-5)


def test_values_inside_are_outputs_too(tmp_path):
    proto = two_heads()
    onnx.save(proto, tmp_path / "net.onnx")
    net = av.read_onnx(tmp_path / "net.onnx", output="features", inputs={"table": TABLE})
    assert net.output_shape == (3,)
    # What the output does not read need not be given, and may be the free one.
    assert av.read_onnx(proto, output="features", inputs={"x": TABLE, "image": np.ones((1, 2))}).input_shape == (4,)


def test_what_there_is_to_choose_from_is_named():
    proto = two_heads()
    text = refusal(proto)
    assert 'output="logits"' in text and "--output-name logits" in text
    assert "logits (FLOAT [N, 2]), sorted (FLOAT [N]), square (FLOAT [1, 2])" in text
    assert "logits" in refusal(proto, output="logit") and "logit" in refusal(proto, output="logit")
    assert "text" in refusal(proto, output=0)
    text = refusal(proto, output="logits")
    assert "x (FLOAT [N, 4]), table (FLOAT [N, 4])" in text and 'inputs={"table": array}' in text and "--fix" in text
    assert "Leave one" in refusal(proto, output="logits", inputs={"x": TABLE, "table": TABLE, "image": TABLE[:, :2]})
    assert "no input named y" in refusal(proto, output="logits", inputs={"y": TABLE})
    assert "shape (3,)" in refusal(proto, output="logits", inputs={"table": np.ones(3)})
    assert "type str" in refusal(proto, output="logits", inputs={"table": "a"})
    masked = np.ma.masked_array(TABLE, mask=TABLE > np.median(TABLE))
    assert "masked" in refusal(proto, output="logits", inputs={"table": masked})
    assert "mapping" in refusal(proto, output="logits", inputs=[TABLE])


def test_integer_inputs_are_given_exactly():
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    inputs = [floats("x", 2, 3), helper.make_tensor_value_info("shape", TensorProto.INT64, [2])]
    graph = helper.make_graph(nodes, "g", inputs, [floats("y", None, None)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert av.read_onnx(proto, inputs={"shape": [3, 2]}).output_shape == (3, 2)
    assert av.read_onnx(proto, inputs={"shape": np.array([3.0, 2.0])}).output_shape == (3, 2)
    assert "int64 is needed" in refusal(proto, inputs={"shape": [3.5, 2.0]})


@pytest.mark.parametrize("given", [True, np.array(False), np.bool_(True), 1, torch.tensor(True)])
def test_truth_values_are_given_as_such(given):
    nodes = [node("Where", ["flag", "x", "w"], ["y"])]
    inputs = [floats("x", 1, 3), helper.make_tensor_value_info("flag", TensorProto.BOOL, [])]
    stored = [numpy_helper.from_array(W[:1], "w")]
    graph = helper.make_graph([*nodes, node("Add", ["y", "x"], ["z"])], "g", inputs, [floats("z", 1, 3)], stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = weights(1, 3)
    net = av.read_onnx(proto, inputs={"flag": given})
    assert np.allclose(net(x), x + (x if given else W[:1]))


def test_functions_are_inlined():
    """As torch's exporter wrote them before its optimizer inlined them."""
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "a"], ["b"])]
    function = helper.make_function("pkg.torch", "both", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("both", ["x"], ["h"], domain="pkg.torch"), node("MatMul", ["h", "w"], ["y"])],
        "g",
        [floats("x", 1, 4)],
        [floats("y", 1, 3)],
        [numpy_helper.from_array(W, "w")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("pkg.torch", 1)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=[function])
    x = weights(1, 4)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(av.read_onnx(proto)(x), session.run(None, {"x": x})[0], rtol=1e-5)


def test_queries_are_about_the_chosen_part_and_replayed_on_it(tmp_path, capfd):
    proto, x = two_heads(), weights(1, 4)
    at = np.maximum((x + TABLE) @ W, 0) @ V
    onnx.save(proto, tmp_path / "net.onnx")
    np.save(tmp_path / "table.npy", TABLE)
    chosen = ["--network", str(tmp_path / "net.onnx"), "--output-name", "logits", "--fix"]
    lines = [f"(declare-const X_{i} Real)" for i in range(4)] + [f"(declare-const Y_{i} Real)" for i in range(2)]
    for i, value in enumerate(x[0].tolist()):
        lines += [f"(assert (>= X_{i} {value - 0.1}))", f"(assert (<= X_{i} {value + 0.1}))"]
    path = tmp_path / "query.vnnlib"
    for end, verdict in ((at[0, 0] - 0.1, av.Verdict.SAT), (at[0, 0] + 100, av.Verdict.UNSAT)):
        path.write_text("\n".join([*lines, f"(assert (>= Y_0 {end}))"]))
        query = av.read_query(path, proto, output="logits", inputs={"table": TABLE})
        assert query.model is not None
        outcome = av.verify(query)
        assert outcome.verdict is verdict
        if outcome.counterexample is not None:
            point = outcome.counterexample.reshape(1, 4)
            assert np.array_equal(outcome.output.reshape(1, 2), expected(proto, "logits", point, TABLE))
        assert main(["verify", str(path), *chosen, f"table={tmp_path / 'table.npy'}"]) == 0
        assert capfd.readouterr().out.startswith(f"{verdict.value}\n")
    for wrong, word in (("table", "NAME=FILE.npy"), ("tab=", "NAME=FILE.npy"), ("table=none.npy", "No such file")):
        assert main(["verify", str(path), *chosen, wrong]) == 1
        assert word in capfd.readouterr().err
    net = av.read_onnx(proto, output="logits", inputs={"table": TABLE})
    with pytest.raises(av.InputError, match="a network already"):
        av.read_query(path, net, output="logits")
