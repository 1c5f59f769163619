"""Tensors that say they are on a GPU and compute on the host, and what torch is told to do with them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.gpu.events import What

if TYPE_CHECKING:
    from tests.gpu.pretend import PretendGpu

READS = {
    *("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
    *("repeat_interleave", "_linalg_svd", "_linalg_eigh", "_linalg_check_errors", "bincount", "linalg_lstsq"),
}
"""Operations for whose result, or its size, the host waits on a GPU."""

WRITES_NOTHING = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"}
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class PretendTensor(torch.Tensor):
    """A tensor on a pretend GPU around one on the host.

    torch's own code believes that it is on "meta", a device without memory that every build of torch knows.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    inner: torch.Tensor
    place: torch.device
    gpu: "PretendGpu"

    @staticmethod
    def __new__(cls, inner: torch.Tensor, gpu: "PretendGpu", index: int) -> "PretendTensor":
        made = torch.Tensor._make_wrapper_subclass(  # pyright: ignore
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device="meta",
            requires_grad=False,
        )
        made.inner, made.place, made.gpu = inner, torch.device("cuda", index), gpu
        gpu.memories[index].hold(made, inner.untyped_storage())
        return made

    device = property(lambda self: self.place)  # pyright: ignore
    is_cuda = property(lambda self: True)  # pyright: ignore
    is_cpu = property(lambda self: False)  # pyright: ignore
    is_meta = property(lambda self: False)  # pyright: ignore

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = next(x for x in tensors_in((args, kwargs)) if isinstance(x, PretendTensor))
        return dispatch(first.gpu, func, args, kwargs or {})

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], torch.Tensor):
            device, dtype, later = args[0].device, args[0].dtype, bool(kwargs.get("non_blocking"))
        else:
            device, dtype, later, _ = torch._C._nn._parse_to(*args, **kwargs)  # pyright: ignore
        device = self.place if device is None else self.gpu.named(device)
        dtype = self.dtype if dtype is None else dtype
        if not copy and device == self.place and dtype == self.dtype:
            return self
        return torch.ops.aten._to_copy(self, dtype=dtype, device=device, non_blocking=later)

    def cpu(self, *_: Any) -> torch.Tensor:
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> torch.Tensor:
        return self.to(self.gpu.named("cuda" if device is None else device), non_blocking=non_blocking)

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            f"can't convert {self.place} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __dlpack__(self, *_: Any, **__: Any) -> Any:
        raise BufferError("A pretend GPU has no memory that another library could read.")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.place.index

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_on_host(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_on_host(index), value)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def as_subclass(self, cls: Any) -> Any:
        return self if cls is torch.Tensor else super().as_subclass(cls)

    def record_stream(self, stream: Any) -> None:
        """Memory is never given to another stream here."""

    def is_pinned(self, *_: Any) -> bool:
        return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _copied, (self.cpu(), str(self.place))

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        return self.clone()

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.inner!r}, device={self.place})"


def _on_host(index: Any) -> Any:
    """An index whose lists and arrays are tensors of the host: torch makes others of them below any dispatch."""
    parts = index if isinstance(index, tuple) else (index,)
    made = tuple(torch.tensor(part) if isinstance(part, list | np.ndarray) else part for part in parts)
    return made if isinstance(index, tuple) else made[0]


def _copied(values: torch.Tensor, place: str) -> torch.Tensor:
    return values.to(place)


class PretendMode(TorchDispatchMode):
    """What torch does without any tensor, as making the first one, asked of the pretend GPU; of one thread."""

    def __init__(self, gpu: "PretendGpu") -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(self.gpu, func, args, kwargs or {})


