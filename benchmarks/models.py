"""Linear programs as plain arrays, for solvers that cannot be loaded beside each other."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse


@dataclass(frozen=True, eq=False)
class Model:
    """min (costs[row] y + offsets[row]) over column_lower <= y <= column_upper, row_lower <= matrix y <= row_upper."""

    matrix: scipy.sparse.csr_array
    column_lower: np.ndarray
    column_upper: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    costs: np.ndarray
    offsets: np.ndarray
