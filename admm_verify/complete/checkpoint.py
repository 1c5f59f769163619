"""Searches on disk: everything that is known, so that a killed run goes on where it was."""

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from admm_verify.bounds.conditional import ConditionalBounds
from admm_verify.bounds.ranges import PreactivationBounds
from admm_verify.complete.pool import Nodes
from admm_verify.complete.splitter import Closed
from admm_verify.complete.tables import arrays_of
from admm_verify.errors import InputError, OutputError
from admm_verify.files import reason, replaced

Kind = TypeVar("Kind", bound=Nodes)

FORMAT = 6
"""Of the files; states of another one are refused."""

_SHARE = 0.05
"""Of the time, spent on writing."""


@dataclass(frozen=True, eq=False)
class Saved(Generic[Kind]):
    """A search between two steps.

    disjuncts: their numbers. open, stuck: its subproblems; closed: what proves the others excluded, None where that
    is not recorded. bounded: subproblems so far. bounds: of the activations' inputs on all boxes; conditional: those
    that the subproblems are parts of, None where these are of whole boxes.
    """

    disjuncts: np.ndarray
    open: Kind
    stuck: Kind
    closed: Closed | None
    bounded: int
    bounds: PreactivationBounds
    conditional: ConditionalBounds | None = None


class Checkpoint:
    """A file that holds the latest state of one search.

    Its last lines prove that it is whole, and its first that it is of the same query, network and settings. Where
    several processes have the same one, each state is whole and right, and the last one stays.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str) -> None:
        """identity: tells apart everything that a state depends on."""
        self.path, self.identity = Path(path), identity
        self._next = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to write again; at most a small share of the time goes into that."""
        return time.monotonic() >= self._next

    def write(self, saved: Saved[Kind]) -> None:
        """Replace the file, at once or not at all.

        Raises: OutputError when it cannot be written.
        """
        began = time.monotonic()
        arrays = {f"open/{name}": array for name, array in arrays_of(saved.open)}
        arrays |= {f"stuck/{name}": array for name, array in arrays_of(saved.stuck)}
        if saved.closed is not None:
            arrays |= {f"closed/{name}": array for name, array in arrays_of(saved.closed)}
        for name, bounds in (("box", saved.bounds), ("disjunct", saved.conditional)):
            if bounds is not None:
                for k, (low, high) in enumerate(zip(bounds.lower, bounds.upper, strict=True)):
                    arrays |= {f"{name} lower/{k}": low, f"{name} upper/{k}": high}
        arrays |= {"disjuncts": saved.disjuncts, "bounded": np.array(saved.bounded)}
        arrays["identity"] = np.frombuffer(self.identity.encode(), dtype=np.uint8)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        data = content.getvalue()
        try:
            with replaced(self.path, "checkpoint") as file:
                file.write(data + hashlib.sha256(data).digest())
        finally:
            self._next = time.monotonic() + max(0.5, (time.monotonic() - began) / _SHARE)

    def read(self, kind: Callable[..., Kind]) -> Saved[Kind] | None:
        """The state in the file, or None where there is no file.

        Raises: InputError for a file that is damaged or of another search.
        """
        try:
            if self.path.exists() and not self.path.is_file():
                raise InputError(f"The checkpoint {self.path} is no regular file. Give another one.")
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"The checkpoint {self.path} cannot be read: {reason(error)}.") from error
        data, seal = data[:-32], data[-32:]
        if hashlib.sha256(data).digest() != seal:
            raise InputError(f"The checkpoint {self.path} is damaged or no checkpoint. Delete it to start afresh.")
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"The checkpoint {self.path} cannot be read: {error}.") from error
        if arrays["identity"].tobytes().decode() != self.identity:
            raise InputError(
                f"The checkpoint {self.path} is of another query, network, setting or version. Delete it, or give "
                "another file."
            )
        return _saved(arrays, kind)

    def remove(self) -> None:
        """Delete the file: the search is decided.

        Raises: OutputError when it cannot be deleted.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"The checkpoint {self.path} cannot be deleted: {reason(error)}.") from error


def _saved(arrays: dict[str, np.ndarray], kind: Callable[..., Kind]) -> Saved[Kind]:
    def table(prefix: str) -> dict[str, np.ndarray]:
        start = len(prefix) + 1
        return {name[start:]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}

    def ends(of: str) -> list[tuple[np.ndarray, ...]]:
        tables = table(f"{of} lower"), table(f"{of} upper")
        return [tuple(side[str(k)] for k in range(len(side))) for side in tables]

    closed, (lower, upper), given = table("closed"), ends("box"), ends("disjunct")
    conditional = ConditionalBounds(given[0], given[1], np.zeros(len(arrays["disjuncts"]), dtype=bool))
    return Saved(
        arrays["disjuncts"],
        kind(**table("open")),
        kind(**table("stuck")),
        Closed(**closed) if closed else None,
        int(arrays["bounded"]),
        PreactivationBounds(lower, upper),
        conditional if given[0] else None,
    )


def unwritten(change: Callable[[], None]) -> str | None:
    """Change a checkpoint, and why that failed, None where it did not: the search goes on, and the next change is tried
    again.
    """
    try:
        change()
    except OutputError as error:
        return str(error)
    except MemoryError:
        return "Memory ran out for the checkpoint. Free some, or do without."
    return None
