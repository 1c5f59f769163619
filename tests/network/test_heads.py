"""Classifiers that end in a softmax, an argmax or the like: they compute it, and are compared by their scores."""

import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.cli import main
from tests.network.onnx_models import node, weights

W, CLASSES = weights(4, 3), np.array([5, 7, 9])
SCORES = node("MatMul", ["x", "w"], ["logits"])


def ml(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, domain="ai.onnx.ml", **attributes)


LINEAR = {"coefficients": W.T.reshape(-1).tolist(), "intercepts": [0.1, -0.2, 0.3], "classlabels_ints": [2, 4, 8]}
HEADS = {
    "softmax": ([SCORES, node("Softmax", ["logits"], ["y"], axis=-1)], 13),
    "softmax of old": ([SCORES, node("Softmax", ["logits"], ["y"])], 11),
    "log-softmax": ([SCORES, node("LogSoftmax", ["logits"], ["y"], axis=1)], 13),
    "log of softmax": ([SCORES, node("Softmax", ["logits"], ["p"]), node("Log", ["p"], ["y"])], 13),
    "argmax": ([SCORES, node("ArgMax", ["logits"], ["y"], axis=1, keepdims=0)], 13),
    "last argmax": ([SCORES, node("ArgMax", ["logits"], ["y"], axis=1, select_last_index=1)], 13),
    "argmax of softmax": ([SCORES, node("Softmax", ["logits"], ["p"]), node("ArgMax", ["p"], ["y"], axis=-1)], 13),
    "reshaped": (
        [
            SCORES,
            node("Softmax", ["logits"], ["p"]),
            node("Reshape", ["p", "s"], ["q"]),
            node("Identity", ["q"], ["y"]),
        ],
        13,
    ),
    "labels of a perceptron": (
        [
            SCORES,
            node("ArgMax", ["logits"], ["i"], axis=1),
            ml("ArrayFeatureExtractor", ["classes", "i"], ["a"]),
            node("Cast", ["a"], ["f"], to=TensorProto.FLOAT),
            node("Reshape", ["f", "s"], ["r"]),
            node("Cast", ["r"], ["y"], to=TensorProto.INT64),
        ],
        13,
    ),
    "gathered labels": (
        [SCORES, node("ArgMax", ["logits"], ["i"], axis=1), node("Gather", ["classes", "i"], ["y"])],
        13,
    ),
    "labels of a regression": ([ml("LinearClassifier", ["x"], ["y", "p"], **LINEAR)], 13),
    "normalised sigmoids": (
        [
            ml("LinearClassifier", ["x"], ["l", "p"], post_transform="LOGISTIC", **LINEAR),
            ml("Normalizer", ["p"], ["y"], norm="L1"),
        ],
        13,
    ),
    "normalised softmax": (
        [
            ml("LinearClassifier", ["x"], ["l", "p"], post_transform="SOFTMAX", **LINEAR),
            ml("Normalizer", ["p"], ["y"], norm="L1"),
        ],
        13,
    ),
}


def model(name, extra=(), output="y"):
    nodes, opset = HEADS[name]
    constants = {"w": W, "classes": CLASSES, "s": np.array([-1])}
    graph = helper.make_graph(
        [*nodes, *extra],
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_empty_tensor_value_info(output)],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def query_text(outputs, *asserted):
    lines = [f"(declare-const X_{i} Real)" for i in range(4)] + [f"(declare-const Y_{i} Real)" for i in range(outputs)]
    lines += [f"(assert (>= X_{i} -1))\n(assert (<= X_{i} 1))" for i in range(4)]
    return "\n".join([*lines, *(f"(assert {text})" for text in asserted)])


@pytest.mark.parametrize("name", HEADS)
def test_what_a_network_with_a_head_computes(name):
    proto = model(name)
    net = av.read_onnx(proto)
    assert net.head is not None and net.scores.head is None and net.scores.output_size == 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = weights(20, 4)
    for x, ours, own in zip(batch, net(batch), net(torch.from_numpy(batch)), strict=True):
        theirs = session.run(None, {"x": x[None]})[0].reshape(-1)
        assert ours.size == theirs.size and np.allclose(ours.reshape(-1), theirs, rtol=1e-5, atol=1e-6)
        assert np.allclose(own.reshape(-1), theirs, rtol=1e-5, atol=1e-6)


def test_the_logarithm_of_no_probability_is_computed_in_silence():
    net = av.read_onnx(model("log of softmax"))
    assert (net(1e4 * weights(20, 4)) == -np.inf).any()


def test_no_door_but_those_of_comparisons_takes_a_head():
    net, box = av.read_onnx(model("softmax")), av.Box(-np.ones(4), np.ones(4))
    for door in (
        lambda: av.Problem(net, box, np.eye(3)),
        lambda: av.output_bounds(net, box),
        lambda: av.preactivation_bounds(net, box),
        lambda: av.PreactivationBounds.from_arrays(net, []),
        lambda: av.Controller.of(net),
        lambda: av.NetworkSystem(net),
    ):
        with pytest.raises(av.InputError, match=r"a softmax, of which no bounds .* give network\.scores"):
            door()
    assert av.output_bounds(net.scores, box).lower.size == 3


