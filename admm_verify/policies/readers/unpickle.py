"""Pickles read without running them: every class they name becomes a record, and arrays are made of their bytes here.

A pickle is a program that may call anything by its name. Here the only names are those of a few packages, each stands
for a record that keeps what it is given, and the numbers of arrays are copied from the bytes in the file.
"""

import io
import os
import pickle
import pickletools
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import ModelError

_MOST_BYTES = 2**26
"""Of a pickle."""

_MOST_OPERATIONS = 10**6
"""Of a pickle; normalisations take some hundred."""

_MOST_SHARED = 16
"""Tuples that a pickle uses more than once; normalisations have none."""

_PACKAGES = ("gym", "gymnasium", "numpy", "sb3_contrib", "stable_baselines3")
"""Whose classes may be named; none of them is imported for it."""

_KINDS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {"f2", "f4", "f8", "b1"}
"""Element types of arrays, as pickles write them."""


class _Inert:
    """What a pickle made by a name: the name, and all that it gave to it."""

    name = ""
    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *arguments: Any) -> "_Inert":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    def __setstate__(self, state: Any) -> None:
        if self.name in ("numpy.ndarray", "numpy.dtype"):
            self.arguments = (*self.arguments, state)
            return
        # Objects with slots give a pair of states.
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            for key, value in part.items() if isinstance(part, dict) else ():
                self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        # The text of lists inside of lists may be of any length.
        if not isinstance(key, str | int):
            raise pickle.UnpicklingError(f"its keys are of the type {type(key).__name__}")
        self.state[str(key)] = value


def _named(module: str, name: str) -> type[_Inert]:
    """A class whose instances are records of one name."""
    full = f"{module}.{name}"
    if full.endswith((".multiarray._reconstruct", "numeric._frombuffer")):
        full = "numpy.ndarray"
    elif full.endswith(".multiarray.scalar"):
        full = "numpy.scalar"
    return type("_Named", (_Inert,), {"name": full})


class _Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module in ("builtins", "__builtin__") and name in ("set", "frozenset"):
            return frozenset
        if module.partition(".")[0] not in _PACKAGES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no normalisation consists of")
        return _named(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of it")


def read_pickle(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The attributes of the object in a pickle; nothing is imported, called or executed.

    Arrays and NumPy's numbers inside are found by `number_array`.
    Raises: ModelError for a file that names anything but records of gym, NumPy and stable-baselines3, is damaged, or
    larger than 64 MiB.
    """
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise ModelError(f"{what} has {os.path.getsize(path)} bytes, and at most {_MOST_BYTES} are read.")
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror or error}.") from error
    try:
        check_operations(content)
        found = _Unpickler(io.BytesIO(content)).load()
    # Damaged pickles end in errors of any kind.
    except Exception as error:
        raise ModelError(
            f"{what} is refused: {error}. Nothing of it was run; a normalisation is what VecNormalize.save wrote, or "
            "give an av.ObservationScale."
        ) from error
    if not isinstance(found, _Inert):
        raise ModelError(f"{what} holds a {type(found).__name__}; give a file that VecNormalize.save wrote.")
    return found.state


def check_operations(content: bytes) -> None:
    """Refuse pickles that claim memory which they do not fill, such as numbers of the memo far beyond the operations,
    and those that take very long: also tuples that hold one another twice, whose hashes take 2^depth steps.
    """
    tuples: set[Any] = set()
    last, memo, shared = "", 0, 0
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        name = operation.name
        if name == "MEMOIZE" or "PUT" in name:
            place = {memo if name == "MEMOIZE" else argument}
            tuples = tuples | place if last.startswith("TUPLE") else tuples - place
            memo += 1
        elif name == "DUP" or ("GET" in name and argument in tuples):
            shared += 1
        last = name
        if shared > _MOST_SHARED:
            raise pickle.UnpicklingError(f"it uses tuples again more than {_MOST_SHARED} times")
        if count > _MOST_OPERATIONS:
            raise pickle.UnpicklingError(f"it takes more than {_MOST_OPERATIONS} operations")
        if "PUT" in operation.name and isinstance(argument, int) and argument > count + 1:
            raise pickle.UnpicklingError("its memo has gaps, as no program writes them")


def number_array(value: Any, what: str) -> np.ndarray:
    """The numbers of what `read_pickle` found, in float64.

    Raises: ModelError for what holds none.
    """
    if isinstance(value, bool | int | float):
        try:
            return np.array(float(value))
        except OverflowError:
            raise ModelError(f"{what} is a number beyond all that arrays hold.") from None
    if isinstance(value, _Inert):
        if value.name == "numpy.scalar" and len(value.arguments) == 2:
            kind, content = value.arguments
            return _from_bytes(kind, content, (), False, what)
        state = value.arguments[-1] if value.arguments else None
        if value.name == "numpy.ndarray" and isinstance(state, tuple) and len(state) == 5:
            _, shape, kind, turned, content = state
            return _from_bytes(kind, content, shape, bool(turned), what)
        if value.name == "numpy.ndarray" and len(value.arguments) == 4:
            content, kind, shape, order = value.arguments
            return _from_bytes(kind, content, shape, order == "F", what)
    raise ModelError(f"{what} is no array of numbers.")


def _from_bytes(kind: Any, content: Any, shape: Any, turned: bool, what: str) -> np.ndarray:
    """An array of bytes, an element type that a pickle describes, and a shape; turned: the first axis runs fastest."""
    arguments = kind.arguments if isinstance(kind, _Inert) and kind.name == "numpy.dtype" else ()
    code = arguments[0] if arguments else None
    state = arguments[-1] if arguments and isinstance(arguments[-1], tuple) else ()
    order = state[1] if len(state) > 1 else "="
    sizes = isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape)
    if (
        not isinstance(code, str)
        or code not in _KINDS
        or order not in ("<", ">", "|", "=")
        or not sizes
        or not isinstance(content, bytes | bytearray)
    ):
        raise ModelError(f"{what} is no array of numbers.")
    dtype = np.dtype(code).newbyteorder("=" if order == "|" else order)
    if prod(shape) * dtype.itemsize != len(content) or len(shape) > 32 or any(size > 2**31 for size in shape):
        raise ModelError(f"{what} claims the shape {shape}, and has {len(content)} bytes.")
    return (
        np.frombuffer(bytes(content), dtype, prod(shape))
        .reshape(shape, order="F" if turned else "C")
        .astype(np.float64)
    )
