"""Spaces of observations and actions, from the texts that stable-baselines3 writes beside the pickles of them."""

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from admm_verify.errors import InputError

_NUMBER = re.compile(r"[-+]?(?:inf|nan|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)", re.IGNORECASE)

_LONGEST = 200
"""Characters of the name of a class."""

_MOST_ENTRIES = 2**26
"""Of an observation or an action."""

_LARGEST = float(np.finfo(np.float32).max) * (1 - 1e-7)
"""Limits from here on are none, as older environments write them."""


@dataclass(frozen=True, eq=False)
class Space:
    """A space: its kind in gym's words, and what its text tells of it, None for what it does not.

    shape: of an element. count: of a Discrete one. low, high [entries] of a Box, infinite for none. dtype: in text.
    """

    kind: str
    shape: tuple[int, ...] | None = None
    count: int | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dtype: str = ""

    @property
    def image(self) -> bool:
        """Whether stable-baselines3 takes it for images of bytes, which are divided by 255."""
        if self.kind != "Box" or self.dtype != "uint8" or self.shape is None or len(self.shape) != 3:
            return False
        low, high = self.low, self.high
        # A text that does not tell the ends is that of a large array, as images are.
        return (low is None or bool(np.all(low == 0))) and (high is None or bool(np.all(high == 255)))


def read_space(entry: Any) -> Space | None:
    """The space of an entry of `data`; None where the text does not tell."""
    if not isinstance(entry, dict):
        return None
    kind = re.search(r"(\w+)'>$", str(entry.get(":type:", ""))[-_LONGEST:])
    if kind is None:
        return None
    shape = _shape(entry.get("_shape", entry.get("shape")))
    count = str(entry.get("n", ""))
    ends = [_ends(entry, side, shape) for side in ("low", "high")]
    return Space(
        kind.group(1),
        shape,
        int(count) if re.fullmatch(r"[1-9]\d{,8}", count) else None,
        *ends,
        dtype=str(entry.get("dtype", "")),
    )


def _shape(entry: Any) -> tuple[int, ...] | None:
    """The shape in a list, or in its text."""
    text = str(entry) if isinstance(entry, list | str) else ""
    found = re.findall(r"\d+", text)
    if not found or max(map(len, found)) > 9 or re.fullmatch(r"[(\[][\d,\s]*[)\]]", text) is None:
        return None
    sizes = tuple(map(int, found))
    return sizes if 0 < prod(sizes) <= _MOST_ENTRIES else None


def _ends(entry: dict[str, Any], side: str, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """One end of a box from the text of its array; numbers were written as float32 prints them."""
    if shape is None:
        return None
    size = prod(shape)
    for told in (entry.get(side), entry.get(f"{side}_repr")):
        text = str(told) if isinstance(told, list | int | float) else told
        if not isinstance(text, str) or re.sub(r"[\[\]\s,]", "", _NUMBER.sub("", text)):
            # NumPy leaves entries out of long texts, with dots for them.
            continue
        numbers = np.array([float(number) for number in _NUMBER.findall(text)], dtype=np.float32).astype(np.float64)
        if numbers.size in (1, size) and not np.isnan(numbers).any():
            # Past these, older environments mean no limit.
            free = np.where(np.abs(numbers) >= _LARGEST, np.copysign(np.inf, numbers), numbers)
            return np.broadcast_to(free, (size,)).copy()
    return _constant(entry.get(side), size)


def _constant(text: Any, size: int) -> np.ndarray | None:
    """The end of which a shortened text shows one number alone."""
    found = {float(number) for number in _NUMBER.findall(text)} if isinstance(text, str) and "..." in text else set()
    return np.full(size, found.pop()) if len(found) == 1 and not np.isnan([*found]).any() else None


def check_observations(space: Space | None, name: str) -> None:
    """Refuse observations that are no array of numbers. Raises: InputError."""
    if space is None or space.kind in ("Box", "MultiBinary"):
        return
    reasons = {
        "Discrete": "single whole numbers, each an input of its own kind (one-hot, Embedding)",
        "MultiDiscrete": "several whole numbers, of which stable-baselines3 makes one-hot vectors",
        "Dict": "dictionaries of several arrays",
        "Tuple": "tuples of several arrays",
    }
    raise InputError(
        f"The observations of {name} are {reasons.get(space.kind, f'of the space {space.kind}')}; a radius around them "
        "means nothing, or one per part. Policies of one array of real numbers (a Box) are read: flatten the "
        "observations by an environment wrapper before training, or trace the part behind the encoding by av.trace."
    )


def check_actions(space: Space | None, name: str) -> None:
    """Refuse actions that are neither one of several nor a vector of numbers. Raises: InputError."""
    if space is None or space.kind in ("Box", "Discrete"):
        return
    raise InputError(
        f"The actions of {name} are of the space {space.kind}; policies that choose one of several actions (Discrete) "
        "or a vector of numbers (Box) are read. Of several choices at once, av.trace reads one at a time: the module "
        "that gives the scores of one of them."
    )