def test_what_reads_a_softmax_makes_it_a_part_of_the_graph():
    for more in ([node("Relu", ["y"], ["z"])], [node("Transpose", ["y"], ["t"]), node("Mul", ["t", "t"], ["z"])]):
        net = av.read_onnx(model("softmax", more, "z"))
        assert net.head is None and av.read_onnx(model("softmax", more, "z"), output="logits").head is None
        batch = weights(20, 4)
        shares = np.asarray(av.read_onnx(model("softmax"))(batch))
        np.testing.assert_allclose(net(batch).reshape(20, -1), shares ** len(more), rtol=1e-6)


def test_the_place_of_the_largest_is_a_number():
    network, scores = av.read_onnx(model("argmax", [node("Neg", ["y"], ["z"])], "z")), av.read_onnx(model("softmax"))
    x = np.random.default_rng(3).normal(size=(50, 4))
    np.testing.assert_array_equal(network(x).reshape(-1), -np.argmax(scores(x).reshape(50, -1), axis=1))


def test_what_reads_a_head_is_refused_with_the_way_out():
    proto = model("argmax", [node("Cast", ["y"], ["z"], to=TensorProto.BOOL)], "z")
    with pytest.raises(av.UnsupportedOperatorError, match="labels"):
        av.read_onnx(proto)
    proto = model("softmax", [node("ArgMax", ["y"], ["z"], axis=0)], "z")
    with pytest.raises(av.UnsupportedOperatorError, match="another axis"):
        av.read_onnx(proto)


@pytest.mark.parametrize(
    ("name", "outputs", "text", "sat"),
    [
        ("softmax", 3, "(>= Y_0 Y_1)", True),
        ("log-softmax", 3, "(>= Y_0 (+ Y_1 100))", False),
        ("normalised sigmoids", 3, "(>= Y_2 Y_1)", True),
        ("argmax", 1, "(>= Y_0 2)", True),
        ("argmax", 1, "(>= Y_0 3)", False),
        ("last argmax", 1, "(<= Y_0 0.5)", True),
        ("labels of a perceptron", 1, "(or (<= Y_0 5) (>= Y_0 9))", True),
        ("labels of a perceptron", 1, "(and (> Y_0 5) (< Y_0 7))", False),
    ],
)
def test_queries_about_heads_are_decided_by_scores_and_replayed(name, outputs, text, sat, tmp_path):
    proto, path = model(name), tmp_path / "query.vnnlib"
    path.write_text(query_text(outputs, text))
    for source in (proto, av.read_onnx(proto)):
        query = av.read_query(path, source)
        assert "left out" in query.note()
        outcome = av.verify(query, timeout=10)
        assert outcome.verdict is (av.Verdict.SAT if sat else av.Verdict.UNSAT)
        if sat:
            assert np.allclose(outcome.output.reshape(-1), query.network(outcome.counterexample).reshape(-1), rtol=1e-5)


def test_labels_among_many_classes_take_no_cube_of_memory():
    """A label is one conjunction of as many atoms as there are classes, each over as many scores."""
    count = 300
    proto = model("argmax")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights(4, count), "w"))
    query = av.query(proto, av.Box(-np.ones(4), np.ones(4)), "y == 7")
    av.verify(query, settings=av.VerifySettings(max_subproblems=0))
    tracemalloc.start()
    try:
        found = av.verify(query, settings=av.VerifySettings(max_subproblems=0))
        assert found.verdict is not av.Verdict.UNSAT and tracemalloc.get_traced_memory()[1] < count**3 * 8 / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", ["softmax", "log-softmax", "log of softmax", "reshaped"])
def test_thresholds_are_decided_by_the_whole_network(tmp_path, head):
    path = tmp_path / "query.vnnlib"
    rng = np.random.default_rng(1)
    network = av.read_onnx(model(head))
    y = network(rng.uniform(-1, 1, (20_000, 4)))[..., 0]
    most, reach = float(y.max()), float(y.max() - y.min())
    for limit, verdict in ((most + 0.05 * reach, "unsat"), (most - 0.05 * reach, "sat")):
        path.write_text(query_text(3, f"(>= Y_0 {limit:.9f})"))
        query = av.read_query(path, model(head))
        assert query.note() is None
        outcome = av.verify(query, timeout=10)
        assert outcome.verdict.value == verdict
    assert outcome.output.reshape(-1)[0] >= limit
    settings = av.VerifySettings(arithmetic="float32")
    with pytest.raises(av.UnsupportedQueryError, match="in float32 arithmetic rounds"):
        av.verify(query, settings=settings)


def test_thresholds_on_what_has_no_nodes_are_refused_in_words(tmp_path):
    path = tmp_path / "query.vnnlib"
    path.write_text(query_text(3, "(>= Y_0 0.9)"))
    query = av.read_query(path, model("normalised sigmoids"))
    with pytest.raises(av.UnsupportedQueryError, match=r"line 16 is no comparison.*ask about the scores"):
        av.verify(query)


