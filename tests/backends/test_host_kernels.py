"""The CUDA kernels on the host, with a thread for every thread of a block, and by sanitizers."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admm_verify.backends import cuda
from admm_verify.backends.compiled import VERBS
from admm_verify.backends.verbs import ArrayVerbs
from admm_verify.errors import InputError
from tests.backends.calls import call, results, samples
from tests.gpu.host_kernels import CXX, EXTRA_FLAGS, HostKernels, words
from tests.seeds import every

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


class Threaded(cuda.CudaVerbs):
    """The kernels on the host with the grids and blocks, and the arguments, that a GPU would get.

    widest: blocks in each direction of a grid at most, for kernels to stride over the rest. multiprocessors: how many
    there are to share the sums of long rows.
    """

    def __init__(self, kernels: HostKernels) -> None:
        self.kernels = kernels
        self.widest = cuda.LARGEST_GRID
        self.multiprocessors = 1
        super().__init__(self)

    def get_function(self, name: str) -> str:
        return name

    def _multiprocessors(self, device: Any) -> int:
        return self.multiprocessors

    def _launch(self, entry: Any, grid: tuple[int, int], block: int, arguments: tuple[Any, ...], device: Any) -> None:
        width, height = (min(side, self.widest) for side in grid)
        self.kernels.launch(entry, (width, height), block, words(arguments))


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    return HostKernels.of(cuda.source())


@pytest.fixture
def threaded(kernels: HostKernels) -> Threaded:
    return Threaded(kernels)


def test_every_verb_has_a_kernel_of_both_types(kernels: HostKernels) -> None:
    assert set(kernels.names) >= {f"av_{verb}_{suffix}" for verb in VERBS for suffix in ("f32", "f64")}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", every(3, [(3, 37), (1, 1), (2, 700)]))
@pytest.mark.parametrize("shared", [True, False])
def test_kernels_return_what_the_reference_does(threaded: Threaded, verb: str, dtype, shape, shared: bool) -> None:
    some = samples(verb, dtype, *shape, shared=shared)
    expected = results(ArrayVerbs(), some.copy())
    for name, found in results(threaded, some.mapped(torch.tensor)).items():
        tolerance = 1e-4 if dtype == np.float32 else 1e-12
        assert np.allclose(found.numpy(), expected[name], rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("widest", [1, 2])
def test_kernels_stride_over_what_a_grid_leaves(threaded: Threaded, verb: str, widest: int) -> None:
    some = samples(verb, np.float64, 5, 600)
    expected = results(ArrayVerbs(), some.copy())
    threaded.widest = widest
    for name, found in results(threaded, some.mapped(torch.tensor)).items():
        assert np.allclose(found.numpy(), expected[name], rtol=1e-12, atol=1e-12), name


@pytest.mark.parametrize("verb", every(3, [verb for verb, counts in VERBS.items() if counts.sums]))
def test_blocks_share_the_sums_of_long_rows(threaded: Threaded, monkeypatch, verb: str) -> None:
    """In an order that is always the same; sums of whole numbers, which no order changes, are those of one block."""
    heights, real = [], threaded._launch

    def launch(entry: Any, grid: tuple[int, int], *rest: Any) -> None:
        heights.append(grid[1])
        real(entry, grid, *rest)

    monkeypatch.setattr(threaded, "_launch", launch)
    # Threads of the host take long to meet.
    monkeypatch.setattr(cuda, "LARGEST_BLOCK", 64)
    some = samples(verb, np.float64, 2, cuda.LONG_ROW + 1)
    whole = replace(some.mapped(np.rint), box=some.box)
    for exact, numbers in ((False, some.mapped(torch.tensor)), (True, whole.mapped(torch.tensor))):
        threaded.multiprocessors = 1
        alone = results(threaded, numbers.mapped(torch.clone))
        threaded.multiprocessors = 4
        first, second = (results(threaded, numbers.mapped(torch.clone)) for _ in range(2))
        for name, array in first.items():
            assert torch.equal(array, second[name]), name
            if exact or array.ndim == 2:
                assert torch.equal(array, alone[name]), name
    assert heights == [1, 4, 4] * 2


@pytest.mark.parametrize("verb", VERBS)
def test_tensors_of_any_layout(threaded: Threaded, verb: str) -> None:
    some = samples(verb, np.float64)
    expected = results(ArrayVerbs(), some.copy())
    turned = some.mapped(
        lambda array: torch.tensor(np.asfortranarray(array).T).T if array.ndim == 2 else _spread(array)
    )
    for name, found in results(threaded, turned).items():
        assert np.allclose(found.numpy(), expected[name]), name


def _spread(array: np.ndarray) -> Any:
    return torch.tensor(np.repeat(array, 2))[::2]


def test_other_tensors_are_refused(threaded: Threaded) -> None:
    for dtype in (torch.float16, torch.int64):
        some = samples("vertex", np.float32).mapped(lambda array, to=dtype: torch.tensor(array).to(to))
        with pytest.raises(InputError, match="float32 and float64"):
            call(threaded, some)
    some = samples("climb", np.float32).mapped(torch.tensor)
    some.arrays["mean"] = some.arrays["square"]
    with pytest.raises(InputError, match="share"):
        call(threaded, some)


HEAD = "typedef long long Index;\n"
UNITS = {
    "sum": """
