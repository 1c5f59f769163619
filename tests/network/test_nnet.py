"""The text format .nnet: what it holds, in which units, and what is wrong with files that are not in it."""

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

import admm_verify as av
from admm_verify.cli import main
from admm_verify.network import from_nnet, nnet_files
from admm_verify.run import Stopped
from tests.shared import SHARED, needs_shared

TEXT = """// A comment
// and another one
2,2,1,3,
2,3,1,
0,
-10.0,-1.0,
10.0,3.0,
1.0,0.5,7.5,
4.0,2.0,20.0,
1.0,-1.0,
0.5,2.0,
-1.5,0.25,
0.5,
-1.0,
0.1,
1.0,-2.0,3.0,
0.125,
"""
LINES = TEXT.splitlines()
W1, B1 = np.float32([[1, -1], [0.5, 2], [-1.5, 0.25]]), np.float32([0.5, -1, 0.1])
W2, B2 = np.float32([[1, -2, 3]]), np.float32([0.125])
MEAN, RANGE = np.array([1.0, 0.5]), np.array([4.0, 2.0])
QUERY = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (<= X_0 1))
(assert (>= X_0 -1))
(assert (<= X_1 1))
(assert (>= X_1 -1))
(assert (>= Y_0 {}))
"""


def by_hand(n: np.ndarray) -> np.ndarray:
    return np.maximum(n @ W1.T.astype(float) + B1, 0) @ W2.T.astype(float) + B2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "net.nnet"
    place.write_text(TEXT)
    return place


def test_layers_are_those_of_the_file(path: Path) -> None:
    network = av.read_nnet(path)
    n = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    np.testing.assert_allclose(np.asarray(network(n)), by_hand(n), rtol=1e-12, atol=1e-12)
    assert (network.input_shape, network.output_shape, network.element_type) == ((2,), (1,), "float32")
    compressed = path.with_name("net.nnet.gz")
    compressed.write_bytes(gzip.compress(TEXT.replace(",\n", "\n").replace("\n", "\r\n").encode()))
    for other in (compressed, str(path)):
        np.testing.assert_array_equal(np.asarray(av.read_nnet(other)(n)), np.asarray(network(n)))


def test_units_of_the_header(path: Path) -> None:
    x = np.random.default_rng(1).uniform([-10, -1], [10, 3], (50, 2))
    theirs = 20.0 * by_hand((x - MEAN) / RANGE) + 7.5
    network = av.read_nnet(path, own_units=True)
    np.testing.assert_allclose(np.asarray(network(x)), theirs, rtol=1e-12)
    lower, upper = av.nnet_ranges(path, own_units=True)
    assert (lower.tolist(), upper.tolist()) == ([-10.0, -1.0], [10.0, 3.0])
    own = av.output_bounds(network, av.Box(lower, upper))
    normalised = av.output_bounds(av.read_nnet(path), av.Box(*av.nnet_ranges(path)))
    np.testing.assert_allclose(own.lower, 20.0 * normalised.lower + 7.5, atol=1e-2)
    assert own.lower <= theirs.min() and theirs.max() <= own.upper


def test_header_of_the_first_networks(path: Path) -> None:
    """It also has two inputs that the networks were not given; the outputs' numbers are the last ones."""
    expected = av.output_bounds(av.read_nnet(path, own_units=True), av.Box(*av.nnet_ranges(path, own_units=True)))
    text = TEXT
    for own in ("-10.0,-1.0,", "10.0,3.0,", "1.0,0.5,", "4.0,2.0,"):
        text = text.replace(f"\n{own}", f"\n{own}100.0,3.0,")
    path.write_text(text)
    found = av.output_bounds(av.read_nnet(path, own_units=True), av.Box(*av.nnet_ranges(path, own_units=True)))
    np.testing.assert_array_equal([found.lower, found.upper], [expected.lower, expected.upper])


def test_ends_are_in_order_where_a_range_is_negative(path: Path) -> None:
    path.write_text(TEXT.replace("4.0,2.0,20.0", "-4.0,2.0,20.0"))
    lower, upper = av.nnet_ranges(path)
    np.testing.assert_array_equal([lower, upper], [[-2.25, -0.75], [2.75, 1.25]])


