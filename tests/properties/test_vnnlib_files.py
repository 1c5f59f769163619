"""VNN-LIB files: plain, compressed, damaged, large, and the shared ones."""

import gzip
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from admm_verify import QueryError
from admm_verify.memory import Budget
from admm_verify.properties.vnnlib import parse_vnnlib, read_property
from tests.properties.texts import flat
from tests.shared import SHARED, needs_shared

F = Fraction
PACKED = gzip.compress(b"(assert (<= 0 1))", mtime=0)  # the time of day would be in the names of tests


@pytest.mark.parametrize("name", ["query.vnnlib", "query.vnnlib.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_plain_or_compressed_whatever_their_name(tmp_path: Path, name: str, pack: Callable) -> None:
    text = flat("(<= Y_0 0)")
    for content in (text, "\ufeff" + text, text.replace("\n", "\r\n") + "; \u00e9"):
        (tmp_path / name).write_bytes(pack(content.encode()))
        assert read_property(tmp_path / name) == read_property(str(tmp_path / name)) == parse_vnnlib(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty or holds no assertion"),
        (b"\x1f\x8b", "truncated or corrupt"),
        (PACKED[:-9], "truncated or corrupt"),
        (PACKED[:12] + b"\xff" * 20, "truncated or corrupt"),
        (PACKED[:-4] + b"abcd", "truncated or corrupt"),
        (PACKED + b"rest", "truncated or corrupt"),
        (b"\x7fELF\x80\x00", "not a VNN-LIB text file|byte 4"),
        (b"\x08\x00\x12\x07", "not a VNN-LIB text file"),
        ("(assert)".encode("utf-16"), "not a VNN-LIB text file"),
        (b"(assert (<= X_0 0))", "line 1, column 13"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "query.vnnlib"
    path.write_bytes(content)
    with pytest.raises(QueryError) as caught:
        read_property(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(word in str(caught.value) for word in words.split("|")), caught.value


def test_unreadable_paths(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in [("missing", "no such file"), ("", "folder"), ("file/below", "cannot be read"), ("\0", "read")]:
        with pytest.raises(QueryError, match=words):
            read_property(f"{tmp_path}/{path}")


def test_large_files_are_not_unpacked(tmp_path: Path) -> None:
    budget = Budget(2.0**23)
    content = flat("(<= Y_0 0)").encode().ljust(2**21)
    (tmp_path / "fits").write_bytes(gzip.compress(content))
    assert read_property(tmp_path / "fits", budget).disjuncts
    for data in (content.ljust(2**23), gzip.compress(content.ljust(2**23)), gzip.compress(bytes(2**26))):
        (tmp_path / "large").write_bytes(data)
        tracemalloc.start()
        with pytest.raises(QueryError, match=r"takes more than 0\.00781 GiB, the memory allowed"):
            read_property(tmp_path / "large", budget)
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()


def test_large_queries_are_read() -> None:
    entries = 3072
    lines = [f"(declare-const X_{i} Real)" for i in range(entries)] + ["(declare-const Y_0 Real)"]
    lines += [f"(assert (<= X_{i} 0.{i}5))\n(assert (>= X_{i} -0.{i}5))" for i in range(entries)]
    found = parse_vnnlib("\n".join([*lines, "(assert (<= Y_0 0))"]))
    assert len(found.disjuncts[0].box.lower) == entries


def test_files_of_many_boxes_take_the_memory_of_what_they_say() -> None:
    entries, boxes = 50, 300
    lines = [f"(declare-const X_{i} Real)" for i in range(entries)] + ["(declare-const Y_0 Real)", "(assert (or"]
    for number in range(boxes):
        sides = (
            f"(>= X_{i} {number % 7}.0) (<= X_{i} {number % 7 + (i == number % entries)}.0)" for i in range(entries)
        )
        lines.append(f"(and {' '.join(sides)} (<= Y_0 0.{number}))")
    text = "\n".join([*lines, "))"])
    tracemalloc.start()
    found = parse_vnnlib(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.disjuncts) == boxes
    # Bounds that are objects of their own take more than 200 bytes each.
    assert peak < 2 * boxes * entries * 60
    number = boxes - 2
    expected = [(F(number % 7), F(number % 7 + (i == number % entries))) for i in range(entries)]
    assert list(zip(*found.disjuncts[number].box.range, strict=True)) == expected


@pytest.fixture(scope="module")
def shared_files() -> list[Path]:
    return sorted(SHARED.rglob("*.vnnlib.gz"))


@pytest.mark.data
@pytest.mark.slow
@needs_shared
def test_shared_files_are_read(shared_files: list[Path]) -> None:
    for path in shared_files:
        found = read_property(path)
        assert found.version == (1, 0) and found.disjuncts
        assert len(found.disjuncts[0].box.lower) == found.networks[0].inputs[0].size


@pytest.mark.data
@needs_shared
@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "disjuncts", "atoms", "boxes"),
    [
        ("acasxu/vnnlib/prop_2.vnnlib.gz", 5, 5, 1, 4, 1),
        ("nn4sys/vnnlib/lindex_200.vnnlib.gz", 1, 1, 400, 400, 200),
        ("mnist_fc/vnnlib/prop_10_0.03.vnnlib.gz", 784, 10, 9, 9, 1),
        ("cifar10_resnet/vnnlib/prop_20_eps_0.008.vnnlib.gz", 3072, 10, 9, 9, 1),
        ("collins_rul_cnn/vnnlib/monotonicity_CI_shift10_w20.vnnlib.gz", 400, 1, 1, 2, 1),
        ("test/vnnlib/test_small.vnnlib.gz", 1, 1, 1, 1, 1),
    ],
)
def test_counts_of_shared_files(
    shared_files: list[Path], name: str, inputs: int, outputs: int, disjuncts: int, atoms: int, boxes: int
) -> None:
    (path,) = (path for path in shared_files if path.as_posix().endswith(f"/vnncomp/{name}"))
    found = read_property(path)
    assert (found.networks[0].inputs[0].size, found.networks[0].outputs[0].size) == (inputs, outputs)
    assert len(found.disjuncts) == disjuncts
    assert sum(len(disjunct.atoms) for disjunct in found.disjuncts) == atoms
    assert len({id(disjunct.box) for disjunct in found.disjuncts}) == boxes
