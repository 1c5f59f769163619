"""How a result came about: what one needs to get it again."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from admm_verify.files import sha256

_PACKAGES = ("numpy", "scipy", "torch", "onnx", "onnxruntime", "highspy")
"""Those that results may depend on."""

Option = str | int | float | bool | list[str] | list[float | list[float]] | None


@dataclass(frozen=True)
class InputFile:
    """A file that was read, and the SHA-256 of its bytes; None for pipes and devices."""

    path: str
    sha256: str | None

    @classmethod
    def of(cls, path: str) -> "InputFile":
        """The file as it is now."""
        return cls(path, sha256(path))


@dataclass(frozen=True)
class Provenance:
    """How a command made a result.

    arithmetic: of the network that the bounds are about, None for a query that was not read to its end. command: the
    command line. options: of the command, as given or by default. files: all that were read. versions: of this library,
    Python, and the packages that are installed.
    """

    arithmetic: str | None
    command: list[str]
    options: dict[str, Option]
    files: list[InputFile]
    versions: dict[str, str]


def installed_versions(library: str) -> dict[str, str]:
    """The version of this library, of Python, and of the packages that results may depend on, where installed."""
    found = {"admm_verify": library, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def digested(paths: Sequence[str]) -> list[InputFile]:
    """Files as they are now, each once."""
    return [InputFile.of(path) for path in dict.fromkeys(map(str, paths))]
