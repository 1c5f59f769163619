"""CUDA kernels as a library for the host, by `host_kernels.h`."""

import ctypes
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from admm_verify.kernels.library import COMPILERS

HEADER = Path(__file__).with_name("host_kernels.h")
FLAGS = ("-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", "-x", "c++", "-Wno-unknown-pragmas")
EXTRA_FLAGS = "ADMM_VERIFY_HOST_FLAGS"
"""Variable with further options for the compiler, as for sanitizers."""

CXX = next(filter(None, map(shutil.which, COMPILERS)), None)
_ENTRY = re.compile(r'extern "C" __attribute__\(\(visibility\("default"\)\)\) void\s+(\w+)\s*\(')


def words(arguments: Sequence[Any]) -> list[int]:
    """Arguments of a kernel as 64-bit words: integers and addresses as they are, floats as doubles."""
    return [
        struct.unpack("<Q", struct.pack("<d", x))[0] if isinstance(x, float) else int(x) & (2**64 - 1)
        for x in arguments
    ]


class HostKernels:
    """Kernels that run on the host."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._library = ctypes.CDLL(str(path))
        self.names = tuple(names)

    @classmethod
    def of(cls, code: str) -> "HostKernels":
        """The kernels of a source text, compiled once per machine; the test is skipped where there is no compiler."""
        if CXX is None:
            pytest.skip("no C++ compiler on PATH")
        return _compiled(code, tuple(os.environ.get(EXTRA_FLAGS, "").split()))

    def launch(self, name: str, grid: tuple[int, int], block: int, packed: Sequence[int]) -> None:
        """Run a kernel with blocks of so many threads; the arguments as `words` makes them.

        Raises: KeyError for a kernel that is not there.
        """
        if name not in self.names:
            raise KeyError(name)
        array = (ctypes.c_uint64 * len(packed))(*packed)
        self._library[f"launch_{name}"](*map(ctypes.c_uint, (*grid, block)), array, ctypes.c_uint(len(packed)))


@cache
def _compiled(code: str, extra: tuple[str, ...]) -> HostKernels:
    assert CXX is not None
    command = [CXX, *FLAGS, *extra, "-include", str(HEADER)]
    key = hashlib.sha256("\0".join([code, HEADER.read_text(encoding="utf-8"), *command]).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"admm_verify-host-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path, listed = folder / f"{key}.so", folder / f"{key}.names"
    if not (path.exists() and listed.exists()):
        with tempfile.TemporaryDirectory(dir=folder) as private:
            _build(command, code, Path(private), path, listed)
    return HostKernels(path, listed.read_text(encoding="utf-8").split())


def _build(command: Sequence[str], code: str, private: Path, path: Path, listed: Path) -> None:
    """Compile in a folder of its own and move into place, so that processes that build at once do no harm."""
    source, built = private / "kernels.cu", private / "kernels.so"
    source.write_text(code, encoding="utf-8")
    expanded = subprocess.run([*command, "-E", str(source)], capture_output=True, check=True, text=True).stdout
    names = _ENTRY.findall(expanded)
    launchers = "".join(
        f'\nextern "C" void launch_{name}(unsigned x, unsigned y, unsigned block, const unsigned long long* words, '
        f"unsigned count) {{ host::launch({name}, x, y, block, words, count); }}"
        for name in names
    )
    source.write_text(code + launchers, encoding="utf-8")
    subprocess.run([*command, str(source), "-o", str(built)], check=True)
    (private / "names").write_text("\n".join(names), encoding="utf-8")
    os.replace(built, path)
    os.replace(private / "names", listed)
