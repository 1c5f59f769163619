"""External data of ONNX tensors: read from regular files beside the model, and put into the tensors themselves."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from admm_verify.errors import ModelError
from admm_verify.files import note_read

_KEYS = ("location", "offset", "length", "checksum")
"""What the standard lets a tensor say about its external data."""

_DIGITS = 18
"""Decimal digits of the largest offset or length that is read, so that it fits into 64 bits."""

_BYTES = {
    name: size
    for size, names in (
        (1, "INT8 UINT8 BOOL"),
        (2, "INT16 UINT16 FLOAT16 BFLOAT16"),
        (4, "INT32 UINT32 FLOAT"),
        (8, "INT64 UINT64 DOUBLE"),
    )
    for name in names.split()
}
"""Bytes of one entry, by element type."""


def is_external(tensor: Any) -> bool:
    """Whether a TensorProto says that its data is in another file."""
    return tensor.data_location != tensor.DEFAULT or len(tensor.external_data) > 0


def tensors_of(model: Any) -> Iterator[Any]:
    """Every TensorProto of a ModelProto, wherever it stands: also in attributes, subgraphs and functions."""
    yield from _graph(model.graph)
    for function in model.functions:
        yield from _attributes(function.attribute_proto)
        yield from _nodes(function.node)
    for training in model.training_info:
        yield from _graph(training.initialization)
        yield from _graph(training.algorithm)


def _graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _sparse(graph.sparse_initializer)
    yield from _nodes(graph.node)


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield from _attributes(node.attribute)


def _attributes(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        yield from _sparse([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
        yield from _sparse(attribute.sparse_tensors)
        for graph in [attribute.g] if attribute.HasField("g") else []:
            yield from _graph(graph)
        for graph in attribute.graphs:
            yield from _graph(graph)


def _sparse(tensors: Iterable[Any]) -> Iterator[Any]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)


class ExternalData:
    """The files in and below one model's folder, as long as all that is read fits a limit in bytes."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.folder, self.name, self.left = Path(os.path.realpath(folder)), name, limit
        self._digests: dict[Path, str] = {}

    def embed(self, tensors: Iterable[Any]) -> None:
        """Put the data of TensorProtos into them.

        Raises: ModelError for entries that contradict the standard or the file, and for files that are missing, not
        regular, or not inside the folder.
        """
        for tensor in tensors:
            label = f"The tensor {tensor.name or 'without a name'} of {self.name}"
            try:
                data = self._bytes(tensor)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ModelError(f"{label} keeps its data in another file, which cannot be used: {reason}.") from error
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = data

    def _bytes(self, tensor: Any) -> bytes:
        """What the entries of a tensor refer to; ValueError and OSError say why not."""
        found = _entries(tensor)
        needed = _size(tensor)
        path = self._path(found["location"])
        offset = _integer("offset", found.get("offset", "0"))
        note_read(path)
        with _regular(path) as file:
            there = os.fstat(file.fileno()).st_size
            length = _integer("length", found["length"]) if "length" in found else there - offset
            if offset + length > there or length < 0:
                raise ValueError(
                    f"{found['location']} holds {there} bytes, not {length} from byte {offset} on; "
                    "copy it again together with the model"
                )
            if length != needed:
                shape = list(tensor.dims)
                raise ValueError(f"{found['location']} gives it {length} bytes where its shape {shape} needs {needed}")
            self.left -= length
            if self.left <= 0:
                raise ValueError(
                    "the model with all of its data is larger than 2 GiB, the limit of an ONNX file; give a smaller one"
                )
            self._check_digest(path, file, found)
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise ValueError(f"{found['location']} became shorter while it was read")
        return data

    def _path(self, location: str) -> Path:
        """The file at a location, which must be a plain relative path that stays in the folder."""
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        if not location or "\0" in location or ".." in windows.parts or posix.is_absolute() or windows.anchor:
            raise ValueError(
                f"its location {location!r} is not a relative path inside the model's folder; save the model and its "
                "data in one folder"
            )
        path = Path(os.path.realpath(self.folder / posix))
        if not path.is_relative_to(self.folder):
            raise ValueError(
                f"{location} is a link that leads out of the model's folder; copy the file itself beside the model"
            )
        if not os.path.exists(path):
            raise ValueError(f"there is no file {location} beside the model; copy it there, or export the model again")
        return path

    def _check_digest(self, path: Path, file: Any, found: dict[str, str]) -> None:
        wanted = found.get("checksum")
        if wanted is None:
            return
        if path not in self._digests:
            self._digests[path] = hashlib.file_digest(file, "sha1").hexdigest()
        if self._digests[path] != wanted.lower():
            raise ValueError(f"{found['location']} does not have the checksum {wanted}; copy it again")


def _entries(tensor: Any) -> dict[str, str]:
    """The key-value pairs of a tensor, which must be the standard's and speak alone."""
    pairs = [(entry.key, entry.value) for entry in tensor.external_data]
    found = dict(pairs)
    if tensor.data_location != tensor.EXTERNAL or "location" not in found:
        raise ValueError("it must both say that its data is external and give a location")
    unknown = [key for key in found if key not in _KEYS]
    if unknown:
        raise ValueError(f"its entry {unknown[0]!r} is unknown; known are {', '.join(_KEYS)}")
    if len(found) < len(pairs):
        raise ValueError("one of its entries is given twice")
    fields = {field.name for field, _ in tensor.ListFields()}
    inside = [name for name in fields if name.endswith("_data") and name != "external_data"]
    if inside or "segment" in fields:
        raise ValueError("it holds data in the model, too")
    return found


def _size(tensor: Any) -> int:
    """Bytes that a tensor's data takes."""
    names = {value: name for name, value in type(tensor).DataType.items()}
    name = names.get(tensor.data_type, f"number {tensor.data_type}")
    if name not in _BYTES:
        raise ValueError(f"its element type {name} is not read; {', '.join(_BYTES)} are")
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"its shape {list(tensor.dims)} is negative")
    return prod(tensor.dims) * _BYTES[name]


def _integer(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise ValueError(f"its {key} {text[:40]!r} is not a whole number of bytes")
    return int(text)


def _regular(path: Path) -> Any:
    """A regular file, opened; pipes and devices are neither waited for nor touched."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name} is not a regular file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path.name} is not a regular file")
    return file
