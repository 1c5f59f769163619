"""The bytes of network files, decompressed where they are gzip."""

import gzip
import io
import os
import zlib
from typing import BinaryIO

from admm_verify.errors import ModelError
from admm_verify.run import paced

SIZE_LIMIT = 2**31
"""Bytes of the largest model that protobuf holds, and of any other network file."""

_PART = 2**24
"""Bytes of a file that are read at once."""


def file_content(path: str | os.PathLike[str], what: str) -> bytes:
    """The bytes of a network file, decompressed where it is gzip; `what` it should be is for messages.

    Raises: ModelError for a file that cannot be read, is empty or too large.
    """
    try:
        with open(path, "rb") as file:
            data = _read(file)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data), "rb") as file:
                data = _read(file)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise ModelError(f"The network file {os.fspath(path)} cannot be read: {_reason(error)}.") from error
    if not data:
        raise ModelError(f"The network file {os.fspath(path)} is empty. Give {what}.")
    if len(data) >= SIZE_LIMIT:
        raise ModelError(f"The network file {os.fspath(path)} is larger than 2 GiB, the limit of an ONNX file.")
    return data


def _read(file: BinaryIO | gzip.GzipFile) -> bytes:
    """A file's content, up to the limit, part by part."""
    parts: list[bytes] = []
    for left in paced(range(SIZE_LIMIT, 0, -_PART)):
        parts.append(file.read(min(_PART, left)))
        if not parts[-1]:
            break
    return b"".join(parts)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder; give the file itself"
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "its gzip data is truncated or damaged; copy it again"
    return str(error)
