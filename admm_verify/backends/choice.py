"""The fastest verbs there are for arrays of a placement."""

import array_api_compat

from admm_verify.arrays import Placement
from admm_verify.backends.cuda import cuda_verbs
from admm_verify.backends.native import native_verbs
from admm_verify.backends.verbs import ArrayVerbs, Verbs


def verbs_for(placement: Placement) -> Verbs:
    """Kernels where they could be compiled, for NumPy arrays and CUDA tensors, else chains of array operations."""
    found: Verbs | None = None
    if array_api_compat.is_numpy_namespace(placement.xp):
        found = native_verbs()
    elif placement.on_gpu:
        found = cuda_verbs()
    return ArrayVerbs() if found is None else found
