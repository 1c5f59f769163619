"""Sets that are made of other sets, batched alike."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

from admm_verify.arrays import Array
from admm_verify.sets.contract import WalkableSet


class Composite(WalkableSet):
    """A batch of sets each of which is made of one set of every part."""

    @property
    @abstractmethod
    def parts(self) -> tuple[WalkableSet, ...]:
        """Batches of as many sets, of which these are made."""

    @classmethod
    @abstractmethod
    def of_parts(cls, *parts: Any) -> Self:
        """The sets made of parts that fit, unchecked."""

    @property
    def numbers(self) -> tuple[Array, ...]:
        return tuple(array for part in self.parts for array in part.numbers)

    @classmethod
    def of(cls, *numbers: Array) -> Self:
        """Not to be had: numbers do not tell the kinds of the parts; `mapped` and `joined` do."""
        raise TypeError(f"{cls.__name__} is made of parts, by of_parts.")

    def mapped(self, change: Callable[[Array], Array]) -> Self:
        return self.of_parts(*(part.mapped(change) for part in self.parts))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        kinds = zip(*(part.parts for part in parts), strict=True)
        return cls.of_parts(*(type(some[0]).joined(some) for some in kinds))
