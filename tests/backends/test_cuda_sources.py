"""The CUDA kernels as far as a compiler for GPUs can try them."""

import ctypes
import re
import shutil
import subprocess

import pytest

from admm_verify.backends import cuda, native
from admm_verify.backends.compiled import ALL_VERBS

NVCC = shutil.which("nvcc")
ENTRIES = {f"av_{verb}_{suffix}" for verb in ALL_VERBS for suffix in ("f32", "f64")}


@pytest.mark.parametrize("rows", [1, 2, 1000, 10**6])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 256, 257, 10**6])
@pytest.mark.parametrize("by_row", [True, False])
def test_grids_are_within_cudas_limits(rows: int, n: int, by_row: bool) -> None:
    pieces = cuda.row_pieces(rows, n, 132)
    (width, height), block = cuda.launch_shape(rows, n, pieces if by_row else None)
    assert block % cuda.WARP == 0 and cuda.WARP <= block <= cuda.LARGEST_BLOCK
    assert 1 <= width <= cuda.LARGEST_GRID and 1 <= height <= cuda.LARGEST_GRID
    if by_row:
        assert width == min(rows, cuda.LARGEST_GRID) and height == pieces
    else:
        assert width * block >= n and height == min(rows, cuda.LARGEST_GRID)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("n", [0, 100, cuda.LONG_ROW, 131_072, 10**9])
def test_long_rows_keep_all_multiprocessors_busy(n: int, multiprocessors: int) -> None:
    for rows in (0, 1, 60, 263, 264, 10**6):
        pieces = cuda.row_pieces(rows, n, multiprocessors)
        assert 1 <= pieces <= cuda.LARGEST_GRID and (pieces == 1 or n // pieces >= cuda.SHORTEST_PIECE)
        if n < cuda.LONG_ROW or rows >= cuda.BLOCKS_EACH * multiprocessors:
            assert pieces == 1
        elif n == 10**9:
            assert rows * pieces >= cuda.BLOCKS_EACH * multiprocessors or rows == 0


def test_the_source_is_one_text() -> None:
    assert "#include" not in cuda.source() and "av::project_triangle" in cuda.source()


OLDER = [pytest.param(name, marks=pytest.mark.slow) for name in ("sm_80", "sm_90")]


@pytest.mark.parametrize("architecture", [*OLDER, "sm_100"])
def test_kernels_compile(tmp_path, architecture: str) -> None:
    """Also: every verb has an entry in both types, and takes the arguments that the native one takes."""
    if NVCC is None:
        pytest.skip("nvcc is not on PATH")
    source, text, binary = tmp_path / "verbs.cu", tmp_path / "verbs.ptx", tmp_path / "verbs.cubin"
    source.write_text(cuda.source(), encoding="utf-8")
    options = [*cuda.OPTIONS, f"-arch={architecture}", "-Werror", "all-warnings", "-Xptxas", "-Werror"]
    subprocess.run([NVCC, *options, "-cubin", str(source), "-o", str(binary)], check=True)
    subprocess.run([NVCC, *options, "-ptx", str(cuda.KERNELS / "verbs.cu"), "-o", str(text)], check=True)
    found = re.findall(r"\.entry (\w+)\((.*?)\)", text.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert {name for name, _ in found} == ENTRIES
    types = {"u64": {ctypes.c_void_p, ctypes.c_longlong}, "f64": {ctypes.c_double}}
    for name, parameters in found:
        given = re.findall(r"\.param \.(\w+)", parameters)
        wanted = native.argument_types(name.split("_", 1)[1].rsplit("_", 1)[0])
        assert len(given) == len(wanted)
        assert all(kind in types[word] for word, kind in zip(given, wanted, strict=True)), name


def test_every_verb_has_its_entries() -> None:
    exports = re.compile(r"^AV_EXPORT\((\w+),", flags=re.MULTILINE)
    assert exports.findall((cuda.KERNELS / "loops.h").read_text(encoding="utf-8")) == list(ALL_VERBS)
