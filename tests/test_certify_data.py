"""Images as people have them: data sets, bytes, before their normalisation, channels of their own radii, heads."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import admm_verify as av
from admm_verify.cli import main
from admm_verify.network.normalised import normalised

RNG = np.random.default_rng(4)
SHAPE = (3, 4, 4)
IMAGES = RNG.random((6, *SHAPE)).astype(np.float32)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
RADII = (0.002, 0.02)
CROWN = av.CertifySettings(bounds="crown")


def proto(head=None):
    weight = np.random.default_rng(5).standard_normal((48, 4)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["logits"])]
    nodes += [] if head is None else [helper.make_node(head, ["logits"], ["y"], axis=1)]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_empty_tensor_value_info("logits" if head is None else "y")],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


NET = av.read_onnx(proto())
LABELS = NET(IMAGES).argmax(axis=1)


def same(found, wanted):
    assert (found.status == wanted.status).all() and np.allclose(found.lower, wanted.lower, rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def plain():
    return av.certify(NET, IMAGES, LABELS, RADII, settings=CROWN)


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return torch.from_numpy(IMAGES[i]), int(LABELS[i])


def test_data_sets_hold_images_and_labels(plain, tmp_path):
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    with np.load(tmp_path / "set.npz") as file:
        same(av.certify(NET, file, None, RADII, settings=CROWN), plain)
    for given in (
        {"images": IMAGES, "labels": LABELS, "names": list("abcdef")},
        {"x": torch.from_numpy(IMAGES), "y": LABELS[:, None].tolist()},
        Pairs(),
        torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
        torch.utils.data.DataLoader(Pairs(), batch_size=4),
        torch.utils.data.DataLoader(Pairs(), batch_size=None),
    ):
        same(av.certify(NET, given, None, RADII, settings=CROWN), plain)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES, None, "no labels"),
        (IMAGES, np.eye(4)[LABELS], r"labels\.argmax\(axis=1\)"),
        ({"images": IMAGES}, None, "holds images; give"),
        ({"images": IMAGES, "labels": LABELS}, LABELS, "give None as the labels"),
        (torch.utils.data.TensorDataset(torch.from_numpy(IMAGES)), None, "pairs of images and labels"),
        (torch.utils.data.DataLoader(torch.from_numpy(IMAGES)), None, "holds Tensor where pairs"),
        (IMAGES.transpose(0, 2, 3, 1), LABELS, r"x\.transpose\(0, 3, 1, 2\)"),
        ((255 * IMAGES).astype(np.uint8), LABELS, r"images / 255.*within=\(0, 255\)"),
        (np.round(255 * IMAGES), LABELS, "images / 255"),
        ((IMAGES - 0.5) / 0.2, LABELS, "with its mean and std"),
    ],
)
def test_what_does_not_fit_is_told(images, labels, words):
    with pytest.raises(av.InputError, match=words):
        av.certify(NET, images, labels, RADII)


def test_images_before_their_normalisation(plain):
    mean, std = (np.float32(value)[:, None, None] for value in (MEAN, STD))
    whole = normalised(NET, MEAN, STD)
    assert whole.input_shape == SHAPE and whole.output_shape == NET.output_shape
    theirs = NET((IMAGES - mean) / std)
    assert np.allclose(whole(IMAGES), theirs, rtol=1e-5, atol=1e-5)
    # Radii of normalised images are smaller ones by the standard deviation, channel by channel.
    labels = theirs.argmax(axis=1)
    found = av.certify(NET, IMAGES, labels, RADII, settings=av.CertifySettings(bounds="crown", mean=MEAN, std=STD))
    ends = tuple((np.array([end, end, end]) - MEAN) / STD for end in (0.0, 1.0))
    settings = av.CertifySettings(bounds="crown", within=ends)
    radii = [[radius / one for one in STD] for radius in RADII]
    other = av.certify(NET, (IMAGES - mean) / std, labels, radii, settings=settings)
    assert (found.status == other.status).all() and np.allclose(found.lower, other.lower, rtol=1e-3, atol=1e-5)
    assert {answer.value for answer in found.status.reshape(-1)} == {"verified", "falsified"}


def test_radii_of_channels_are_radii_of_their_pixels():
    radii = [[0.01, 0.002, 0.0], [0.03, 0.02, 0.01]]
    found = av.certify(NET, IMAGES, LABELS, radii, settings=CROWN)
    assert np.allclose(found.radii, [0.01, 0.03])
    for i, label in enumerate(LABELS):
        rows = np.delete(np.eye(4)[label] - np.eye(4), label, axis=0)
        for k, radius in enumerate(radii):
            spread = np.array(radius)[:, None, None]
            low, high = np.clip(IMAGES[i] - spread, 0, 1), np.clip(IMAGES[i] + spread, 0, 1)
            exact = av.solve(av.Problem(NET, av.Box(low, high), rows)).lower.min()
            assert found.lower[i, k] <= exact + 1e-6 and (found.status[i, k] is av.Answer.VERIFIED) == (exact > 0)
            one = found.counterexamples[i, k]
            if one is not None:
                assert (low - 1e-6 <= one.input).all() and (one.input <= high + 1e-6).all()
    for wrong, words in (
        ([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], "have the same largest number twice"),
        ([[0.1, 0.2, 0.3], [0.4, 0.1, 0.1]], "no larger and smaller ones"),
        ([[0.1, 0.2]], "one per channel"),
        ([], "at least one"),
    ):
        with pytest.raises(av.InputError, match=words):
            av.certify(NET, IMAGES, LABELS, wrong)


def test_radii_and_ranges_of_pixels_may_lie_in_a_row():
    shaped = np.random.default_rng(3).uniform(0.0, 0.02, (1, *SHAPE))
    ends = np.zeros(SHAPE), np.ones(SHAPE)
    rowed = [np.reshape(end, -1) for end in ends]
    found = av.certify(NET, IMAGES, LABELS, shaped, settings=av.CertifySettings(bounds="crown", within=ends))
    other = av.CertifySettings(bounds="crown", within=(rowed[0], rowed[1]))
    same(av.certify(NET, IMAGES, LABELS, shaped.reshape(1, -1), settings=other), found)
    with pytest.raises(av.InputError, match="one per channel"):
        av.certify(NET, IMAGES, LABELS, shaped.reshape(1, -1)[:, 1:])


def test_a_record_of_channels_is_of_these_radii_alone(tmp_path):
    settings = av.CertifySettings(bounds="crown", output=tmp_path / "found.jsonl")
    first = av.certify(NET, IMAGES, LABELS, [[0.01, 0.002, 0.0]], settings=settings)
    same(av.certify(NET, IMAGES, LABELS, [[0.01, 0.002, 0.0]], settings=settings), first)
    with pytest.raises(av.InputError, match="another task"):
        av.certify(NET, IMAGES, LABELS, [[0.01, 0.0, 0.0]], settings=settings)


@pytest.mark.parametrize("head", ["Softmax", "ArgMax"])
def test_heads_are_left_out_and_said(head, plain, tmp_path):
    given = proto(head)
    onnx.save(given, tmp_path / "net.onnx")
    for network in (given, tmp_path / "net.onnx", av.read_onnx(given)):
        found = av.certify(network, IMAGES, LABELS, RADII, settings=CROWN)
        same(found, plain)
        assert "left out" in found.note and "left out" in repr(found)
    assert plain.note is None
    rounded = av.CertifySettings(bounds="crown", arithmetic="float32")
    if head == "Softmax":
        with pytest.raises(av.InputError, match="float32 arithmetic rounds"):
            av.certify(given, IMAGES, LABELS, RADII, settings=rounded)
    else:
        assert av.certify(given, IMAGES, LABELS, RADII, settings=rounded).note


def test_names_of_classes_are_no_places_of_scores():
    given = proto("ArgMax")
    given.graph.initializer.append(numpy_helper.from_array(np.array([1, 0, 2, 3]), "names"))
    given.graph.node.append(helper.make_node("Gather", ["names", "y"], ["label"]))
    given.graph.output[0].name = "label"
    net = av.read_onnx(given)
    with pytest.raises(av.InputError, match=r"the labels \(1, 0, 2, 3\).*network\.scores.*'logits'"):
        av.certify(net, IMAGES, net(IMAGES).reshape(-1), RADII, settings=CROWN)
    assert av.certify(net.scores, IMAGES, LABELS, RADII, settings=CROWN).correct.all()


def test_normalisation_on_the_command_line(tmp_path, capfd):
    onnx.save(proto("Softmax"), tmp_path / "net.onnx")
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    command = ["certify", "--network", str(tmp_path / "net.onnx"), "--images", str(tmp_path / "set.npz")]
    shift = ["--mean", *map(str, MEAN), "--std", *map(str, STD)]
    assert main([*command, "--radii", "0.001", *shift, "--json", str(tmp_path / "found.json")]) == 0
    assert "left out" in capfd.readouterr().out and "left out" in (tmp_path / "found.json").read_text()
    assert main([*command, "--radii", "0.01,0.02,0.03", "0.02,0.03,0.04"]) == 0
    assert "0.03 " in capfd.readouterr().out
    assert main([*command, "--radii", "0.01", "--mean", "0.5"]) == 1
    assert "both mean and std" in capfd.readouterr().err
    with pytest.raises(av.InputError, match="above 0"):
        normalised(NET, 0.0, 0.0)
