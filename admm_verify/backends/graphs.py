"""Steps of an iteration on a GPU as one launch each: CUDA graphs, captured once and replayed where they were."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from admm_verify.arrays import Array, Placement, own_copy
from admm_verify.memory import is_allocation

Step = Callable[[list[Array]], Sequence[Array]]
"""Arrays after a step from those before it, of the same shapes; the same kernels whatever is in the arrays."""


class NotCaptured(RuntimeWarning):
    """A step could not be captured, and is launched kernel by kernel."""


class Replayed:
    """Steps of several kinds over the same arrays of a GPU, in memory of their own that every step overwrites.

    arrays: those after the last step.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = [own_copy(array) for array in arrays]
        self._graphs: dict[object, Any] = {}

    def hold(self, arrays: Sequence[Array]) -> None:
        """Go on from other arrays."""
        for own, given in zip(self.arrays, arrays, strict=True):
            if own is not given:
                own[...] = given

    def step(self, kind: object, step: Step) -> bool:
        """One step, captured where none of its kind was; False, with a warning, where it cannot be.

        A step of the kind must have been computed before: what kernels and libraries prepare cannot be captured.
        Raises: what allocations raise that fail.
        """
        from admm_verify.backends.torch_device import captured

        if kind not in self._graphs:
            try:
                self._graphs[kind] = captured(Placement.of(self.arrays[0]).device, lambda: self._overwrite(step))
            # Libraries say in errors of many kinds that they wait for the GPU or look at it.
            except Exception as error:
                if is_allocation(error):
                    raise
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warnings.warn(f"An iteration is launched kernel by kernel: {said}", NotCaptured, stacklevel=2)
                return False
        self._graphs[kind].replay()
        return True

    def _overwrite(self, step: Step) -> None:
        """A step, whose results end where its arguments were."""
        moved = list(step(self.arrays))
        own = {id(array) for array in self.arrays}
        # What changes its place is read before that is overwritten.
        moved = [
            own_copy(new) if id(new) in own and new is not old else new
            for old, new in zip(self.arrays, moved, strict=True)
        ]
        self.hold(moved)
