"""Files that strangers wrote: what they would unpack to is known and refused before they do, in one paragraph."""

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admm_verify import Run
from admm_verify.certificates.files import Extent, read, write
from admm_verify.errors import CertificateError
from tests.certificates.provers import one_atom, random_certificate
from tests.random_networks import random_case

Members = list[tuple[str, bytes]]


@pytest.fixture
def made(tmp_path) -> tuple[Path, Extent]:
    case = random_case(15, widest=6, deepest=3)
    found = one_atom(case.network, case.box, case.objective[0], 0.0)
    path = tmp_path / "proof.npz"
    write(random_certificate(np.random.default_rng(3), case.network, found), path)
    return path, Extent.of(found, case.network)


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def packed(path: Path, content: Members, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content:
            archive.writestr(name, data)


def head(shape: tuple[int, ...], descr: str = "<f4", order: bool = False) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def refusal(path: Path, memory: float | None = None, extent: Extent | None = None) -> str:
    """Why a file is refused, and that this took little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CertificateError) as raised:
            read(path, Run(memory=memory), extent)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    text = str(raised.value)
    assert "\n" not in text and str(path) in text
    return text


def replaced(content: Members, name: str, change: Callable[[bytes], bytes]) -> Members:
    return [(n, change(data) if n == f"{name}.npy" else data) for n, data in content]


def declare(path: Path, name: str, size: int) -> None:
    """Let the table of contents say that a member unpacks to so many bytes."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + int.from_bytes(data[at + 28 : at + 30], "little")] != f"{name}.npy".encode():
        at = data.index(b"PK\x01\x02", at + 4)
    data[at + 24 : at + 28] = size.to_bytes(4, "little")
    path.write_bytes(bytes(data))


def bomb(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Members that say they hold arrays of these shapes, and would, as far as anybody can see without unpacking."""
    content, kinds = members(path), {"goal": "<i4", "atom": "<i4", "splits": "<i4", "header": "|u1"}
    for name, shape in shapes.items():
        start = head(shape, kinds.get(name, "<f4"))
        content = replaced(content, name, lambda data, start=start: start + bytes(1000))
    packed(path, content)
    for name, shape in shapes.items():
        declare(path, name, len(head(shape)) + int(np.prod(shape)) * (1 if name == "header" else 4))


@pytest.mark.parametrize("name", ["header", "goal", "slopes", "splits", "combinations", "lower"])
def test_one_huge_member_is_refused_before_it_is_unpacked(made, name):
    path, extent = made
    axes = 1 if name in ("header", "goal", "lower") else 2
    bomb(path, {name: (2**29 - 100, 1)[:axes]})
    for limits in ((), (None, extent), (2.0**24, extent)):
        assert "GiB" in refusal(path, *limits) or name in refusal(path, *limits)


def test_huge_members_that_fit_together_are_refused(made):
    path, extent = made
    found, leaves = read(path).leaves, 2**20
    width, depth = found.slopes.shape[1], found.splits.shape[1]
    every = {"goal": (leaves,), "atom": (leaves,), "splits": (leaves, depth), "beta": (leaves, depth)}
    bomb(path, every | {"slopes": (leaves, width)})
    assert "limit of" in refusal(path, 2.0**24, None)
    # Whatever memory is allowed, a query has no more leaves than its trees can have.
    assert "can need" in refusal(path, 2.0**40, extent)


def test_more_than_a_gibibyte_must_be_allowed(made):
    path, _ = made
    bomb(path, {"combinations": (2, 2**27)})
    assert "limit of" in refusal(path)


def test_sizes_that_no_query_needs_are_refused(made):
    path, extent = made
    assert len(read(path, None, extent).leaves)
    for less in (
        Extent(0, extent.atoms, extent.neurons, extent.slopes),
        Extent(extent.disjuncts, extent.atoms, 1, extent.slopes),
        Extent(extent.disjuncts, extent.atoms, extent.neurons, 1),
    ):
        assert "can need" in refusal(path, None, less)


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-4],
    "more than its shape": lambda data: data + b"abcd",
    "no head": lambda data: b"",
    "another magic": lambda data: b"PK" + data[2:],
    "another version": lambda data: data[:6] + b"\x02" + data[7:],
    "a head without an end": lambda data: data[:8] + b"\xff\xff" + data[10:],
    "doubles": lambda data: saved(np.zeros((3, 3))),
    "swapped bytes": lambda data: saved(np.zeros((3, 3), dtype=">f4")),
    "the order of Fortran": lambda data: saved(np.zeros((3, 2), dtype=np.float32, order="F")),
    "objects": lambda data: saved(np.array([[{"a": 1}]], dtype=object)),
    "records": lambda data: saved(np.zeros(3, dtype=[("a", "<f4")])),
    "a negative shape": lambda data: head((-1, 4)) + bytes(16),
    "a shape of Python 2": lambda data: data.replace(b"L,", b"").replace(b", 'shape': (", b", 'shape': (0L,"),
    "a shape that overflows": lambda data: head((2**62, 2**62)) + bytes(16),
    "a shape of words": lambda data: head((1, 1)).replace(b"(1, 1)", b"(a, b)") + bytes(4),
    "three axes": lambda data: head((1, 1, 1)) + bytes(4),
    "no axes": lambda data: head(()) + bytes(4),
    "code": lambda data: head((1, 1)).replace(b"False", b"id(0)") + bytes(4),
    "NaN": lambda data: data[:-4] + np.float32(np.nan).tobytes(),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_broken_members_are_refused(made, change):
    path, extent = made
    packed(path, replaced(members(path), "slopes", change))
    assert "slopes" in refusal(path, None, extent)


def _double(content: Members) -> Members:
    return [*content, content[0]]


SETS: dict[str, Callable[[Members], Members]] = {
    "missing": lambda content: content[1:],
    "extra": lambda content: [*content, ("more.npy", content[0][1])],
    "folder": lambda content: [("../header.npy", content[0][1]), *content[1:]],
    "none": lambda content: [],
}


@pytest.mark.parametrize("change", SETS.values(), ids=SETS)
def test_other_members_are_refused(made, change):
    path, _ = made
    packed(path, change(members(path)))
    assert "its members are" in refusal(path)


def test_a_member_that_is_there_twice_is_refused(made):
    path, _ = made
    content = members(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        packed(path, [*content, content[1]])
    assert "its members are" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(made, method):
    path, _ = made
    packed(path, members(path), method)
    assert "unknown way" in refusal(path)


def test_members_that_are_stored_are_read(made):
    path, extent = made
    packed(path, members(path), zipfile.ZIP_STORED)
    assert len(read(path, None, extent).leaves)


def test_lies_of_the_table_of_contents_are_refused(made):
    path, _ = made
    content = members(path)
    size = len(dict(content)["slopes.npy"])
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for declared in (0, 10, size - 4, size + 4, 2**31):
            packed(path, content, method)
            declare(path, "slopes", declared)
            assert "no certificate" in refusal(path)


def test_a_table_of_contents_is_small(made):
    path, _ = made
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(2000):
            archive.writestr(f"{i}.npy", b"")
    assert "table of contents" in refusal(path)
    path.write_bytes(path.read_bytes() + b"comment")
    assert "does not end" in refusal(path)


def test_headers_are_no_other_json(made):
    path, _ = made
    for text in (b"[" * 100_000, b"1" * 10_000, b"1e999999999", b"null", b"{}", b"\xff", b'{"format": 3}'):
        array = saved(np.frombuffer(text, dtype=np.uint8))
        packed(path, replaced(members(path), "header", lambda data, array=array: array))
        assert "no certificate" in refusal(path)


def test_what_is_no_file_is_refused(tmp_path):
    assert "no regular file" in refusal(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in refusal(pipe)
