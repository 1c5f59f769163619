"""Malformed ONNX models end in a network or in one paragraph, whatever is wrong with them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import admm_verify as av
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.onnx_files import read_model
from tests.network.onnx_models import model, node
from tests.network.onnx_mutants import SEEDS, mutant


def refused(data):
    """The message about a model that is not read."""
    with pytest.raises(av.ModelError) as caught:
        network_from_bytes(data, "net.onnx")
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and len(text) < 2100
    return text


def changed(change, nodes=None, constants=None, shape=(1, 4)):
    proto = onnx.load_model_from_string(model(nodes or [node("Relu", ["x"], ["y"])], shape, constants))
    change(proto)
    return proto.SerializePartialToString()


def test_seeds_are_read():
    for data in SEEDS:
        assert isinstance(network_from_bytes(data, "net.onnx"), av.Network)


@pytest.mark.parametrize("seed", [0, pytest.param(range(1, 9), marks=pytest.mark.slow)])
def test_every_mutant_is_read_or_refused_in_words(seed):
    refusals = 0
    for part in np.atleast_1d(seed):
        for number in range(1000 if part else 400):
            data = mutant(np.random.default_rng([part, number]), SEEDS)
            try:
                network_from_bytes(data, "net.onnx")
            except av.ModelError as error:
                refusals += 1
                assert "\n" not in str(error) and len(str(error)) < 2100, (part, number)
    assert refusals > 0


def element(code):
    return lambda proto: setattr(proto.graph.input[0].type.tensor_type, "elem_type", code)


def renamed(kind, name):
    def change(proto):
        getattr(proto.graph, kind)[0].name = name

    return change


def set_attribute(**fields):
    """The first node's attribute, with some of its fields replaced."""

    def change(proto):
        attribute = proto.graph.node[0].attribute[0]
        for name, value in fields.items():
            attribute.ClearField(name)
            if value is not None:
                getattr(attribute, name).extend(value) if isinstance(value, list) else setattr(attribute, name, value)

    return change


