"""Archives of arrays that anybody may have written: what is in them is known, and allowed, before it is unpacked."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

import numpy as np

from admm_verify.errors import CertificateError

_END, _LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _DIRECTORY_BYTES = 22, 20, 2**16

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER_BYTES = 2**10
_HEADER = re.compile(rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n")
_CHUNK = 2**20


@dataclass(frozen=True)
class ArrayKind:
    """What a member is to hold: numbers of one type along so many axes."""

    dtype: np.dtype
    axes: int


@dataclass(frozen=True)
class Member:
    """An array in an archive that has not been unpacked: how long its head is, and what it says of the array."""

    info: zipfile.ZipInfo
    head: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Of the numbers alone."""
        return prod(self.shape) * self.dtype.itemsize


class Archive:
    """The .npz file of the given members, in the layout that `numpy.savez` writes; nothing is unpacked but heads.

    Raises: CertificateError, and what zipfile raises, for anything else.
    """

    def __init__(self, file: BinaryIO, kinds: Mapping[str, ArrayKind]) -> None:
        _check_directory(file)
        self._zip = zipfile.ZipFile(file)
        infos = self._zip.infolist()
        names = [info.filename for info in infos]
        if sorted(names) != sorted(f"{name}.npy" for name in kinds):
            held = ", ".join(map(repr, sorted(names)))
            raise CertificateError(f"its members are {held:.400}, not {', '.join(sorted(kinds))} once each")
        found = {info.filename: info for info in infos}
        self.members = {name: self._member(name, found[f"{name}.npy"], kind) for name, kind in kinds.items()}

    @property
    def bytes(self) -> int:
        """What all arrays take once they are unpacked."""
        return sum(member.bytes for member in self.members.values())

    def array(self, name: str) -> np.ndarray:
        """One member's array."""
        member = self.members[name]
        found = np.empty(member.shape, dtype=member.dtype)
        target, at = found.reshape(-1).view(np.uint8), 0
        with self._zip.open(member.info) as stream:
            stream.read(member.head)
            while at < member.bytes:
                part = stream.read(min(_CHUNK, member.bytes - at))
                if not part:
                    raise CertificateError(f"its member {name} ends after {at} of {member.bytes} bytes")
                target[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
                at += len(part)
            # The end of the data is where its checksum is compared.
            if stream.read(1):
                raise CertificateError(f"its member {name} goes on after {member.bytes} bytes")
        return found

    def _member(self, name: str, info: zipfile.ZipInfo, kind: ArrayKind) -> Member:
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CertificateError(f"its member {name} is encrypted, or compressed in an unknown way")
        with self._zip.open(info) as stream:
            start = stream.read(len(_MAGIC) + 2)
            size = int.from_bytes(start[len(_MAGIC) :], "little")
            if start[: len(_MAGIC)] != _MAGIC or size > _HEADER_BYTES:
                raise CertificateError(f"its member {name} is no array of NumPy's first format")
            text = _HEADER.fullmatch(stream.read(size))
        if text is None or np.dtype(text[1].decode()) != kind.dtype:
            raise CertificateError(f"its member {name} is no array of {kind.dtype} numbers in the order of C")
        shape = tuple(int(part) for part in text[2].decode().split(",") if part.strip())
        member = Member(info, len(start) + size, shape, kind.dtype)
        if len(shape) != kind.axes or member.head + member.bytes != info.file_size:
            raise CertificateError(
                f"its member {name} of shape {shape} does not fill {info.file_size} bytes as it must"
            )
        return member


def _check_directory(file: BinaryIO) -> None:
    """Refuse a table of contents that would itself take much memory, before it is read."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or end[:4] != _END or end[-2:] != b"\0\0":
        raise CertificateError("it does not end as a ZIP archive without a comment")
    if (
        tail[:-_END_BYTES][-_LOCATOR_BYTES:].startswith(_LOCATOR)
        or int.from_bytes(end[12:16], "little") > _DIRECTORY_BYTES
    ):
        raise CertificateError("its table of contents is larger than any that is written here")
    file.seek(0)
