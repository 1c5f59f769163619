"""The one exception tree: each message names what was given, what is allowed, and what to do."""

from importlib.util import find_spec

_LONGEST = 2000
"""Characters of the longest message."""


class AdmmVerifyError(Exception):
    """Base of every error this library raises on purpose; its message is one paragraph, whatever it quotes."""

    def __init__(self, text: str) -> None:
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
        half = _LONGEST // 2
        super().__init__(line if len(line) <= _LONGEST else f"{line[:half]} ... {line[-half:]}")


class InputError(AdmmVerifyError, ValueError):
    """A number, shape or option given by the caller cannot be used."""


class MissingNameError(AdmmVerifyError, AttributeError):
    """A name that users of other libraries look for; the message says what it is called here."""


class OutputError(InputError):
    """A file that was to be written could not be; what was found is not lost by that."""


class ModelError(AdmmVerifyError):
    """A network file or module cannot be read."""


class UnsupportedOperatorError(ModelError):
    """A network contains an operator that no relaxation here covers."""


class ReplayError(AdmmVerifyError):
    """onnxruntime cannot run a network, so that a counterexample stays unconfirmed."""


class QueryError(AdmmVerifyError):
    """A property file cannot be read; the message carries line and column where there is one."""


class StoppedError(AdmmVerifyError):
    """Reading a query ended before its end, as its timeout or somebody's `stop` asked; nothing is known of it."""


class UnsupportedQueryError(QueryError):
    """A property is well formed but outside the theories this solver covers."""


class DeviceError(AdmmVerifyError):
    """The device asked for is not there, or its libraries are missing."""


class MissingPackageError(AdmmVerifyError):
    """An optional package is needed; the message says how to install it."""


class ContradictionError(AdmmVerifyError):
    """Something is certified and yet an input shows the contrary: a fault of this library, or of a file it believed."""


class CertificateError(AdmmVerifyError):
    """A certificate cannot be read, or does not prove what it claims."""


def is_installed(package: str) -> bool:
    """Whether an optional package can be found; where a hook of the import system raises instead, it is not."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
