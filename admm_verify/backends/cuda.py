"""The verbs as CUDA kernels on torch tensors: compiled by NVRTC through CuPy, launched on torch's current stream.

Nothing here waits for the GPU, so that calls can be captured in a CUDA graph; a captured `climb` keeps its constants.
"""

import re
import warnings
from functools import cache, lru_cache
from typing import Any

from admm_verify.arrays import Array
from admm_verify.backends.compiled import ALL_VERBS, CompiledVerbs, KernelCall
from admm_verify.backends.verbs import ArrayVerbs, SlopeState, agrees
from admm_verify.errors import InputError
from admm_verify.kernels.library import KERNELS
from admm_verify.memory import is_allocation

OPTIONS = ("-std=c++17",)
LARGEST_BLOCK = 256
WARP = 32
LARGEST_GRID = 65535
"""CUDA's limit on the blocks of a grid in its second direction."""

LONG_ROW, SHORTEST_PIECE = 8192, 2048
"""Numbers of a row whose sum several blocks share, and of a piece that is worth a block of its own."""

BLOCKS_EACH = 2
"""Blocks that keep a multiprocessor busy."""

_REASON = 300
"""Characters of the longest reason that a warning quotes: compilers say much."""


@cache
def cuda_verbs() -> "CudaVerbs | None":
    """The verbs on CUDA tensors; None where torch has no GPU, and with a warning where CuPy cannot compile them."""
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        import cupy  # pyright: ignore[reportMissingImports]

        module = cupy.RawModule(code=source(), options=OPTIONS, backend="nvrtc")
        module.compile()
        verbs = CudaVerbs(module)
        # The only time that anything waits for the GPU here: certified bounds are sums that kernels make.
        if agrees(verbs, lambda array: torch.tensor(array, device="cuda")):
            return verbs
        raise RuntimeError("kernels disagree with the reference on known values")
    # CuPy raises errors of several libraries, none of which is a common class.
    except Exception as error:
        if is_allocation(error):
            # Memory may be there the next time.
            raise
        found = error
    major = (torch.version.cuda or "13").partition(".")[0]
    advice = f"pip install cupy-cuda{major}x" if isinstance(found, ImportError) else "check CuPy's installation"
    reason = " ".join(f"{type(found).__name__}: {found}".split())[:_REASON]
    warnings.warn(
        f"The GPU works without fused kernels, at a fraction of its speed: {reason}. To have them, {advice}.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


@lru_cache(maxsize=64)
def cupy_stream(device: int, handle: int) -> Any:
    """CuPy's word for a stream of somebody else's on a device, made once."""
    import cupy  # pyright: ignore[reportMissingImports]

    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Handle(handle))
    return cupy.cuda.ExternalStream(handle, device)


class _Handle:
    """A CUDA stream in the protocol that libraries share."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def source() -> str:
    """The kernels in one text: CuPy's cache looks at the source only and would miss a change of the headers."""

    def text(name: str) -> str:
        written = (KERNELS / name).read_text(encoding="utf-8")
        return re.sub(r'^#include "(.+)"$', lambda found: text(found[1]), written, flags=re.MULTILINE)

    return text("verbs.cu")


def row_pieces(rows: int, n: int, multiprocessors: int) -> int:
    """Blocks that share the sums of a row: one where rows are short, or enough for all multiprocessors."""
    wanted = -(-BLOCKS_EACH * multiprocessors // max(rows, 1))
    return 1 if n < LONG_ROW else max(1, min(wanted, n // SHORTEST_PIECE, LARGEST_GRID))


def launch_shape(rows: int, n: int, pieces: int | None) -> tuple[tuple[int, int], int]:
    """Grid and block size: rows times pieces where sums are made, else columns times rows; kernels stride the rest."""
    block = min(LARGEST_BLOCK, -(-max(n, 1) // WARP) * WARP)
    if pieces is not None:
        return (min(max(rows, 1), LARGEST_GRID), pieces), block
    return (min(-(-max(n, 1) // block), LARGEST_GRID), min(max(rows, 1), LARGEST_GRID)), block


@cache
def multiprocessors(device: Any) -> int:
    """How many multiprocessors a GPU has."""
    import torch

    return torch.cuda.get_device_properties(device).multi_processor_count


class CudaVerbs(CompiledVerbs):
    """The verbs for CUDA tensors of one device in float32 and float64."""

    def __init__(self, module: Any) -> None:
        self._entries = {
            (verb, suffix): module.get_function(f"av_{verb}_{suffix}")
            for verb in ALL_VERBS
            for suffix in ("f32", "f64")
        }

    def state(self, slopes: Array) -> SlopeState:
        return ArrayVerbs().state(slopes)

    def _run(self, call: KernelCall) -> list[Any]:
        import torch

        verb, inputs, bounds, box, extras, numbers, _, sizes = call
        rows, n, boxes = call.fit()
        first, counts = call.first, ALL_VERBS[verb]
        suffix = {torch.float32: "f32", torch.float64: "f64"}.get(first.dtype)
        held = [array.contiguous() for array in (*inputs, *bounds, *extras)]
        chosen = None if box is None or boxes == 1 else box.to(torch.int64).contiguous()
        devices = {array.device for array in (*held, *(() if chosen is None else (chosen,)))}
        if suffix is None or devices != {first.device}:
            raise InputError(f"Kernels take float32 and float64 on one GPU, not {first.dtype} on {devices}.")
        like = {"dtype": first.dtype, "device": first.device}
        results = [torch.empty((rows, size), **like) for size in sizes or (n,) * counts.matrices]
        pieces = row_pieces(rows, n, self._multiprocessors(first.device)) if counts.sums else 1
        sums = [torch.empty((pieces, rows) if pieces > 1 else rows, **like) for _ in range(counts.sums)]
        leading = counts.inputs + counts.bounds
        arguments = (
            *(array.data_ptr() for array in held[:leading]),
            *(0 if chosen is None else chosen.data_ptr(), boxes, rows, n),
            *(array.data_ptr() for array in held[leading:]),
            *numbers,
            *(array.data_ptr() for array in (*results, *sums)),
        )
        grid, block = launch_shape(rows, n, pieces if counts.sums else None)
        self._launch(self._entries[verb, suffix], grid, block, arguments, first.device)
        # No block waits for another: the pieces are added afterwards, in an order that is always the same.
        return results + (sums if pieces == 1 else [torch.sum(parts, dim=0) for parts in sums])

    def _multiprocessors(self, device: Any) -> int:
        return multiprocessors(device)

    def _address(self, array: Any) -> int:
        return array.data_ptr()

    def _contiguous(self, array: Any) -> Any:
        return array.contiguous()

    def _launch(self, entry: Any, grid: tuple[int, int], block: int, arguments: tuple[Any, ...], device: Any) -> None:
        """Queue a kernel behind torch's work; copies made for it may be freed, since torch reuses memory in order."""
        import cupy  # pyright: ignore[reportMissingImports]
        import torch

        if device.type != "cuda":
            raise InputError(f"Kernels run on a GPU, but the tensors are on {device}.")
        stream = torch.cuda.current_stream(device).cuda_stream
        with cupy.cuda.Device(device.index), cupy_stream(device.index, stream):
            entry(grid, (block,), arguments)