def test_ends_that_overflow_are_refused(path: Path) -> None:
    path.write_text(TEXT.replace("4.0,2.0,20.0", "4.0,1e-320,20.0"))
    with pytest.raises(av.ModelError, match=r"normalised ends in .* overflow"):
        av.nnet_ranges(path)


def test_commands_and_other_readers_take_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the ONNX model of the same layers, so that onnxruntime replays what was found."""
    query = path.with_name("q.vnnlib")
    for limit, verdict in ((100, "unsat"), (3, "sat")):
        query.write_text(QUERY.format(limit))
        assert main(["verify", str(query), "--network", str(path), "--quiet"]) == 0
        assert capsys.readouterr().out.startswith(verdict)
        found = av.read_query(query, path)
        assert found.model is not None and av.verify(found).verdict.value == verdict
    query.write_text(QUERY.format(100))
    proof = str(path.with_name("proof.npz"))
    assert main(["verify", str(query), "--network", str(path), "--quiet", "--certificate", proof]) == 0
    assert main(["check", proof, str(query), "--network", str(path), "--quiet", "--exact"]) == 0
    assert "proved" in capsys.readouterr().out
    n = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    np.testing.assert_array_equal(np.asarray(av.read_onnx(path)(n)), np.asarray(av.read_nnet(path)(n)))
    assert main(["bound", str(query), "--network", str(path), "--quiet"]) == 0
    assert "lower" in capsys.readouterr().out


def _with(line: int, text: str) -> str:
    """The file with another line of a number, counted from 1."""
    return "\n".join([*LINES[: line - 1], text, *LINES[line:]])


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        ("// only this\n", "ends after line 1, where the numbers of layers"),
        ("\n".join(LINES[:9]), "ends after line 9, where a row of the matrix of layer 1 must follow"),
        ("\n".join(LINES[:-1]), "ends after line 16, where a number of the bias of layer 2"),
        (_with(3, "2,2,1,"), "Line 3 of net.nnet holds 3 numbers where the numbers of layers"),
        (_with(3, "2.5,2,1,3"), "must be whole numbers"),
        (_with(3, "-2,2,1,3"), "must be whole numbers"),
        (_with(3, "1001,2,1,3"), "names 1001 layers"),
        (_with(3, "2,3,1,3"), "Line 4 of net.nnet gives 2 inputs and 1 outputs, and the line before 3 and 1"),
        (_with(4, "2,3,1,1"), "Line 4 of net.nnet holds 4 numbers"),
        (_with(4, "2,4000000,1"), "ends after line 17|asks for|Line 13"),
        (_with(5, "zero"), "Line 5 of net.nnet reads 'zero', where a number that means nothing"),
        (_with(6, "20.0,-1.0,"), "Line 7 of net.nnet holds a largest value of an input that is below"),
        (_with(6, "-10.0,"), "Line 6 of net.nnet holds 1 number where"),
        (_with(7, "10.0,3.0,4.0"), "Line 7 of net.nnet holds 3 numbers where"),
        (_with(8, "1.0,0.5,"), "Line 8 of net.nnet holds 2 numbers where the means"),
        (_with(9, "4.0,0.0,20.0"), "Line 9 of net.nnet holds a range of zero"),
        (_with(11, "0.5,2.0,3.0"), "Line 11 of net.nnet holds 3 numbers where a row of the matrix of layer 1"),
        (_with(11, "0.5,1_0"), "Line 11 of net.nnet reads '0.5,1_0'"),
        (_with(11, "0.5,,"), "Line 11"),
        (_with(11, ""), "Line 11 of net.nnet holds 1 number where"),
        (_with(11, "0.5,nan"), "Line 11 of net.nnet reads '0.5,nan': a row of the matrix of layer 1 must be finite"),
        (_with(13, "-inf"), "Line 13 of net.nnet reads '-inf': a number of the bias of layer 1 must be finite"),
        (_with(13, "1e39"), "too large for float32"),
        (_with(14, "x" * 5000), "reads 'x{40}\\.\\.\\.'"),
        (TEXT + "0.5,\n", "Line 18 of net.nnet reads '0.5,', and the last layer ended before it"),
        (TEXT.replace("0.25", "0.²5"), "Line 12 of net.nnet holds a byte that is no ASCII character"),
    ],
    ids=range(27),
)
def test_what_is_wrong_is_said_with_its_line(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    for read in (av.read_nnet, av.nnet_ranges, av.read_onnx):
        with pytest.raises(av.ModelError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(av.ModelError, match="no such file"):
        av.read_nnet(tmp_path / "missing.nnet")
    with pytest.raises(av.InputError, match=r"give the path of a file \.nnet"):
        av.read_nnet(3)  # pyright: ignore[reportArgumentType]
    place = tmp_path / "net.nnet.gz"
    place.write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(av.ModelError, match="truncated or damaged"):
        av.read_nnet(place)


def test_sizes_are_capped_before_anything_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(_with(4, "2,30000,1").replace("2,2,1,3", "2,2,1,30000"))
    with pytest.raises(av.ModelError, match="Line 13"):
        av.read_nnet(path)
    monkeypatch.setattr(nnet_files, "_MOST_WEIGHTS", 5)
    path.write_text(TEXT)
    with pytest.raises(av.ModelError, match=r"Line 4 of net\.nnet asks for a matrix of 6 entries; at most 5"):
        av.read_nnet(path)


def test_memory_that_runs_out_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(data: bytes, name: str):
        raise MemoryError("no room")

    monkeypatch.setattr(from_nnet, "nnet_in", none)
    with pytest.raises(av.ModelError, match="does not fit into memory: no room"):
        av.read_nnet(path)


def test_reading_ends_with_its_run(path: Path) -> None:
    rows = 20000
    layers = "\n".join(["0.5,0.5"] * rows + ["0.0"] * rows + [",".join(["1"] * rows), "0"])
    header = "\n".join(LINES[:9]).replace("2,3,1", f"2,{rows},1")
    path.write_text(f"{header}\n{layers}\n")
    with pytest.raises(Stopped), av.Run(deadline=time.monotonic() - 60).watching():
        av.read_nnet(path)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_are_refused_in_a_paragraph_or_read(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        damaged = bytearray(TEXT.encode())
        for _ in range(rng.integers(1, 4)):
            place, what = int(rng.integers(len(damaged))), rng.integers(3)
            if what == 0:
                damaged[place] = int(rng.choice(list(b"0123456789.,-+eE \n_x/\x00\xff")))
            elif what == 1:
                del damaged[place : place + int(rng.integers(1, 12))]
            else:
                damaged[place:place] = damaged[place : place + int(rng.integers(1, 20))]
        path.write_bytes(damaged)
        try:
            network = av.read_nnet(path)
        except av.ModelError as error:
            assert "\n" not in str(error) and "net.nnet" in str(error)
        else:
            assert np.isfinite(np.asarray(network(np.ones((1, network.input_size))))).all()


@pytest.mark.data
@needs_shared
def test_the_published_pair_is_the_one_that_is_compared() -> None:
    folder = SHARED / "data" / "differential"
    for name, stored in (("", "acasxu_1_1"), ("_16bit", "acasxu_1_1_16bit")):
        network = av.read_nnet(folder / "nnet" / f"ACASXU_run2a_1_1_batch_2000{name}.nnet.gz")
        arrays = np.load(folder / "nets" / f"{stored}.npz")
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 5))
        values = x
        for k in range(7):
            values = values @ arrays[f"W{k}"].astype(float).T + arrays[f"b{k}"]
            values = np.maximum(values, 0) if k < 6 else values
        np.testing.assert_allclose(np.asarray(network(x)), values, rtol=1e-9, atol=1e-9)
    lower, upper = av.nnet_ranges(folder / "nnet" / "ACASXU_run2a_1_1_batch_2000.nnet.gz")
    np.testing.assert_allclose([lower[3], upper[3]], [(100 - 650) / 1100, 0.5])
