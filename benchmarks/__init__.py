"""Side-by-side measurements, run as `python -m benchmarks.NAME` from the repository root, each on one thread."""

import os

THREADS = 1

# The libraries read these when they are first imported, and this module comes before every one of them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(THREADS)