def test_unsat_is_about_real_numbers_where_rounding_makes_ties(tmp_path):
    """Two probabilities are 0 in float32 while their scores differ: only the scores, or real numbers, are decided."""
    proto = model("softmax")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32([[200, 100, 0]] * 4), "w"))
    path = tmp_path / "query.vnnlib"
    path.write_text(query_text(3, "(<= Y_1 Y_2)").replace(" -1)", " 0.5)"))
    query = av.read_query(path, proto)
    assert (query.network(np.float32([1, 1, 1, 1])) == [1, 0, 0]).all()
    assert av.verify(query, timeout=10).verdict is av.Verdict.UNSAT
    scores = av.read_query(path, proto, output="logits")
    settings = av.VerifySettings(arithmetic="float32")
    assert av.verify(scores, timeout=10, settings=settings).verdict is av.Verdict.UNSAT
    with pytest.raises(av.UnsupportedQueryError, match=r"in float32 arithmetic rounds.*output='logits'"):
        av.verify(query, settings=settings)


def test_the_command_line_says_what_is_left_out(tmp_path, capfd):
    path, proof = tmp_path / "query.vnnlib", tmp_path / "proof.npz"
    weight = numpy_helper.from_array(np.float32([[2, 1, 0]] * 4), "w")
    proto = model("softmax")
    proto.graph.initializer[0].CopyFrom(weight)
    onnx.save(proto, tmp_path / "net.onnx")
    path.write_text(query_text(3, "(<= Y_0 Y_1)").replace(" -1)", " 0.5)"))
    network = ["--network", str(tmp_path / "net.onnx")]
    assert main(["verify", str(path), *network, "--certificate", str(proof)]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("unsat") and "net.onnx ends in a softmax, which is left out" in said.err
    assert main(["check", str(proof), str(path), *network]) == 0
    assert capfd.readouterr().out.startswith("proved")
    assert main(["check", str(proof), str(path), *network, "--arithmetic", "float32"]) == 1
    assert "rounds" in capfd.readouterr().err
    assert main(["bound", str(path), *network]) == 0
    assert "left out" in capfd.readouterr().err


def test_torch_modules_with_a_head():
    class Model(torch.nn.Module):
        def __init__(self, head):
            super().__init__()
            self.scores, self.head = torch.nn.Linear(4, 3), head

        def forward(self, x):
            return self.head(self.scores(x))

    batch = torch.from_numpy(weights(10, 4))
    for head, size in (
        (torch.nn.Softmax(1), 3),
        (torch.nn.LogSoftmax(-1), 3),
        (lambda x: torch.softmax(x, 1).argmax(dim=1, keepdim=True), 1),
        (lambda x: x.argmax(dim=1).float(), 1),
        (lambda x: x.argmax(dim=1).to(torch.int32), 1),
        (lambda x: torch.max(x, 1)[1], 1),
        (lambda x: torch.softmax(x, 1).max(1, keepdim=True).indices, 1),
    ):
        module = Model(head).eval()
        net = av.trace(module, batch)
        assert net.head is not None and net.output_size == size
        theirs = torch.stack([module(x[None]).reshape(-1) for x in batch]).detach()
        assert torch.allclose(net(batch).reshape(10, -1).to(theirs.dtype), theirs, atol=1e-6)
    with pytest.raises(av.UnsupportedOperatorError, match="reads the result of an argmax"):
        av.trace(Model(lambda x: 2 * torch.argmax(x, 1)), batch)
    for refused in (lambda x: torch.softmax(x, 1).max(1)[0], lambda x: x.sort(1)[1]):
        with pytest.raises(av.UnsupportedOperatorError, match="returns an output that is not followed"):
            av.trace(Model(refused), batch)
    for refused in (lambda x: x.argmax(1).bool(), lambda x: x.argmax(1).half(), lambda x: torch.softmax(x, 1).half()):
        with pytest.raises(av.UnsupportedOperatorError, match="it casts to"):
            av.trace(Model(refused), batch)


def test_one_of_several_outputs_of_a_torch_module_is_traced():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = torch.nn.Linear(4, 3)

        def forward(self, x):
            scores = self.scores(x)
            return {"logits": scores, "order": torch.sort(scores)[1]}

    module, batch = Model().eval(), torch.from_numpy(weights(10, 4))
    net = av.trace(module, batch, output="logits")
    assert torch.allclose(net(batch), module(batch)["logits"], atol=1e-6)
    with pytest.raises(av.ModelError, match=r"2 values.*output=\.\.\."):
        av.trace(module, batch)


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_module_that_torch_exports_is_told():
    module, x = torch.nn.Linear(4, 3), torch.zeros(1, 4)
    for given, words in (
        (torch.jit.trace(module, x), "the module that it was made from"),
        (torch.nn.DataParallel(module), "its entry module"),
        (model("softmax"), r"av\.read_onnx"),
        ("net.onnx", r"av\.read_onnx"),
    ):
        with pytest.raises(av.InputError, match=words):
            av.trace(given, x)
