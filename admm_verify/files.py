"""Files: written whole or not at all, and shared between processes without loss."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from admm_verify.errors import AdmmVerifyError, InputError, OutputError
from admm_verify.streams import real_stdout

_LONGEST_NAME = 240
"""Bytes of a name that still has room for more; file systems take 255."""

_MOST_LINKS = 40
"""Symbolic links followed from one path, as by the system."""

_READ: ContextVar[list[str] | None] = ContextVar("read", default=None)
"""Where the names of files go that are read meanwhile, if anybody asked."""


@contextmanager
def replaced(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `path` at once when the block ends, and is gone if that fails.

    It lies beside the target (what a link points to) and reaches the disk before it is renamed: a crash, a kill and a
    full disk leave the old file or the new one. Pipes, devices and what stdout or stderr are get the bytes directly.

    Raises: OutputError, which names `what` cannot be written and why.
    """
    try:
        stream = _stream(path)
        if stream is not None:
            with stream:
                yield stream
            return
        with _part(Path(os.path.realpath(path))) as file:
            yield file
    except OSError as error:
        raise OutputError(f"The {what} {os.fspath(path)} cannot be written: {reason(error)}.") from error


@contextmanager
def locked(path: Path, mode: int = 0o666) -> Iterator[int]:
    """A regular file, made if need be, as a descriptor to read and write that nobody else holds through here.

    Others wait; the system frees the lock when its process ends, however. Systems without locks do without.
    Raises: OSError.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), mode)
        try:
            _lock(handle)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            # While this one waited, the holder may have renamed or removed the file.
            if not _is_file_of(handle, path):
                continue
            yield handle
            return
        finally:
            os.close(handle)


def write_all(handle: int, content: bytes) -> None:
    """Write all bytes at the descriptor's place and bring them to the disk.

    Raises: OSError.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
    os.fsync(handle)


def every(writers: Iterable[Callable[[], object]]) -> None:
    """Run all writers, whatever becomes of the others.

    Raises: OutputError with the messages of those that failed.
    """
    failures = []
    for write in writers:
        try:
            write()
        except AdmmVerifyError as error:
            failures.append(str(error))
    if failures:
        raise OutputError(" ".join(failures))


def require_written(unwritten: str | None) -> None:
    """Raise OutputError with why something could not be written, where that is so."""
    if unwritten is not None:
        raise OutputError(unwritten)


def check_targets(written: Sequence[str], read: Sequence[str]) -> None:
    """Refuse files that cannot be written, or that are written twice or read as well, before any work is done for them.

    Raises: InputError.
    """
    for i, path in enumerate(written):
        _check_target(path)
        for other in (*written[:i], *read):
            if _same(path, other):
                twice = "is to be written twice" if other in written[:i] else "is also read"
                raise InputError(f"The file {path} {twice}; give a file of its own for everything that is written.")


@contextmanager
def reading_beside(written: Sequence[str]) -> Iterator[list[str]]:
    """Refuse targets, as `check_targets` does, that are among the files which the block names by `note_read`.

    Yields the list that takes their names. Inputs name further files: external data of models, controllers of systems.
    Raises: InputError.
    """
    names: list[str] = []
    token = _READ.set(names)
    try:
        yield names
    finally:
        _READ.reset(token)
    check_targets(written, names)


def note_read(path: str | os.PathLike[str]) -> None:
    """Tell `reading_beside` that a file is read which another file names."""
    names = _READ.get()
    if names is not None:
        names.append(os.fspath(path))


def sha256(path: str | os.PathLike[str]) -> str | None:
    """The SHA-256 of a regular file's bytes, None for what is none or cannot be read."""
    try:
        # A pipe would have us wait for whoever writes into it.
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return error.strerror or str(error)


def _check_target(path: str) -> None:
    if _descriptor(path) is not None:
        return
    target = Path(os.path.realpath(path))
    # Unlike methods of Path, these take names that are longer than the system allows.
    # What ends in a separator names a folder, which the real path forgets.
    if os.path.basename(path) in ("", ".") or os.path.isdir(target) or not os.path.isdir(target.parent):
        raise InputError(f"The file {path} cannot be written: it is a folder, or its folder is missing.")
    try:
        os.stat(target)
        found = True
    except FileNotFoundError:
        found = False
    except OSError as error:
        raise InputError(f"The file {path} cannot be written: {reason(error)}. Give another one.") from error
    if found and not os.access(target, os.W_OK):
        raise InputError(f"The file {path} cannot be written: it is write-protected. Give another file.")
    if (not found or os.path.isfile(target)) and not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"The file {path} cannot be written: its folder takes no new files. Give another folder.")


def _same(path: str, other: str) -> bool:
    """Whether two paths are of one file; streams and devices take everything."""
    if _descriptor(path) is not None:
        return False
    try:
        found = os.stat(path)
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.stat(other))
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _stream(path: str | os.PathLike[str]) -> BinaryIO | None:
    """The target as a stream where it is no regular file, or where stdout or stderr go there."""
    number = _descriptor(path)
    if number is not None:
        return os.fdopen(os.dup(number), "wb")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    for known in (real_stdout(), 2):
        with suppress(OSError):
            if known is not None and os.path.samestat(found, os.fstat(known)):
                return os.fdopen(os.dup(known), "wb")
    return None if stat.S_ISREG(found.st_mode) else open(path, "wb")


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The descriptor that a path like /dev/stdout leads to; stdout is the real one, wherever 1 points just now."""
    place, own = os.path.abspath(path), {"/dev/fd", os.path.realpath("/proc/self/fd")}
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(place)
        if name.isdigit() and (folder in own or os.path.realpath(folder) in own):
            return real_stdout() if int(name) == 1 else int(name)
        if not os.path.islink(place):
            return None
        place = os.path.join(folder, os.readlink(place))
    return None


@contextmanager
def _part(target: Path) -> Iterator[BinaryIO]:
    """A file beside the target that replaces it in the end. There is one for each target: a killed writer's is reused.

    Raises: OSError.
    """
    mode = None
    if target.exists():
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mode = stat.S_IMODE(target.stat().st_mode)
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    part = target.with_name(f".{name}.part")
    with locked(part, 0o666 if mode is None else mode & 0o777) as handle:
        try:
            os.ftruncate(handle, 0)
            if mode is not None:
                os.chmod(part, mode)
            with os.fdopen(handle, "wb", closefd=False) as file:
                yield file
            os.fsync(handle)
            if os.name != "nt":
                os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    if os.name == "nt":
        # Open files cannot be renamed there.
        os.replace(part, target)


def _lock(handle: int) -> None:
    """Wait for the lock of an open file, where the system and the file system have such."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _is_file_of(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
