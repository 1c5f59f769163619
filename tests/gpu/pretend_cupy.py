"""As much of CuPy as the library uses, with kernels that run on the host."""

from contextlib import nullcontext
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.gpu.host_kernels import HostKernels, words

if TYPE_CHECKING:
    from tests.gpu.pretend import PretendGpu


def pretend_cupy(gpu: "PretendGpu") -> dict[str, ModuleType]:
    """Modules to be imported in CuPy's place."""
    cupy, cuda, places = ModuleType("cupy"), ModuleType("cupy.cuda"), list[int]()
    vars(cupy).update(
        __version__="14.2.0", __path__=[], cuda=cuda, ndarray=Ndarray, RawModule=partial(RawModule, gpu, places)
    )
    vars(cuda).update(Device=partial(Device, gpu, places), Stream=Stream, ExternalStream=ExternalStream)
    return {"cupy": cupy, "cupy.cuda": cuda}


class Ndarray:
    """CuPy's arrays, of which there are none."""


class Device:
    """CuPy's current device, as a context."""

    def __init__(self, gpu: "PretendGpu", places: list[int], index: int) -> None:
        self.id, self._places = gpu.named(int(index)).index, places

    def __enter__(self) -> "Device":
        self._places.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self._places.pop()


class Stream(nullcontext):
    """CuPy's current stream, as a context."""

    @classmethod
    def from_external(cls, stream: Any) -> "Stream":
        version, handle = stream.__cuda_stream__()
        assert version == 0 and isinstance(handle, int)
        return cls()


class ExternalStream(Stream):
    """A stream by its handle."""

    def __init__(self, handle: int, device: int = -1) -> None:
        super().__init__()
        assert isinstance(handle, int) and isinstance(device, int)


class RawModule:
    """Kernels of a source text, compiled for the host."""

    def __init__(
        self,
        gpu: "PretendGpu",
        places: list[int],
        *,
        code: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        **_: Any,
    ) -> None:
        assert backend == "nvrtc" and isinstance(options, tuple)
        self._gpu, self._places, self._code = gpu, places, code

    def compile(self, log_stream: Any = None) -> None:
        HostKernels.of(self._code)

    def get_function(self, name: str) -> Any:
        kernels = HostKernels.of(self._code)

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            assert 1 <= len(grid) <= 3 and 1 <= len(block) <= 3
            packed = words(arguments)
            # Kernels stride over whatever blocks leave, so one thread does it all; but for pieces of sums.
            shape = (1, grid[1] if len(grid) > 1 else 1)
            self._gpu.launched_own(name, self._places[-1] if self._places else 0, packed)
            kernels.launch(name, shape, 1, packed)
            if self._gpu.capturing is not None:
                self._gpu.capturing.program.append(partial(kernels.launch, name, shape, 1, packed))

        return launch
