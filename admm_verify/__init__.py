"""Certified worst-case bounds of neural networks by operator splitting.

The public names; everything else is an implementation detail.
"""

from typing import TYPE_CHECKING, Any

from admm_verify.bounds.preactivation import PreactivationBounds, preactivation_bounds
from admm_verify.certify import certify
from admm_verify.errors import (
    AdmmVerifyError,
    DeviceError,
    InputError,
    MissingPackageError,
    ModelError,
    QueryError,
    UnsupportedOperatorError,
    UnsupportedQueryError,
)
from admm_verify.network.from_onnx import read_onnx
from admm_verify.network.graph import Network
from admm_verify.properties.query import Query, read_query
from admm_verify.robustness.certification import Answer, Certification
from admm_verify.robustness.search import CertifySettings
from admm_verify.sets import Box
from admm_verify.settings import SolverSettings
from admm_verify.splitting.problem import Problem
from admm_verify.splitting.solution import Solution, Status
from admm_verify.splitting.solve import solve
from admm_verify.verdict import Verdict
from admm_verify.verify import Outcome, verify

if TYPE_CHECKING:
    from admm_verify.network.from_torch import trace

__version__ = "0.1.0"

__all__ = [
    "AdmmVerifyError",
    "Answer",
    "Box",
    "Certification",
    "CertifySettings",
    "DeviceError",
    "InputError",
    "MissingPackageError",
    "ModelError",
    "Network",
    "Outcome",
    "PreactivationBounds",
    "Problem",
    "Query",
    "QueryError",
    "Solution",
    "SolverSettings",
    "Status",
    "UnsupportedOperatorError",
    "UnsupportedQueryError",
    "Verdict",
    "certify",
    "preactivation_bounds",
    "read_onnx",
    "read_query",
    "solve",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    # `trace` needs torch, which takes a second to import; small queries never do.
    if name == "trace":
        from admm_verify.network.from_torch import trace

        return trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
