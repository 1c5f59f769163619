"""Native code on the CPU: compiled at first use, kept in the user's cache folder, absent where it can't be had.

Set ADMM_VERIFY_NATIVE=0 to do without, CXX to choose the compiler.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

KERNELS = Path(__file__).parent
UNITS = ("native.cpp", "convolution.cpp")
SOURCES = (*UNITS, "loops.h", "verbs.h")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-fopenmp-simd"),
    # After the user's own options: flushing subnormal numbers to zero would be switched on for the whole process.
    "-fno-fast-math",
    # Behind that, which would take them back: neither changes a value, and both are needed before comparisons and roots
    # become vector instructions.
    *("-fno-math-errno", "-fno-trapping-math"),
)
COMPILERS = ("c++", "g++", "clang++")
BUILD_SECONDS = 60.0
SWITCH = "ADMM_VERIFY_NATIVE"

_log = logging.getLogger(__name__)


@cache
def native_library() -> ctypes.CDLL | None:
    """The library of all kernels, or None without a word where there is no compiler or anything else is in the way.

    Where it is not in the cache folder yet, it is compiled, which takes some two seconds.
    """
    if os.environ.get(SWITCH) == "0":
        _log.debug("Native code is switched off by %s=0.", SWITCH)
        return None
    try:
        return _library()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _log.debug("Native code is not used: %s %s", error, getattr(error, "stderr", "") or "")
    return None


def _library() -> ctypes.CDLL:
    """The library from the cache folder, built there if it is not yet; else one built in a private folder.

    Raises: OSError or subprocess.SubprocessError where it cannot be built or loaded.
    """
    command = [*_compiler(), *FLAGS]
    version = _run([command[0], "--version"])
    name = f"native-{_fingerprint(command, version)}.so"
    try:
        path = _cache_folder() / name
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _build(command, path)
        return _loaded(command, path)
    except (OSError, RuntimeError) as error:
        _log.debug("Native code cannot be kept in the cache folder: %s", error)
    with tempfile.TemporaryDirectory(prefix="admm_verify-") as folder:
        path = Path(folder) / name
        _build(command, path)
        # Once loaded the library needs its file no longer.
        return ctypes.CDLL(str(path))


def _loaded(command: Sequence[str], path: Path) -> ctypes.CDLL:
    """A library that is there, built anew where what is there is none, as after the power failed."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        _log.debug("Native code is compiled again: %s", error)
    _build(command, path)
    return ctypes.CDLL(str(path))


def _compiler() -> list[str]:
    """The compiler's absolute path and, from CXX, its own options."""
    wanted = shlex.split(os.environ.get("CXX", ""))
    for name, *options in [wanted] if wanted else [[name] for name in COMPILERS]:
        found = shutil.which(name)
        if found is not None:
            return [found, *options]
    raise FileNotFoundError(f"No C++ compiler: looked for {wanted[0] if wanted else ', '.join(COMPILERS)}.")


def _run(words: Sequence[str]) -> bytes:
    """What the compiler says; once more where a signal ends it, as a Ctrl-C does that this process answers by going on.

    Raises: OSError or subprocess.SubprocessError where it fails.
    """
    for ends in (False, True):
        done = subprocess.run(words, capture_output=True, timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL, check=ends)
        if done.returncode >= 0:
            break
    done.check_returncode()
    return done.stdout


def _fingerprint(command: Sequence[str], version: bytes) -> str:
    """A hash of everything the library depends on, down to the CPU: a cache folder may serve several machines."""
    parts = [(KERNELS / name).read_bytes() for name in SOURCES]
    parts += [word.encode() for word in (*command, os.path.realpath(command[0]), _cpu())]
    digest = hashlib.sha256()
    for part in (*parts, version):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:32]


def _cpu() -> str:
    """What decides which instructions the CPU has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = {line for line in lines if line.startswith(("flags", "Features"))}
    return " ".join([platform.machine(), platform.processor(), *sorted(features)])


def _cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "admm_verify"


def _build(command: Sequence[str], path: Path) -> None:
    """Compile into a file of its own and move it into place, so that processes that build at once do no harm, nor any
    exception in the middle.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        _run([*command, *(str(KERNELS / unit) for unit in UNITS), "-o", temporary])
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
