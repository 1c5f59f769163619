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
from admm_verify.settings import AscentSettings, SolverSettings, TightenSettings
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
    from admm_verify.reach.simulate import simulate
    from admm_verify.reach.spec import read_task
    from admm_verify.reach.systems import (
        ContinuousSystem,
        Controller,
        LinearSystem,
        NetworkSystem,
        Polytope,
        Requirement,
        Task,
    )
    from admm_verify.reach.taylor import Plant
    from admm_verify.report.reach_plots import time_plot, tube_plot

__version__ = "0.1.0"

__all__ = [
    "AdmmVerifyError",
    "Answer",
    "AscentSettings",
    "Box",
    "Certification",
    "CertifySettings",
    "ContinuousSystem",
    "Controller",
    "DeviceError",
    "InputError",
    "LinearSystem",
    "MissingPackageError",
    "ModelError",
    "Network",
    "NetworkSystem",
    "Outcome",
    "Plant",
    "Polytope",
    "PreactivationBounds",
    "Problem",
    "Query",
    "QueryError",
    "ReachReport",
    "ReachSets",
    "ReachSettings",
    "Requirement",
    "Solution",
    "SolverSettings",
    "Status",
    "Task",
    "TightenSettings",
    "UnsupportedOperatorError",
    "UnsupportedQueryError",
    "Verdict",
    "certify",
    "preactivation_bounds",
    "reach_sets",
    "read_onnx",
    "read_query",
    "read_task",
    "simulate",
    "solve",
    "time_plot",
    "trace",
    "tube_plot",
    "verify",
]


_ROOMS = {
    "trace": "network.from_torch",
    "ContinuousSystem": "reach.systems",
    "Controller": "reach.systems",
    "LinearSystem": "reach.systems",
    "NetworkSystem": "reach.systems",
    "Plant": "reach.taylor",
    "Polytope": "reach.systems",
    "ReachReport": "reach.front",
    "ReachSets": "reach.sets",
    "ReachSettings": "reach.discrete",
    "Requirement": "reach.systems",
    "Task": "reach.systems",
    "reach_sets": "reach.front",
    "read_task": "reach.spec",
    "simulate": "reach.simulate",
    "time_plot": "report.reach_plots",
    "tube_plot": "report.reach_plots",
}
"""Where names come from that small queries never need: `trace` takes torch, which takes a second to import."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"admm_verify.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
