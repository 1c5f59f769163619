"""What refusals of operators say beside the reason."""

from collections.abc import Iterable
from difflib import SequenceMatcher


def nearest(name: str, supported: Iterable[str]) -> str:
    """The three supported names that are most like a name, as a sentence."""

    def likeness(other: str) -> tuple[bool, float, str]:
        own, given = other.lower().strip("_"), name.lower().strip("_")
        return own in given or given in own, SequenceMatcher(None, given, own).ratio(), other

    first, second, third = sorted(supported, key=likeness, reverse=True)[:3]
    return f"The nearest of those that are: {first}, {second}, {third}."
