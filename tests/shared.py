"""The shared data set of real networks and known answers, which is not on a user's machine."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("ADMM_VERIFY_SHARED", Path(__file__).resolve().parents[2] / "shared"))

needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(),
    reason=f"the shared data set is not there: set ADMM_VERIFY_SHARED (looked in {SHARED.name})",
)
