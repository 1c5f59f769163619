"""The fastest verbs there are for arrays of a placement."""

from math import inf

import array_api_compat

from admm_verify.arrays import Placement
from admm_verify.backends.compiled import CompiledVerbs
from admm_verify.backends.cuda import cuda_verbs
from admm_verify.backends.native import native_verbs
from admm_verify.backends.verbs import ArrayVerbs, Verbs

LEAST = 2**13
"""Numbers from which on a call of a kernel on the host takes less time than a chain of array operations."""


def verbs_for(placement: Placement) -> Verbs:
    """Kernels where they could be compiled, for NumPy arrays and CUDA tensors, else chains of array operations."""
    return kernels_for(placement) or ArrayVerbs()


def kernels_for(placement: Placement, numbers: float = inf) -> CompiledVerbs | None:
    """The verbs by kernels, None where there are none, or where so many numbers of an array are too few for a call."""
    if array_api_compat.is_numpy_namespace(placement.xp):
        return native_verbs() if numbers >= LEAST else None
    return cuda_verbs() if placement.on_gpu else None
