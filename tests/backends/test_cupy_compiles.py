"""The kernels through CuPy's own wheels, which need no GPU to compile: `pip install ".[cuda-compile]"`.

CI runs this file in a step of its own, where nothing is skipped.
"""

import io
from typing import Any

import pytest

from admm_verify.backends import cuda
from admm_verify.backends.compiled import VERBS

cupy = pytest.importorskip("cupy", reason='CuPy is missing: pip install ".[cuda-compile]"')

compiler = cupy.cuda.compiler


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch) -> None:
    """What CuPy would ask a GPU for before it compiles: the option of its architecture."""
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin"))


ENTRIES = {f"av_{verb}_{suffix}".encode() for verb in VERBS for suffix in ("f32", "f64")}


def compiled(text: str, architecture: str) -> tuple[bytes, str]:
    """What CuPy's RawModule would load on a GPU of an architecture, and what NVRTC says; nothing where all is well."""
    said = io.StringIO()
    # RawModule adds this option before it calls the same function, which adds those of the architecture.
    options = (*cuda.OPTIONS, "-ftz=true")
    found, _ = compiler.compile_using_nvrtc(text, options, architecture, "verbs.cu", log_stream=said)
    # NVRTC notes on lines of their own how it uses precompiled headers.
    lines = [line for line in said.getvalue().splitlines() if "precompiled header" not in line and line.strip()]
    return found, "\n".join(lines)


@pytest.mark.parametrize("architecture", ["80", "90", "100"])
def test_kernels_compile_without_a_warning(architecture: str) -> None:
    found, said = compiled(cuda.source(), architecture)
    assert said == ""
    assert found.startswith(b"\x7fELF") and [name for name in sorted(ENTRIES) if name not in found] == []


def test_a_warning_would_be_noticed() -> None:
    _, said = compiled('extern "C" __global__ void f(int* x) { int unused; *x = 1; }', "80")
    assert "warning" in said and "unused" in said


def test_modules_and_streams_can_be_made() -> None:
    cupy.RawModule(code=cuda.source(), options=cuda.OPTIONS, backend="nvrtc")
    for handle in (0, 2**20):
        stream: Any = cuda.cupy_stream(0, handle)
        assert stream.ptr == handle and hasattr(stream, "__enter__")
        assert cuda.cupy_stream(0, handle) is stream


def test_without_a_gpu_there_are_no_verbs() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    cuda.cuda_verbs.cache_clear()
    assert cuda.cuda_verbs() is None
