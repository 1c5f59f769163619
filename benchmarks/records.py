"""Records in an archive of arrays: a tree in JSON that names them and their fields, and the arrays that it refers to.

Reading makes records of kinds that the reader lists, by their own constructors, and nothing else: whoever hands such a
file on can have nothing executed.
"""

import json
import zipfile
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from admm_verify.errors import InputError

TREE = "tree"
"""The entry of the archive that holds the JSON."""


def write_records(path: Path, thing: Any) -> None:
    """Write nested records, tuples, lists, sets, dictionaries, arrays, numbers, bytes and texts.

    What is in several places is written once. Raises: TypeError for anything else.
    """
    writer = _Writer()
    text = np.frombuffer(json.dumps(writer.told(thing)).encode(), dtype=np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in {TREE: text, **writer.arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def read_records(path: Path, kinds: dict[str, type]) -> Any:
    """What was written, made of records of these kinds, by name.

    Raises: InputError where the file is no such archive, or wants another kind.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _Reader(arrays, kinds).made(json.loads(arrays.pop(TREE).tobytes()))
    # Bytes that are no archive are refused by errors of many kinds, and constructors by their own.
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no such records: {type(error).__name__}: {error}") from error


_CONTAINERS = {kind.__name__: kind for kind in (tuple, list, frozenset)}


class _Writer:
    """arrays: those of what was told so far, by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        # By identity, of which all are part of what is told, and so alive.
        self._known: dict[int, dict[str, Any]] = {}
        self._records = 0

    def told(self, thing: Any) -> Any:
        """What is written for a thing."""
        if thing is None or (isinstance(thing, bool | int | float | str) and not isinstance(thing, np.generic)):
            return thing
        if id(thing) in self._known:
            return self._known[id(thing)]
        found = self._written(thing)
        if "number" in found or "array" in found:
            self._known[id(thing)] = {"again": found["number"]} if "number" in found else found
        return found

    def _written(self, thing: Any) -> dict[str, Any]:
        name, tell = type(thing).__name__, self.told
        if isinstance(thing, np.ndarray | np.generic):
            self.arrays[f"a{len(self.arrays)}"] = np.asarray(thing)
            return {"array": f"a{len(self.arrays) - 1}", "scalar": isinstance(thing, np.generic)}
        if is_dataclass(thing):
            own = {field.name: tell(getattr(thing, field.name)) for field in fields(thing)}
            return {"record": name, "fields": own, "number": self._number()}
        if type(thing) is dict:
            return {name: [[tell(key), tell(value)] for key, value in thing.items()]}
        if type(thing) in _CONTAINERS.values():
            return {name: [tell(one) for one in thing]}
        return {name: self._plain(thing)}

    def _number(self) -> int:
        """Of a record, in the order in which they are complete."""
        self._records += 1
        return self._records - 1

    @staticmethod
    def _plain(thing: Any) -> Any:
        if isinstance(thing, Fraction):
            return [str(thing.numerator), str(thing.denominator)]
        if isinstance(thing, bytes):
            return thing.hex()
        raise TypeError(f"A {type(thing).__name__} cannot be written.")


class _Reader:
    """Makes what was written."""

    def __init__(self, arrays: dict[str, np.ndarray], kinds: dict[str, type]) -> None:
        self._arrays, self._kinds = arrays, kinds
        self._records: list[Any] = []

    def made(self, told: Any) -> Any:
        """The thing for which this was written."""
        if not isinstance(told, dict):
            return told
        if "array" in told:
            return self._arrays[told["array"]][()] if told["scalar"] else self._arrays[told["array"]]
        if "again" in told:
            return self._records[told["again"]]
        if "record" in told:
            own = {name: self.made(value) for name, value in told["fields"].items()}
            self._records.append(self._kinds[told["record"]](**own))
            return self._records[-1]
        return self._plain(told)

    def _plain(self, told: dict[str, Any]) -> Any:
        ((name, parts),) = told.items()
        if name == "Fraction":
            return Fraction(*map(int, parts))
        if name == "bytes":
            return bytes.fromhex(parts)
        if name == "dict":
            return {self.made(key): self.made(value) for key, value in parts}
        return _CONTAINERS[name](map(self.made, parts))
