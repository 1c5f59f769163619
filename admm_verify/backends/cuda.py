"""The verbs as CUDA kernels on torch tensors: compiled by NVRTC through CuPy, launched on torch's current stream.

Nothing here waits for the GPU, so that calls can be captured in a CUDA graph; a captured `climb` keeps its constants.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

from admm_verify.arrays import Array
from admm_verify.backends.verbs import VERBS, Adam, ArrayVerbs, SlopeState, fit, fit_vector
from admm_verify.errors import InputError
from admm_verify.kernels.library import KERNELS

OPTIONS = ("-std=c++17",)
LARGEST_BLOCK = 256
WARP = 32
LARGEST_GRID = 65535
"""CUDA's limit on the blocks of a grid in its second direction."""

_log = logging.getLogger(__name__)


@cache
def cuda_verbs() -> "CudaVerbs | None":
    """The verbs on CUDA tensors, or None where torch has no GPU or CuPy is missing or cannot compile them."""
    try:
        import cupy  # pyright: ignore[reportMissingImports]
        import torch

        if not torch.cuda.is_available():
            _log.debug("CUDA kernels are not used: torch finds no GPU.")
            return None
        module = cupy.RawModule(code=source(), options=OPTIONS, backend="nvrtc")
        module.compile()
    # CuPy raises errors of several libraries, none of which is a common class.
    except Exception as error:
        _log.debug("CUDA kernels are not used: %s", error)
        return None
    return CudaVerbs(module)


def source() -> str:
    """The kernels in one text: CuPy's cache looks at the source only and would miss a change of the header."""
    header = (KERNELS / "verbs.h").read_text(encoding="utf-8")
    return (KERNELS / "verbs.cu").read_text(encoding="utf-8").replace('#include "verbs.h"', header)


def launch_shape(rows: int, n: int, by_row: bool) -> tuple[tuple[int, int], int]:
    """Grid and block size: one block per row where sums are made, else columns times rows; kernels stride the rest."""
    block = min(LARGEST_BLOCK, -(-max(n, 1) // WARP) * WARP)
    if by_row:
        return (min(max(rows, 1), LARGEST_GRID), 1), block
    return (min(-(-max(n, 1) // block), LARGEST_GRID), min(max(rows, 1), LARGEST_GRID)), block


class CudaVerbs:
    """The verbs for CUDA tensors of one device in float32 and float64; tensors that are not contiguous are copied."""

    def __init__(self, module: Any) -> None:
        self._entries = {
            (verb, suffix): module.get_function(f"av_{verb}_{suffix}") for verb in VERBS for suffix in ("f32", "f64")
        }

    def state(self, slopes: Array) -> SlopeState:
        return ArrayVerbs().state(slopes)

    def descend(self, a: Array, slopes: Array, chord: Array, intercept: Array, box: Array) -> tuple[Array, Array]:
        g, value = self._run("descend", (a, slopes), (chord, intercept), box)
        return g, value

    def climb(
        self,
        a: Array,
        pre: Array,
        chord: Array,
        intercept: Array,
        minimum: Array,
        maximum: Array,
        box: Array,
        state: SlopeState,
        adam: Adam,
    ) -> Array:
        stored = (state.slopes, state.mean, state.square)
        if len({array.data_ptr() for array in stored}) < len(stored):
            raise InputError("The slopes and Adam's averages share an array, but each is overwritten: copy it.")
        fit((a, *stored), (), None)
        own = [array.contiguous() for array in stored]
        numbers = (adam.momentum, adam.memory, adam.rate / adam.first, 1.0 / adam.second)
        (post,) = self._run("climb", (a, pre), (chord, intercept, minimum, maximum), box, own, numbers)
        for array, kept in zip(stored, own, strict=True):
            if kept is not array:
                array.copy_(kept)
        return post

    def vertex(self, coefficient: Array, lower: Array, upper: Array, box: Array) -> tuple[Array, Array]:
        x, value = self._run("vertex", (coefficient,), (lower, upper), box)
        return x, value

    def support_triangle(
        self, lower: Array, upper: Array, post_weight: Array, pre_weight: Array, box: Array
    ) -> tuple[Array, Array]:
        value, reach = self._run("support_triangle", (post_weight, pre_weight), (lower, upper), box)
        return value, reach

    def project_triangle(self, lower: Array, upper: Array, pre: Array, post: Array, box: Array) -> tuple[Array, Array]:
        p, q = self._run("project_triangle", (pre, post), (lower, upper), box)
        return p, q

    def reflect_triangle(
        self, sums: Array, edge: Array, bias: Array, lower: Array, upper: Array, box: Array
    ) -> tuple[Array, Array]:
        held = fit_vector(bias, sums.shape[1], sums.dtype)
        r_sums, r_edge = self._run("reflect_triangle", (sums, edge), (lower, upper), box, (held,))
        return r_sums, r_edge

    def halpern(self, u: Array, r: Array, z: Array, anchor: Array, since: Array) -> tuple[Array, Array]:
        held = fit_vector(since, u.shape[0], u.dtype)
        moved, square = self._run("halpern", (u, r, z, anchor), (), None, (held,))
        return moved, square

    def _run(
        self,
        verb: str,
        inputs: Sequence[Array],
        bounds: Sequence[Array],
        box: Array | None,
        extras: Sequence[Array] = (),
        numbers: Sequence[float] = (),
    ) -> list[Array]:
        """Results of a verb: matrices, then sums."""
        import torch

        rows, n, boxes = fit(inputs, bounds, box)
        first, counts = inputs[0], VERBS[verb]
        suffix = {torch.float32: "f32", torch.float64: "f64"}.get(first.dtype)
        held = [array.contiguous() for array in (*inputs, *bounds, *extras)]
        chosen = None if box is None or boxes == 1 else box.to(torch.int64).contiguous()
        devices = {array.device for array in (*held, *(() if chosen is None else (chosen,)))}
        if suffix is None or devices != {first.device}:
            raise InputError(f"Kernels take float32 and float64 on one GPU, not {first.dtype} on {devices}.")
        results = [torch.empty((rows, n), dtype=first.dtype, device=first.device) for _ in range(counts.matrices)]
        results += [torch.empty(rows, dtype=first.dtype, device=first.device) for _ in range(counts.sums)]
        leading = counts.inputs + counts.bounds
        arguments = (
            *(array.data_ptr() for array in held[:leading]),
            *(0 if chosen is None else chosen.data_ptr(), boxes, rows, n),
            *(array.data_ptr() for array in held[leading:]),
            *numbers,
            *(array.data_ptr() for array in results),
        )
        grid, block = launch_shape(rows, n, by_row=counts.sums > 0)
        self._launch(self._entries[verb, suffix], grid, block, arguments, first.device)
        return results

    def _launch(self, entry: Any, grid: tuple[int, int], block: int, arguments: tuple[Any, ...], device: Any) -> None:
        """Queue a kernel behind torch's work; copies made for it may be freed, since torch reuses memory in order."""
        import cupy  # pyright: ignore[reportMissingImports]
        import torch

        if device.type != "cuda":
            raise InputError(f"Kernels run on a GPU, but the tensors are on {device}.")
        stream = torch.cuda.current_stream(device).cuda_stream
        with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream, device.index):
            entry(grid, (block,), arguments)
