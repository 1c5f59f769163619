"""Networks that read some of their inputs as whole numbers: cut off towards zero, to choose what is looked up."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from admm_verify.arrays import SameArray, namespace, to_numpy
from admm_verify.errors import InputError
from admm_verify.given import live_array
from admm_verify.network.graph import Affine, Input, Network
from admm_verify.network.layout import flatten_batch, is_single


class Lookup(ABC):
    """What a model computes from whole numbers alone, exactly."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The length of what is looked up."""

    @abstractmethod
    def at(self, numbers: Mapping[int, int]) -> np.ndarray:
        """The values for whole numbers by their inputs' positions, flat, in float64.

        Raises: InputError where the model has no values for them.
        """

    @abstractmethod
    def rounds(self, numbers: Mapping[int, int]) -> bool:
        """Whether some of the values may be others than in real arithmetic, since they were rounded on the way.

        Raises: InputError as `at` does.
        """


@dataclass(frozen=True, eq=False, repr=False)
class WholeNetwork(Network):
    """f(x) = g(x, t(trunc x_whole)): g is an ordinary network of the input and what is looked up.

    Its own nodes are a constant that is no number, so that nothing that is computed of them is ever a bound: only
    `verify` knows it. whole: positions of the inputs that are cut off. real: those of which g reads the number itself.
    fixed: inputs that were taken as constants; f is defined at these numbers alone.
    """

    rest: Network | None = None
    lookup: Lookup | None = None
    whole: tuple[int, ...] = ()
    real: frozenset[int] = frozenset()
    fixed: Mapping[int, float] | None = None

    @classmethod
    def of(
        cls,
        rest: Network,
        lookup: Lookup,
        input_shape: tuple[int, ...],
        read: tuple[Iterable[int], Iterable[int]],
        fixed: Mapping[int, float],
    ) -> "WholeNetwork":
        """read: the inputs that are cut off, and those that g reads."""
        nowhere = np.full(rest.output_size, np.nan)
        nodes = Input(int(np.prod(input_shape))), Affine((), nowhere, nowhere)
        whole, real = tuple(sorted(read[0])), frozenset(read[1])
        names = rest.name, rest.element_type
        return cls(nodes, input_shape, rest.output_shape, *names, None, None, rest, lookup, whole, real, dict(fixed))

    @property
    def parts(self) -> tuple[Network, Lookup]:
        """g and t."""
        assert self.rest is not None and self.lookup is not None, "made by `of`"
        return self.rest, self.lookup

    @property
    def refused(self) -> str:
        """Why other doors than `verify` do not take it."""
        return (
            f"{self.name} reads some of its inputs as whole numbers, of which no bounds are computed here; av.verify "
            "answers queries about it."
        )

    def check_finite(self) -> None:
        self.parts[0].check_finite()

    def __call__(self, x: SameArray) -> SameArray:
        given = live_array(x, "network's input")
        flat = flatten_batch(given, self.input_shape, f"the input of {self.name}")
        xp, numbers = namespace(flat), to_numpy(flat).astype(np.float64)
        if not np.isfinite(numbers[:, list(self.whole)]).all():
            raise InputError(f"{self.name} cuts inputs off to whole numbers; give finite ones.")
        for i, value in (self.fixed or {}).items():
            if (numbers[:, i] != value).any():
                raise InputError(f"{self.name} was read for {value} at input {i}; give that there, or read it anew.")
        rest, lookup = self.parts
        rows = [lookup.at(self.cut_off(row)) for row in numbers]
        found = xp.asarray(np.stack(rows), dtype=flat.dtype, device=flat.device)
        batch = rest(xp.concat([flat, found], axis=-1))
        return xp.reshape(batch, self.output_shape if is_single(tuple(given.shape), self.input_shape) else batch.shape)

    def cut_off(self, x: Sequence[float] | np.ndarray) -> dict[int, int]:
        """The whole numbers at an input [n]."""
        return {i: int(x[i]) for i in self.whole}