LEAKY = [node("LeakyRelu", ["x"], ["y"], alpha=0.5)]
FLAT = [node("Flatten", ["x"], ["y"], axis=1)]
WRONG = {
    "no element type": (element(0), None, "no element type"),
    "unknown element type": (element(64), None, "unknown element type 64"),
    "negative element type": (element(-5), None, "unknown element type -5"),
    "half precision": (element(TensorProto.FLOAT16), None, "FLOAT16"),
    "no opset": (lambda proto: proto.ClearField("opset_import"), None, "no version"),
    "foreign opset": (lambda proto: setattr(proto.opset_import[0], "domain", "com.other"), None, "no version"),
    "two opsets": (lambda proto: proto.opset_import.add(domain="ai.onnx", version=11), None, "2 versions"),
    "output without a name": (renamed("output", ""), None, "is no array of numbers"),
    "input without a name": (renamed("input", ""), None, "without a name"),
    "value defined twice": (
        lambda proto: proto.graph.node.add().CopyFrom(proto.graph.node[0]), None, "two values of the name y"
    ),
    "name of the input": (
        lambda proto: proto.graph.node[0].output.__setitem__(0, "x"), None, "two values of the name x"
    ),
    "cycle": (lambda proto: proto.graph.node[0].input.__setitem__(0, "y"), None, "nothing before it defines"),
    "line breaks": (lambda proto: proto.graph.node[0].input.__setitem__(0, "a\n\x1b[31m\tb"), None, "a \\x1b[31m b"),
    "long names": (lambda proto: proto.graph.node[0].input.__setitem__(0, "n" * 10**6), None, "nothing before"),
    "no inputs": (lambda proto: proto.graph.node[0].ClearField("input"), None, "too many or too few inputs"),
    "input left out": (lambda proto: proto.graph.node[0].input.__setitem__(0, ""), None, "lacks its input X"),
    "no output": (lambda proto: proto.graph.node[0].ClearField("output"), None, "few"),
    "huge axes": (
        lambda proto: setattr(proto.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**40), None, "entries"
    ),
    "attribute of another type": (set_attribute(type=2), LEAKY, "another type"),
    "attribute of an unknown type": (set_attribute(type=None, f=None, i=1), LEAKY, "another type"),
    "attribute of two types": (set_attribute(i=1), LEAKY, "another type"),
    "attribute without a value": (set_attribute(i=None), FLAT, "another type"),
    "unknown attribute": (set_attribute(name="beta"), LEAKY, "unknown"),
    "attribute twice": (
        lambda proto: proto.graph.node[0].attribute.extend([*proto.graph.node[0].attribute]),
        LEAKY,
        "two attributes alpha",
    ),
    "infinite attribute": (set_attribute(f=float("inf")), LEAKY, "infinite"),
    "function in the standard's domain": (
        lambda proto: proto.functions.add(name="Relu", domain=""), None, "function of its own"
    ),
    "sparse": (lambda proto: proto.graph.sparse_initializer.add(), None, "sparse"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    change, nodes, words = WRONG[name]
    assert words in refused(changed(change, nodes))


def test_required_attribute():
    nodes = [node("Concat", ["x", "x"], ["y"], axis=1)]
    assert "axis" in refused(changed(lambda proto: proto.graph.node[0].ClearField("attribute"), nodes))


@pytest.mark.parametrize("code", [8, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 0, 99, -1])
def test_element_types_of_weights(code):
    def change(proto):
        proto.graph.initializer[0].data_type = code

    text = refused(changed(change, [node("Add", ["x", "w"], ["y"])], {"w": np.ones(4, dtype=np.float32)}))
    assert "tensor w" in text


@pytest.mark.parametrize("kind", ["short", "long", "odd", "none", "negative", "huge", "other field"])
def test_numbers_that_do_not_fit_the_shape(kind):
    def change(proto):
        tensor = proto.graph.initializer[0]
        if kind in ("negative", "huge"):
            tensor.dims[0] = -4 if kind == "negative" else 2**62
        else:
            tensor.raw_data = {"short": bytes(12), "long": bytes(20), "odd": bytes(15)}.get(kind, b"")
        if kind == "other field":
            tensor.ClearField("raw_data")
            tensor.int64_data.extend([1, 2, 3, 4])

    data = changed(change, [node("Add", ["x", "w"], ["y"])], {"w": np.ones(4, dtype=np.float32)})
    assert "tensor w" in refused(data)


def test_names_that_are_no_text():
    data = model([node("Relu", ["x"], ["a_name"]), node("Neg", ["a_name"], ["y"])], (1, 4))
    assert "no text" in refused(data.replace(b"a_name", b"a\xffname"))
    assert "no text" in refused(data.replace(b"Relu", b"R\xfflu"))


def test_unnamed_output_of_a_split():
    nodes = [node("Split", ["x", "s"], ["a", "", "c"], axis=1), node("Concat", ["c", "a"], ["y"], axis=1)]
    network = network_from_bytes(model(nodes, (1, 6), {"s": np.array([3, 1, 2])}), "net.onnx")
    assert network(np.arange(6.0)).tolist() == [4, 5, 0, 1, 2]


def test_constant_left_out():
    nodes = [node("Max", ["", "c"], ["m"]), node("Add", ["x", "m"], ["y"])]
    assert "Max" in refused(model(nodes, (1, 4), {"c": np.ones(4, dtype=np.float32)}))


def test_opset_named_twice_alike_is_read():
    data = changed(lambda proto: proto.opset_import.add(domain="", version=13))
    assert network_from_bytes(data, "net.onnx").input_shape == (4,)


def test_training_info_and_foreign_functions_are_no_obstacle():
    def change(proto):
        proto.training_info.add().algorithm.CopyFrom(helper.make_graph([], "training", [], []))
        proto.functions.add(name="Other", domain="com.other")

    assert network_from_bytes(changed(change), "net.onnx").output_shape == (4,)


def test_file_that_is_no_model(tmp_path):
    for content in (b"\x00", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"PK\x03\x04" + bytes(100), b"<html>" * 50):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(av.ModelError):
            av.read_onnx(tmp_path / "net.onnx")
    with pytest.raises(av.InputError, match="give the path of a file"):
        read_model("a\0b")