def dispatch(gpu: "PretendGpu", func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation of torch returns, counted, and refused where a GPU refuses it."""
    tensors = list(tensors_in((args, kwargs)))
    there = [x for x in tensors if isinstance(x, PretendTensor)]
    wanted = kwargs.get("device")
    # torch's own code makes scalars where it believes its tensors to be.
    on_gpu = wanted is not None and torch.device(wanted).type in ("cuda", "meta")
    if not there and not on_gpu:
        if kwargs.get("pin_memory"):
            return gpu.pin(func(*args, **(kwargs | {"pin_memory": False})))
        return func(*args, **kwargs)
    name = func._schema.name.partition("::")[2]
    if any(x.device.type == "meta" for x in tensors):
        raise NotImplementedError(f"Torch has put a tensor on meta that a pretend GPU cannot know of ({name}).")
    if name == "_to_copy":
        return _moved(gpu, func, args[0], kwargs)
    if name == "copy_" and (len(there) == 1 or there[0].place != there[1].place):
        return _filled(gpu, args[0], args[1], bool(args[2] if len(args) > 2 else kwargs.get("non_blocking")))
    if on_gpu and torch.device(wanted).type == "cuda":
        index = gpu.named(wanted).index
    else:
        index = _common(gpu, name, tensors, there)
    if name in READS or _counts_flags(name, args):
        gpu.note(What.READ, name, index, there[0].inner if there else None, waits=True)
    plain = unwrapped(kwargs)
    if wanted is not None:
        plain["device"] = torch.device("cpu")
    if "pin_memory" in plain:
        plain["pin_memory"] = False
    result = gpu.compute(func, unwrapped(args), plain)
    if wanted is not None and not on_gpu:
        gpu.note(What.TO_HOST, name, index, next(tensors_in(result), None), waits=True)
        return result
    _count(gpu, func, name, index, there, result)
    return _wrapped(gpu, index, there, result)


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """The tensors among nested values."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        yield from tensors_in(list(values.values()))


def unwrapped(values: Any) -> Any:
    """Nested values with the tensors on the host instead of those on the GPU."""
    return _mapped(values, lambda x: x.inner if isinstance(x, PretendTensor) else x)


def _mapped(values: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, list | tuple):
        return type(values)([_mapped(value, change) for value in values])
    if isinstance(values, dict):
        return {key: _mapped(value, change) for key, value in values.items()}
    return values


def _wrapped(gpu: "PretendGpu", index: int, there: list[PretendTensor], result: Any) -> Any:
    """Results as tensors of the GPU; what an operation has written to is what it was given."""
    known = {id(x.inner): x for x in there}
    for x in there:
        if x.inner.size() != x.size() or x.inner.stride() != x.stride():
            raise NotImplementedError("A pretend GPU cannot change the shape of a tensor in place.")

    def there_is(x: torch.Tensor) -> torch.Tensor:
        return known[id(x)] if id(x) in known else PretendTensor(x, gpu, index)

    return _mapped(result, there_is)


def _common(gpu: "PretendGpu", name: str, tensors: list[torch.Tensor], there: list[PretendTensor]) -> int:
    """The device that an operation runs on.

    Raises: RuntimeError, as torch does, where its tensors are on several.
    """
    many = [x for x in there if x.dim()] or there
    places = {x.place for x in many}
    host = [x for x in tensors if not isinstance(x, PretendTensor) and x.dim() and name not in INDEXES]
    if len(places) > 1 or (host and there):
        found = ", ".join(sorted({str(x.device) for x in (*many, *host)}))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {found}! ({name})"
        )
    for x in tensors:
        if there and not isinstance(x, PretendTensor) and x.dim():
            gpu.note(What.TO_DEVICE, f"{name} of the host", many[0].place.index, x, waits=True)
    return many[0].place.index if many else gpu.current


def _counts_flags(name: str, args: Any) -> bool:
    """Whether an operation on chosen elements has to count them first."""
    if name not in INDEXES:
        return False
    masks = [x for x in args[1] if isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8)]
    # One value for all elements of one mask is filled in without counting them.
    filled = name != "index" and len(args[1]) == 1 and args[2].numel() == 1
    return bool(masks) and not filled


def _moved(gpu: "PretendGpu", func: Any, source: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
    """A copy with another dtype or on another device."""
    wanted = kwargs.get("device")
    place = source.device if wanted is None else gpu.named(wanted)
    later = bool(kwargs.get("non_blocking"))
    plain = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking", "pin_memory")}
    result = gpu.compute(func, (unwrapped(source),), plain)
    if place.type == "cpu":
        # Asynchronous copies go to pinned memory, into which torch puts them by itself.
        gpu.note(What.TO_HOST, "to", source.device.index, result, waits=not later)
        return result
    if not isinstance(source, PretendTensor):
        gpu.note(What.TO_DEVICE, "to", place.index, result, waits=not (later and gpu.is_pinned(source)))
    elif source.place != place:
        gpu.note(What.BETWEEN, "to", place.index, result)
    else:
        gpu.launched("_to_copy", place.index, [source], result)
    gpu.allocate(place.index, result)
    return PretendTensor(result, gpu, place.index)


def _filled(gpu: "PretendGpu", into: torch.Tensor, source: torch.Tensor, later: bool) -> torch.Tensor:
    """A copy across devices into what is there."""
    gpu.compute(torch.ops.aten.copy_.default, (unwrapped(into), unwrapped(source)), {})
    if not isinstance(into, PretendTensor):
        gpu.note(What.TO_HOST, "copy_", source.device.index, into, waits=not (later and gpu.is_pinned(into)))
    elif isinstance(source, PretendTensor):
        gpu.note(What.BETWEEN, "copy_", into.place.index, into)
    elif source.dim() == 0:
        gpu.launched("fill_", into.place.index, [], into.inner)
    else:
        waits = not (later and gpu.is_pinned(source))
        gpu.note(What.TO_DEVICE, "copy_", into.place.index, source, waits=waits)
    return into


def _count(gpu: "PretendGpu", func: Any, name: str, index: int, there: list[PretendTensor], result: Any) -> None:
    """Count the memory and the launch that an operation takes; views take neither."""
    made = list(tensors_in(result))
    held = {x.inner.untyped_storage().data_ptr() for x in there}
    new = {x.untyped_storage().data_ptr(): x for x in made}
    for address, x in new.items():
        if address not in held:
            gpu.allocate(index, x)
    if name in WRITES_NOTHING or (made and not func._schema.is_mutable and set(new) <= held):
        return
    if name != "_local_scalar_dense":
        gpu.launched(name, index, there, made[0] if made else None)
