"""Certified worst-case bounds of neural networks by operator splitting.

The public names; everything else is an implementation detail.
"""

import sys
from importlib import import_module

# Type checkers take it for true; typing is not imported, so that the command line hears Ctrl-C milliseconds earlier.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from admm_verify.bounds.preactivation import preactivation_bounds
    from admm_verify.bounds.ranges import PreactivationBounds
    from admm_verify.enclosures.taylor import Plant
    from admm_verify.errors import (
        AdmmVerifyError,
        DeviceError,
        InputError,
        MissingPackageError,
        ModelError,
        OutputError,
        QueryError,
        StoppedError,
        UnsupportedOperatorError,
        UnsupportedQueryError,
    )
    from admm_verify.network.from_onnx import read_onnx
    from admm_verify.network.from_torch import trace
    from admm_verify.network.graph import Network
    from admm_verify.properties.query import Query, read_query
    from admm_verify.reach.front import ReachReport, reach_sets
    from admm_verify.reach.judgement import Judgement
    from admm_verify.reach.sets import ReachSets
    from admm_verify.reach.settings import ReachSettings
    from admm_verify.reach.simulate import simulate
    from admm_verify.reach.spec import read_task
    from admm_verify.reach.systems import (
        ContinuousSystem,
        Controller,
        Kind,
        LinearSystem,
        NetworkSystem,
        Polytope,
        Requirement,
        Task,
    )
    from admm_verify.report.reach_plots import time_plot, tube_plot
    from admm_verify.robustness.certification import Certification
    from admm_verify.robustness.certify import certify
    from admm_verify.robustness.search import CertifySettings
    from admm_verify.run import Ended, Progress, Run
    from admm_verify.sets.box import Box
    from admm_verify.settings import AscentSettings, SolverSettings, TightenSettings
    from admm_verify.splitting.output_bounds import OutputBounds, output_bounds
    from admm_verify.splitting.problem import Problem
    from admm_verify.splitting.solution import Solution
    from admm_verify.splitting.solve import solve
    from admm_verify.verdict import Answer, Verdict
    from admm_verify.verify import Outcome, verify

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
    "Ended",
    "InputError",
    "Judgement",
    "Kind",
    "LinearSystem",
    "MissingPackageError",
    "ModelError",
    "Network",
    "NetworkSystem",
    "Outcome",
    "OutputBounds",
    "OutputError",
    "Plant",
    "Polytope",
    "PreactivationBounds",
    "Problem",
    "Progress",
    "Query",
    "QueryError",
    "ReachReport",
    "ReachSets",
    "ReachSettings",
    "Requirement",
    "Run",
    "Solution",
    "SolverSettings",
    "StoppedError",
    "Task",
    "TightenSettings",
    "UnsupportedOperatorError",
    "UnsupportedQueryError",
    "Verdict",
    "certify",
    "output_bounds",
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
    "AdmmVerifyError": "errors",
    "Answer": "verdict",
    "AscentSettings": "settings",
    "Box": "sets.box",
    "Certification": "robustness.certification",
    "CertifySettings": "robustness.search",
    "ContinuousSystem": "reach.systems",
    "Controller": "reach.systems",
    "DeviceError": "errors",
    "Ended": "run",
    "InputError": "errors",
    "Judgement": "reach.judgement",
    "Kind": "reach.systems",
    "LinearSystem": "reach.systems",
    "MissingPackageError": "errors",
    "ModelError": "errors",
    "Network": "network.graph",
    "NetworkSystem": "reach.systems",
    "Outcome": "verify",
    "OutputBounds": "splitting.output_bounds",
    "OutputError": "errors",
    "Plant": "enclosures.taylor",
    "Polytope": "reach.systems",
    "PreactivationBounds": "bounds.ranges",
    "Problem": "splitting.problem",
    "Progress": "run",
    "Query": "properties.query",
    "QueryError": "errors",
    "StoppedError": "errors",
    "ReachReport": "reach.front",
    "ReachSets": "reach.sets",
    "ReachSettings": "reach.settings",
    "Requirement": "reach.systems",
    "Run": "run",
    "Solution": "splitting.solution",
    "SolverSettings": "settings",
    "Task": "reach.systems",
    "TightenSettings": "settings",
    "UnsupportedOperatorError": "errors",
    "UnsupportedQueryError": "errors",
    "Verdict": "verdict",
    "certify": "robustness.certify",
    "output_bounds": "splitting.output_bounds",
    "preactivation_bounds": "bounds.preactivation",
    "reach_sets": "reach.front",
    "read_onnx": "network.from_onnx",
    "read_query": "properties.query",
    "read_task": "reach.spec",
    "simulate": "reach.simulate",
    "solve": "splitting.solve",
    "time_plot": "report.reach_plots",
    "trace": "network.from_torch",
    "tube_plot": "report.reach_plots",
    "verify": "verify",
}
"""Where the public names come from, each at its first use: the package itself costs no time, and the command line can
set its streams and signals right before anything is loaded."""


def __getattr__(name: str) -> "Any":
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"admm_verify.{_ROOMS[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(type(sys)):
    """The package, whose function verify is called like a module, which importing puts in its place."""

    def __setattr__(self, name: str, value: "Any") -> None:
        if name != "verify" or callable(value):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
