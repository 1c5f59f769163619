"""Certified worst-case bounds of neural networks by operator splitting.

The public names; everything else is an implementation detail.
"""

from importlib import import_module
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
    from admm_verify.reach.discrete import ReachSettings
    from admm_verify.reach.front import ReachReport, reach_sets
    from admm_verify.reach.sets import ReachSets
    from admm_verify.reach.spec import read_task
    from admm_verify.reach.systems import Task

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
    "ReachReport",
    "ReachSets",
    "ReachSettings",
    "Solution",
    "SolverSettings",
    "Status",
    "Task",
    "UnsupportedOperatorError",
    "UnsupportedQueryError",
    "Verdict",
    "certify",
    "preactivation_bounds",
    "reach_sets",
    "read_onnx",
    "read_query",
    "read_task",
    "solve",
    "trace",
    "verify",
]


_ROOMS = {
    "trace": "network.from_torch",
    "reach_sets": "reach.front",
    "read_task": "reach.spec",
    "ReachReport": "reach.front",
    "ReachSets": "reach.sets",
    "ReachSettings": "reach.discrete",
    "Task": "reach.systems",
}
"""Where names come from that small queries never need: `trace` takes torch, which takes a second to import."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"admm_verify.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
