"""Weights in files beside the model: the right ones are read wherever one stands, and nothing outside is."""

import gzip
import hashlib
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.cli import main
from admm_verify.network import onnx_files
from admm_verify.network.from_onnx import network_from_bytes
from admm_verify.network.onnx_files import read_model
from tests.network.onnx_models import node

QUERY = (
    "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
    "(assert (>= X_0 0.5))\n(assert (<= X_0 1))\n(assert (>= X_1 0.5))\n(assert (<= X_1 1))\n(assert (>= Y_0 0.9))\n"
)
SUM = np.float32([[1.0], [1.0]])


def proto(weight=SUM, nodes=None):
    graph = helper.make_graph(
        nodes or [node("MatMul", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(weight, "w")] if nodes is None else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def external(tensor, location="net.data", **entries):
    """Make a tensor refer to a file; returns its bytes."""
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return data


def saved(folder, weight=SUM, location="net.data", **entries):
    folder.mkdir(parents=True, exist_ok=True)
    model = proto(weight)
    data = external(model.graph.initializer[0], location, **entries)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    if not (folder / "net.data").exists():
        (folder / "net.data").write_bytes(data)
    return folder / "net.onnx"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The current folder, which holds other weights under the same name."""
    saved(tmp_path / "elsewhere", -SUM)
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("weight", [SUM, -SUM])
def test_weights_beside_the_model_are_read(tmp_path, weight):
    path = saved(tmp_path / "model", weight)
    assert np.array_equal(av.read_onnx(path)(np.float32([[1, 2]])), [[3 * weight[0, 0]]])
    (tmp_path / "q.vnnlib").write_text(QUERY)
    outcome = av.verify(av.read_query(tmp_path / "q.vnnlib", path))
    assert outcome.verdict is (av.Verdict.SAT if weight[0, 0] > 0 else av.Verdict.UNSAT)


@pytest.mark.usefixtures("elsewhere")
def test_what_is_replayed_holds_the_data(tmp_path):
    path = saved(tmp_path / "model")
    data = read_model(path).data
    path.with_name("net.data").unlink()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.float32([[1, 2]])})[0] == 3
    assert network_from_bytes(data, "net.onnx")(np.float32([[1, 2]])) == 3


def test_relative_path_of_the_model(tmp_path, monkeypatch):
    saved(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert av.read_onnx("model/net.onnx").output_shape == (1,)
    monkeypatch.chdir(tmp_path / "model")
    assert av.read_onnx("net.onnx").output_shape == (1,)


def test_certificates_speak_about_the_data(tmp_path, capsys):
    (tmp_path / "q.vnnlib").write_text(QUERY)
    proof, shared = str(tmp_path / "proof.npz"), [str(tmp_path / "q.vnnlib"), "--network"]
    assert main(["verify", *shared, str(saved(tmp_path, SUM / 4)), "--certificate", proof]) == 0
    assert capsys.readouterr().out.startswith("unsat")
    main(["check", proof, *shared, str(tmp_path / "net.onnx")])
    assert capsys.readouterr().out.startswith("proved")
    (tmp_path / "net.data").write_bytes((SUM / 8).tobytes())
    main(["check", proof, *shared, str(tmp_path / "net.onnx")])
    assert not capsys.readouterr().out.startswith("proved")


@pytest.mark.parametrize("compressed", [False, True])
def test_parts_of_a_file_in_a_folder_below(tmp_path, compressed):
    path = saved(tmp_path, location="weights/all.bin", offset=5, length=8)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "all.bin").write_bytes(b"12345" + (2 * SUM).tobytes() + b"rest")
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert av.read_onnx(path)(np.float32([1, 2])) == 6


def test_checksum_is_compared(tmp_path):
    right = hashlib.sha1(SUM.tobytes()).hexdigest()
    assert av.read_onnx(saved(tmp_path, checksum=right))(np.float32([1, 2])) == 3
    with pytest.raises(av.ModelError, match="checksum"):
        av.read_onnx(saved(tmp_path, checksum=right[::-1]))


def test_data_of_constant_nodes_and_of_many_tensors(tmp_path):
    constant = numpy_helper.from_array(3 * SUM, "")
    nodes = [node("Constant", [], ["w"], value=constant), node("MatMul", ["x", "w"], ["y"])]
    model = proto(nodes=nodes)
    (tmp_path / "net.data").write_bytes(external(model.graph.node[0].attribute[0].t))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert av.read_onnx(tmp_path / "net.onnx")(np.float32([1, 2])) == 9
    for shared in (True, False):
        onnx.save_model(
            proto(),
            tmp_path / "many.onnx",
            save_as_external_data=True,
            all_tensors_to_one_file=shared,
            size_threshold=0,
        )
        assert av.read_onnx(tmp_path / "many.onnx")(np.float32([1, 2])) == 3


def test_data_in_a_subgraph_is_found(tmp_path):
    inner = helper.make_graph(
        [node("Identity", ["w"], ["v"])],
        "inner",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, (2, 1))],
        [numpy_helper.from_array(SUM, "w")],
    )
    always = numpy_helper.from_array(np.bool_([True]), "")
    nodes = [
        node("Constant", [], ["c"], value=always),
        node("If", ["c"], ["u"], then_branch=inner, else_branch=inner),
        node("MatMul", ["x", "u"], ["y"]),
    ]
    model = proto(nodes=nodes)
    for branch in model.graph.node[1].attribute:
        (tmp_path / "net.data").write_bytes(external(branch.g.initializer[0]))
    with pytest.raises(av.ModelError, match="bytes have no folder"):
        network_from_bytes(model.SerializeToString(), "net.onnx")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    branches = read_model(tmp_path / "net.onnx").proto.graph.node[1].attribute
    assert all(branch.g.initializer[0].raw_data == SUM.tobytes() for branch in branches)


def test_bytes_have_no_folder(tmp_path, monkeypatch):
    path = saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(av.ModelError, match="bytes have no folder") as caught:
        network_from_bytes(path.read_bytes(), "net.onnx")
    assert "\n" not in str(caught.value)


WRONG = {
    "up": ({"location": "../net.data"}, "relative path"),
    "up inside": ({"location": "a/../net.data"}, "relative path"),
    "up in Windows": ({"location": "a\\..\\net.data"}, "relative path"),
    "absolute": ({"location": "/etc/hostname"}, "relative path"),
    "drive": ({"location": "C:\\net.data"}, "relative path"),
    "empty": ({"location": ""}, "relative path"),
    "zero byte": ({"location": "net\0.data"}, "relative path"),
    "folder": ({"location": "."}, "regular"),
    "missing": ({"location": "no.data"}, "no file no.data beside"),
    "memory": ({"location": "*/_ORT_MEM_ADDR_/*", "offset": 4096, "length": 8}, "no file"),
    "name too long": ({"location": "n" * 300}, "cannot be used"),
    "offset beyond": ({"offset": 9}, "8 bytes"),
    "length beyond": ({"length": 9}, "8 bytes"),
    "length short": ({"length": 4}, "4 bytes where its shape"),
    "offset alone": ({"offset": 4}, "4 bytes where its shape"),
    "negative offset": ({"offset": -8}, "offset '-8' is not"),
    "negative length": ({"length": -8}, "length '-8' is not"),
    "offset as real": ({"offset": "1e0"}, "offset '1e0' is not"),
    "offset in other digits": ({"offset": "\u0661"}, "is not a whole number"),
    "huge offset": ({"offset": "9" * 5000}, "is not a whole number"),
    "length of nothing": ({"length": ""}, "length '' is not"),
    "other key": ({"basepath": "/etc"}, "'basepath' is unknown; known are location"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_entries_are_refused(tmp_path, name):
    entries, words = WRONG[name]
    with pytest.raises(av.ModelError) as caught:
        av.read_onnx(saved(tmp_path, **entries))
    text = str(caught.value)
    assert words in text and "The tensor w of net.onnx" in text and "\n" not in text and len(text) < 500


def test_contradictions_are_refused(tmp_path):
    (tmp_path / "net.data").write_bytes(SUM.tobytes())

    def refused(change, words):
        model = proto()
        external(model.graph.initializer[0])
        change(model.graph.initializer[0])
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(av.ModelError, match=words):
            av.read_onnx(tmp_path / "net.onnx")

    refused(lambda tensor: tensor.external_data.add(key="location", value="net.data"), "twice")
    refused(lambda tensor: setattr(tensor, "raw_data", SUM.tobytes()), "in the model, too")
    refused(lambda tensor: tensor.float_data.extend([1, 1]), "in the model, too")
    refused(lambda tensor: setattr(tensor, "data_location", TensorProto.DEFAULT), "both say")
    refused(lambda tensor: tensor.ClearField("external_data"), "both say")
    refused(lambda tensor: setattr(tensor, "data_type", TensorProto.STRING), "STRING is not read")
    refused(lambda tensor: setattr(tensor, "data_type", 999), "number 999 is not read")
    refused(lambda tensor: tensor.dims.__setitem__(0, -2), "negative")
    refused(lambda tensor: tensor.dims.__setitem__(0, 2**62), "needs")


@pytest.mark.parametrize("kind", ["file", "folder", "loop", "pipe", "device"])
def test_links_and_what_is_no_file(tmp_path, kind):
    path = saved(tmp_path / "model", location="sub/data" if kind == "folder" else "data")
    (tmp_path / "data").write_bytes(SUM.tobytes())
    link = tmp_path / "model" / "data"
    if kind == "pipe":
        os.mkfifo(link)
    else:
        target = {"file": "../data", "folder": "..", "loop": "data", "device": "/dev/zero"}[kind]
        (link.with_name("sub") if kind == "folder" else link).symlink_to(target)
    with pytest.raises(av.ModelError, match=r"regular|leads out|cannot be used"):
        av.read_onnx(path)


def test_link_inside_the_folder_is_followed(tmp_path):
    path = saved(tmp_path / "model", location="link")
    (tmp_path / "model" / "link").symlink_to("net.data")
    assert av.read_onnx(path)(np.float32([1, 2])) == 3
    (tmp_path / "alias").symlink_to("model")
    assert av.read_onnx(tmp_path / "alias" / "net.onnx")(np.float32([1, 2])) == 3


def test_limit_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path)
    monkeypatch.setattr(onnx_files, "SIZE_LIMIT", len(path.read_bytes()) + 8)
    with pytest.raises(av.ModelError, match="2 GiB"):
        av.read_onnx(path)