extern "C" __global__ void sum(const double* x, Index n, double* result) {
    __shared__ double warps[32];
    double part = 0;
    for (Index i = threadIdx.x; i < n; i += blockDim.x) part += x[i];
    for (int offset = 16; offset > 0; offset /= 2) part += __shfl_down_sync(0xffffffffu, part, offset);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = part;
    __syncthreads();
    if (threadIdx.x == 0)
        for (unsigned w = 0; w < (blockDim.x + 31) / 32; ++w) *result += warps[w];
}""",
    "places": """
extern "C" __global__ void places(Index* counts) {
    atomicAdd(counts + (blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x, Index(1));
}""",
    "beyond": """
extern "C" __global__ void beyond(double* x, Index n) { x[n + threadIdx.x] = 1.0; }""",
    "race": """
extern "C" __global__ void race(double* x, Index n) {
    __shared__ double warps[2];
    warps[threadIdx.x / 32] = x[threadIdx.x];
    x[threadIdx.x] = warps[1 - threadIdx.x / 32] + n;
}""",
    "overflow": """
extern "C" __global__ void overflow(Index* x, Index n) { *x = n * n; }""",
}


def test_blocks_are_threads_that_meet() -> None:
    """A sum over the block by shuffles and shared memory is right for every number of threads, and for one."""
    unit = HostKernels.of(HEAD + UNITS["sum"])
    x = np.random.default_rng(0).standard_normal(1000)
    for block in (1, 32, 96, 256):
        result = np.zeros(1)
        unit.launch("sum", (1, 1), block, words([x.ctypes.data, 1000, result.ctypes.data]))
        assert np.isclose(result[0], x.sum(), rtol=1e-13)


def test_every_thread_of_every_block_runs_once() -> None:
    unit = HostKernels.of(HEAD + UNITS["places"])
    counts = np.zeros(3 * 2 * 64, dtype=np.int64)
    unit.launch("places", (3, 2), 64, words([counts.ctypes.data]))
    assert (counts == 1).all()
    with pytest.raises(KeyError):
        unit.launch("av_nothing", (1, 1), 1, [])


MEMORY, RACES = "address,undefined", "thread"
"""What sanitizers look after; each is a library that Python has to be started with."""


def sanitized(what: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, where a sanitizer looks after what kernels do; its first finding ends it."""
    if CXX is None:
        pytest.skip("no C++ compiler on PATH")
    library = {MEMORY: "libasan.so", RACES: "libtsan.so"}[what]
    asked = subprocess.run([CXX, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
    if not Path(asked.stdout.strip()).is_absolute():
        pytest.skip(f"{CXX} has no {library}")
    own = {
        EXTRA_FLAGS: f"-fsanitize={what} -fno-sanitize-recover=all -g",
        "LD_PRELOAD": asked.stdout.strip(),
        # Python keeps what it has to the end, and tests allocate more than there is on purpose.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "TSAN_OPTIONS": "halt_on_error=1:exitcode=66",
        # Allocations of Python's own are then malloc's, of which the sanitizer knows.
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
    }
    command = (sys.executable, *command)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **own})


outside = pytest.mark.skipif(bool(os.environ.get(EXTRA_FLAGS)), reason="runs in the process that is looked after")


@outside
@pytest.mark.slow
@pytest.mark.parametrize("what", [MEMORY, RACES])
def test_sanitizers_find_nothing_in_the_kernels(what: str) -> None:
    # Of threads a few sizes tell enough, and each takes long.
    some = ["-k", "stride or blocks or (reference and shape1)"] if what == RACES else []
    done = sanitized(what, "-m", "pytest", "-q", "-n", "0", *some, str(Path(__file__)))
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


@outside
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "name", "argument", "word"),
    [
        (MEMORY, "beyond", 64, "heap-buffer-overflow"),
        (MEMORY, "overflow", 2**62, "signed integer overflow"),
        (RACES, "race", 64, "data race"),
    ],
)
def test_sanitizers_find_what_is_wrong(what: str, name: str, argument: int, word: str) -> None:
    script = f"""
import numpy as np
from tests.gpu.host_kernels import HostKernels, words
x = np.zeros(64)
HostKernels.of({HEAD + UNITS[name]!r}).launch({name!r}, (1, 1), 64, words([x.ctypes.data, {argument}]))
print("went on")
"""
    done = sanitized(what, "-c", script)
    assert done.returncode != 0 and "went on" not in done.stdout and word in done.stderr, done.stderr[-3000:]
