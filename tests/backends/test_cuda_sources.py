"""The CUDA kernels as far as a machine without a GPU can try them: they compile, and do the right thing serially."""

import ctypes
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admm_verify.backends import cuda, native
from admm_verify.backends.compiled import VERBS
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.kernels.library import COMPILERS
from tests.backends.calls import call, results, samples

torch = pytest.importorskip("torch")

NVCC = shutil.which("nvcc")
CXX = next(filter(None, map(shutil.which, COMPILERS)), None)
ENTRIES = {f"av_{verb}_{suffix}" for verb in VERBS for suffix in ("f32", "f64")}


class Serial(cuda.CudaVerbs):
    """The kernels compiled for the host, block after block, with the arguments the GPU would get."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        super().__init__(self)

    def get_function(self, name: str) -> Any:
        return self.library[name]

    def _launch(self, entry: Any, grid: tuple[int, int], block: int, arguments: tuple[Any, ...], device: Any) -> None:
        assert block % cuda.WARP == 0 and block <= cuda.LARGEST_BLOCK
        typed = [ctypes.c_double(x) if isinstance(x, float) else ctypes.c_int64(x) for x in arguments]
        for x, y in product(range(grid[0]), range(grid[1])):
            self.library.place(x, y, *grid)
            entry(*typed)


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> Serial:
    if CXX is None:
        pytest.skip("no C++ compiler on PATH")
    library = tmp_path_factory.mktemp("kernels") / "serial.so"
    shim = Path(__file__).with_name("one_thread.h")
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-x", "c++", "-include", str(shim)]
    subprocess.run([CXX, *options, str(cuda.KERNELS / "verbs.cu"), "-o", str(library)], check=True)
    return Serial(ctypes.CDLL(str(library)))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 37), (2, 700)])
@pytest.mark.parametrize("shared", [True, False])
def test_kernels_return_what_the_reference_does(serial: Serial, verb: str, dtype, shape, shared: bool) -> None:
    some = samples(verb, dtype, *shape, shared=shared)
    expected = results(ArrayVerbs(), some.copy())
    for name, found in results(serial, some.mapped(torch.tensor)).items():
        tolerance = 1e-4 if dtype == np.float32 else 1e-12
        assert np.allclose(found.numpy(), expected[name], rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize("verb", VERBS)
def test_tensors_of_any_layout(serial: Serial, verb: str) -> None:
    some = samples(verb, np.float64)
    expected = results(ArrayVerbs(), some.copy())
    turned = some.mapped(
        lambda array: torch.tensor(np.asfortranarray(array).T).T if array.ndim == 2 else _spread(array)
    )
    for name, found in results(serial, turned).items():
        assert np.allclose(found.numpy(), expected[name]), name


def _spread(array: np.ndarray) -> Any:
    return torch.tensor(np.repeat(array, 2))[::2]


def test_other_tensors_are_refused(serial: Serial) -> None:
    for dtype in (torch.float16, torch.int64):
        some = samples("vertex", np.float32).mapped(lambda array, to=dtype: torch.tensor(array).to(to))
        with pytest.raises(ValueError, match="float32 and float64"):
            call(serial, some)
    with pytest.raises(ValueError, match="share"):
        some = samples("climb", np.float32).mapped(torch.tensor)
        some.arrays["mean"] = some.arrays["square"]
        call(serial, some)


@pytest.mark.parametrize("rows", [1, 2, 1000, 10**6])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 256, 257, 10**6])
@pytest.mark.parametrize("by_row", [True, False])
def test_grids_are_within_cudas_limits(rows: int, n: int, by_row: bool) -> None:
    (width, height), block = cuda.launch_shape(rows, n, by_row)
    assert block % cuda.WARP == 0 and cuda.WARP <= block <= cuda.LARGEST_BLOCK
    assert 1 <= width <= cuda.LARGEST_GRID and 1 <= height <= cuda.LARGEST_GRID
    if by_row:
        assert width == min(rows, cuda.LARGEST_GRID) and height == 1
    else:
        assert width * block >= n and height == min(rows, cuda.LARGEST_GRID)


def test_the_source_is_one_text() -> None:
    assert "#include" not in cuda.source() and "av::project_triangle" in cuda.source()


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
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
    assert exports.findall((cuda.KERNELS / "loops.h").read_text(encoding="utf-8")) == list(VERBS)
