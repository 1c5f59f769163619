"""Members of zip archives that somebody else made, read into memory within limits; nothing is ever extracted."""

import os
import stat
import zipfile
import zlib
from collections.abc import Collection
from typing import IO

from admm_verify.errors import ModelError

MOST_BYTES = 2**31
"""Of one member, unpacked."""

_MOST_MEMBERS = 10_000
"""Files of an archive."""

_MOST_RATIO = 1000.0
"""Bytes unpacked per byte packed; deflate reaches 1032, weights of networks about 1.1."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_SMALL = 2**20
"""Bytes of a member that may be packed however well."""


def read_members(
    source: str | os.PathLike[str] | IO[bytes], names: Collection[str], what: str, most: int = MOST_BYTES
) -> dict[str, bytes]:
    """The bytes of those members of an archive that are among some names; no other member is unpacked.

    most: bytes of all of them together. what: how messages call the archive.
    Raises: ModelError for what is no archive, and for one that tries to do harm: members outside its folder, links,
    names that come twice, encrypted ones, and those that unpack to far more than they are.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise ModelError(f"{what} holds {len(members)} files; archives of up to {_MOST_MEMBERS} are read.")
            _check_places(archive, what)
            known: set[str] = set()
            for member in members:
                _check_member(member, known, what)
                known.add(member.filename)
            wanted = [member for member in members if member.filename in names]
            size = sum(member.file_size for member in wanted)
            if size > most:
                raise ModelError(f"{what} unpacks to {size} bytes, and at most {most} are read.")
            return {member.filename: _content(archive, member) for member in wanted}
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror or error}.") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ModelError(f"{what} is no zip archive that can be read: {error}.") from error


def is_archive(source: str | os.PathLike[str] | IO[bytes]) -> bool:
    """Whether something is an archive, maybe a damaged one. Raises: OSError."""
    try:
        return zipfile.is_zipfile(source)
    except zipfile.BadZipFile:
        return True


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member, no more of which are unpacked than it claims to have."""
    with archive.open(member) as file:
        return file.read(member.file_size)


def _check_places(archive: zipfile.ZipFile, what: str) -> None:
    """Refuse an archive whose members take more room than it has, as they then lie on one another."""
    packed, file = sum(member.compress_size for member in archive.infolist()), archive.fp
    if file is not None and packed > file.seek(0, os.SEEK_END):
        raise ModelError(f"{what} is refused: its members overlap, as only harmful ones do.")


def _check_member(member: zipfile.ZipInfo, known: Collection[str], what: str) -> None:
    """Refuse a member that no honest program writes."""
    name = member.filename
    parts = name.replace("\\", "/").split("/")
    reason = None
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        reason = "leads out of the archive"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "is a symbolic link"
    elif name in known:
        reason = "is there twice"
    elif member.flag_bits & 1:
        reason = "is encrypted"
    elif member.compress_type not in _METHODS:
        # Others unpack all that a member has, whatever size it claims.
        reason = "is packed by another method than deflate, which no training library uses"
    elif member.file_size > max(_SMALL, _MOST_RATIO * member.compress_size):
        reason = f"unpacks {member.compress_size} bytes to {member.file_size}, as only harmful ones do"
    if reason is not None:
        raise ModelError(f"{what} is refused: its member {name!r} {reason}. Get it from somebody whom you trust.")
