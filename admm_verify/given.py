"""Arrays that callers hand in, made plain at the door: real numbers, without gradients, masks or other hidden state."""

import os
import sys
from collections.abc import Container
from typing import Any

import array_api_compat
import numpy as np

from admm_verify.arrays import Array, Placement, namespace, to_numpy
from admm_verify.errors import InputError

_EXACT = 2.0**53
"""From here on float64 does not hold every whole number."""


def read_arrays(
    path: str | os.PathLike[str], what: str, names: Container[str] | None = None, most: float = np.inf
) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or the arrays of a .npz file that have one of some names, all without `names`.

    Nothing is unpickled. most: bytes of all arrays of a .npz file.
    Raises: InputError for a file that cannot be read as such, of which `what` says what it is for.
    """
    try:
        # Given a path, numpy leaves the file open where it holds neither format.
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            size = sum(part.file_size for part in content.zip.infolist())
            if size > most:
                raise ValueError(f"it holds {size} bytes of arrays, and at most {most} are read")
            return {name: content[name] for name in content.files if names is None or name in names}
    # Headers and archives are parsed by numpy, tokenize and zipfile, and damaged ones end in errors of any kind.
    except Exception as error:
        if "pickle" in str(error):
            # NumPy advises to allow it, also for what is only text.
            raise InputError(
                f"The {what} {os.fspath(path)} holds no arrays of numbers: it is another file than .npz or .npy, or "
                "was saved from objects. Save plain numbers by numpy.save or numpy.savez; text such as CSV is read by "
                "numpy.loadtxt first."
            ) from None
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise InputError(f"The {what} {os.fspath(path)} cannot be read as .npz or .npy: {reason}.") from error


def live_array(value: object, what: str) -> Array:
    """What was handed in as an array of real numbers, in its own dtype; a torch tensor keeps its gradients.

    NumPy arrays and torch tensors stay where they are; lists, numbers and what else converts become NumPy arrays.

    Raises: InputError for what is no array of real numbers: text, objects, complex or truth values, ragged lists,
    masked entries, sparse, quantised and nested tensors, and tensors without data; and for CuPy's arrays.
    """
    if array_api_compat.is_torch_array(value):
        return _tensor(value, what)
    if array_api_compat.is_cupy_array(value):
        raise InputError(
            f"The {what} is a CuPy array, and GPUs are used through torch: give torch.from_dlpack(array), which copies "
            "nothing, or array.get() for the host."
        )
    found: Any = _numpy(value, what)
    kind, dtype = found.dtype.kind, found.dtype
    # Small floats of other packages, such as bfloat16, are of kind V like records, and convert safely.
    if kind not in "fiu" and not (kind == "V" and dtype.names is None and np.can_cast(dtype, np.float64)):
        hint = "; use astype(float) where 0 and 1 are meant" if kind == "b" else ""
        raise InputError(f"The {what} holds entries of type {dtype}; give real numbers{hint}.")
    return found


def plain_array(value: object, what: str) -> Array:
    """What was handed in as an array of real numbers without gradients; types that NumPy lacks become float32.

    Raises: InputError as `live_array`.
    """
    found = live_array(value, what)
    if array_api_compat.is_torch_array(found):
        found = found.detach().as_subclass(namespace(found).Tensor).resolve_neg()
        # Tensors made in inference mode may not be changed outside it.
        found = found.clone() if found.is_inference() else found
    xp = namespace(found)
    small = found.dtype.itemsize <= 2 and str(found.dtype).removeprefix("torch.") not in _NUMPY_SMALL
    return xp.astype(found, xp.float32) if small else found


_NUMPY_SMALL = ("float16", "int8", "int16", "uint8", "uint16")


def float64_array(value: object, what: str, place: Placement | None = None) -> Array:
    """What was handed in as an array of its own in float64, moved to a place where one is given.

    Raises: InputError as `live_array`, and for numbers that float64 does not hold exactly, such as 2**53 + 1.
    """
    found = plain_array(value, what)
    home = (Placement.of(found) if place is None else place).double
    xp = namespace(found)
    exact = xp.astype(found, xp.float64)
    if found.dtype.itemsize > 4 and str(found.dtype).removeprefix("torch.") != "float64":
        # Only integers of 64 bits and NumPy's long floats are rounded at all.
        whole = "int" in str(found.dtype)
        rounded = xp.abs(exact) >= _EXACT if whole else ~((exact == found) | xp.isnan(found))
        if bool(xp.any(rounded)):
            raise InputError(
                f"The {what} holds numbers of type {found.dtype} that float64 does not hold exactly. Round them as "
                "you mean them and give float64."
            )
    if isinstance(exact, np.ndarray):
        # Other libraries take neither reversed strides nor foreign byte orders.
        exact = np.asarray(exact, dtype=np.float64, order="C")
    return home.put(exact)


def _tensor(value: Any, what: str) -> Array:
    strange = [
        name
        for name, found in (
            ("sparse", str(value.layout) != "torch.strided"),
            ("quantised", value.is_quantized),
            ("nested", value.is_nested),
            ("on the device meta, without data", value.is_meta),
        )
        if found
    ]
    if strange:
        raise InputError(f"The {what} is a torch tensor that is {strange[0]}; give an ordinary dense one.")
    if value.dtype.is_complex or str(value.dtype) == "torch.bool":
        raise InputError(f"The {what} holds entries of type {value.dtype}; give real numbers.")
    return value


def masks(value: object) -> bool:
    """Whether a value is a masked array; without NumPy's module of these, which takes long to import, there is none."""
    return "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray)


def _numpy(value: Any, what: str) -> np.ndarray:
    if masks(value):
        if np.ma.is_masked(value):
            raise InputError(
                f"The {what} is a masked array with {np.ma.count_masked(value)} entries masked, which have no value "
                "here; fill them with numbers of your own: array.filled(number)."
            )
        return np.asarray(value.data)
    if value is None or isinstance(value, str | bytes | bytearray | memoryview | dict | set | frozenset):
        raise InputError(f"The {what} is {_named(value)}; give an array of real numbers.")
    try:
        found = np.asarray(_unwrapped(value, what))
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"The {what} is {_named(value)}, which is no array of numbers: {error}") from error
    if found.dtype.kind == "O":
        inside = type(found.flat[0]).__name__ if found.size else "nothing"
        raise InputError(f"The {what} is {_named(value)} of objects ({inside}); give an array of floats.")
    return found


def _unwrapped(value: object, what: str) -> object:
    """Lists with the arrays in them as plain NumPy arrays; anything else as it is."""
    if isinstance(value, list | tuple):
        return [_unwrapped(part, what) for part in value]
    foreign = array_api_compat.is_torch_array(value) or array_api_compat.is_cupy_array(value)
    return to_numpy(plain_array(value, what)) if foreign or masks(value) else value


def _named(value: object) -> str:
    if value is None or isinstance(value, type):
        return repr(value)
    return f"of type {type(value).__name__}"
