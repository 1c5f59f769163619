"""Certified worst-case bounds of neural networks by operator splitting.

The public names; everything else is an implementation detail.
"""

import sys
from importlib import import_module

from admm_verify.public_names import ROOMS as _ROOMS

# Type checkers take it for true; typing is not imported, so that the command line hears Ctrl-C milliseconds earlier.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from admm_verify.attacks.closest_hits import PricedDescent as PricedDescent
    from admm_verify.bounds.preactivation import preactivation_bounds as preactivation_bounds
    from admm_verify.bounds.ranges import PreactivationBounds as PreactivationBounds
    from admm_verify.complete.minimum import Minimum as Minimum, minimum as minimum
    from admm_verify.complete.minimum_settings import MinimumSettings as MinimumSettings
    from admm_verify.complete.settings import VerifySettings as VerifySettings
    from admm_verify.differential.criteria import (
        EpsilonEquivalence as EpsilonEquivalence,
        Top1Equivalence as Top1Equivalence,
    )
    from admm_verify.differential.difference import Difference as Difference, difference as difference
    from admm_verify.differential.equivalence import (
        Disagreement as Disagreement,
        Equivalence as Equivalence,
        equivalence as equivalence,
    )
    from admm_verify.differential.settings import (
        DifferenceSettings as DifferenceSettings,
        EquivalenceSettings as EquivalenceSettings,
    )
    from admm_verify.differential.transfer import (
        TransferredRobustness as TransferredRobustness,
        transfer_robustness as transfer_robustness,
    )
    from admm_verify.enclosures.plants import Plant as Plant
    from admm_verify.errors import (
        AdmmVerifyError as AdmmVerifyError,
        ContradictionError as ContradictionError,
        DeviceError as DeviceError,
        InputError as InputError,
        MissingNameError as MissingNameError,
        MissingPackageError as MissingPackageError,
        ModelError as ModelError,
        OutputError as OutputError,
        QueryError as QueryError,
        StoppedError as StoppedError,
        UnsupportedOperatorError as UnsupportedOperatorError,
        UnsupportedQueryError as UnsupportedQueryError,
    )
    from admm_verify.lipschitz.constant import (
        LipschitzConstant as LipschitzConstant,
        lipschitz_constant as lipschitz_constant,
    )
    from admm_verify.lipschitz.layer_table import LayerNorms as LayerNorms, layer_norms as layer_norms
    from admm_verify.lipschitz.local import LocalLipschitz as LocalLipschitz, local_lipschitz as local_lipschitz
    from admm_verify.lipschitz.local_rows import DirectedRows as DirectedRows, RowConstants as RowConstants
    from admm_verify.lipschitz.settings import (
        LipschitzSettings as LipschitzSettings,
        LocalLipschitzSettings as LocalLipschitzSettings,
    )
    from admm_verify.nearest.closest import closest_counterexample as closest_counterexample
    from admm_verify.nearest.distance import Distance as Distance, distance as distance
    from admm_verify.nearest.settings import DistanceSettings as DistanceSettings
    from admm_verify.network.from_nnet import nnet_ranges as nnet_ranges, read_nnet as read_nnet
    from admm_verify.network.from_onnx import read_onnx as read_onnx
    from admm_verify.network.from_torch import trace as trace
    from admm_verify.network.graph import Network as Network
    from admm_verify.network.pair import PairedNetwork as PairedNetwork, paired as paired
    from admm_verify.network.pair_inputs import PairInputs as PairInputs
    from admm_verify.network.torch_plants import trace_plant as trace_plant
    from admm_verify.policies.certification import (
        ChangedAction as ChangedAction,
        PolicyCertification as PolicyCertification,
    )
    from admm_verify.policies.certified_radius import (
        CertifiedRadii as CertifiedRadii,
        certified_radii as certified_radii,
    )
    from admm_verify.policies.certify_policy import certify_policy as certify_policy
    from admm_verify.policies.deviation import certify_deviation as certify_deviation
    from admm_verify.policies.deviation_bounds import DeviationBounds as DeviationBounds
    from admm_verify.policies.deviation_settings import DeviationSettings as DeviationSettings
    from admm_verify.policies.evaluate import evaluate_policy as evaluate_policy
    from admm_verify.policies.evaluate_settings import EvaluateSettings as EvaluateSettings
    from admm_verify.policies.evaluation import PolicyEvaluation as PolicyEvaluation
    from admm_verify.policies.play.episodes import Episodes as Episodes
    from admm_verify.policies.policy import (
        ContinuousActions as ContinuousActions,
        DiscreteActions as DiscreteActions,
        ObservationScale as ObservationScale,
        Policy as Policy,
    )
    from admm_verify.policies.read import read_policy as read_policy
    from admm_verify.policies.returns.certified_return import (
        CertifiedReturn as CertifiedReturn,
        ReturnSettings as ReturnSettings,
        certified_return as certified_return,
    )
    from admm_verify.policies.returns.known_environments import KnownEnvironment as KnownEnvironment
    from admm_verify.policies.returns.shipped import (
        cartpole as cartpole,
        mountain_car as mountain_car,
        pendulum as pendulum,
    )
    from admm_verify.policies.settings import PolicySettings as PolicySettings
    from admm_verify.properties.query import Query as Query, query as query, read_query as read_query
    from admm_verify.reach.front import ReachReport as ReachReport, reach_sets as reach_sets
    from admm_verify.reach.images import SetImage as SetImage, set_image as set_image
    from admm_verify.reach.judgement import Judgement as Judgement
    from admm_verify.reach.quantities import Quantities as Quantities
    from admm_verify.reach.requirements import Kind as Kind, Requirement as Requirement
    from admm_verify.reach.sets import ReachSets as ReachSets
    from admm_verify.reach.settings import ReachSettings as ReachSettings
    from admm_verify.reach.simulate import simulate as simulate
    from admm_verify.reach.spec import read_task as read_task
    from admm_verify.reach.systems import (
        ContinuousSystem as ContinuousSystem,
        Controller as Controller,
        LinearSystem as LinearSystem,
        NetworkSystem as NetworkSystem,
        NonlinearSystem as NonlinearSystem,
        Task as Task,
    )
    from admm_verify.report.counterexample_plots import counterexample_plot as counterexample_plot
    from admm_verify.report.image_plots import image_plot as image_plot
    from admm_verify.report.page.page import report_page as report_page
    from admm_verify.report.policy_plots import policy_plot as policy_plot
    from admm_verify.report.radius_maps import radius_map_plot as radius_map_plot
    from admm_verify.report.reach_plots import time_plot as time_plot, tube_plot as tube_plot
    from admm_verify.robustness.certification import Certification as Certification
    from admm_verify.robustness.certify import certify as certify
    from admm_verify.robustness.counterexample import Counterexample as Counterexample
    from admm_verify.robustness.distortion import (
        DistortionSettings as DistortionSettings,
        MinimalDistortion as MinimalDistortion,
    )
    from admm_verify.robustness.minimal_distortion import minimal_distortion as minimal_distortion
    from admm_verify.robustness.settings import CertifySettings as CertifySettings
    from admm_verify.robustness.transfer_table import transfer_table as transfer_table
    from admm_verify.robustness.transferred import TransferSettings as TransferSettings, TransferTable as TransferTable
    from admm_verify.robustness_report.front import robustness_report as robustness_report
    from admm_verify.robustness_report.result import RobustnessReport as RobustnessReport
    from admm_verify.robustness_report.settings import ReportSettings as ReportSettings
    from admm_verify.run import Ended as Ended, Progress as Progress, Run as Run
    from admm_verify.sets.ball import Ball as Ball
    from admm_verify.sets.box import Box as Box
    from admm_verify.sets.ellipsoid import Ellipsoid as Ellipsoid
    from admm_verify.sets.polytope import Polytope as Polytope
    from admm_verify.sets.product import Product as Product
    from admm_verify.sets.sparse import Sparse as Sparse
    from admm_verify.sets.zonotope import Zonotope as Zonotope
    from admm_verify.settings import (
        AdmmSettings as AdmmSettings,
        AscentSettings as AscentSettings,
        JointSettings as JointSettings,
        PrimalDualSettings as PrimalDualSettings,
        RefineSettings as RefineSettings,
        SearchSettings as SearchSettings,
        SolverSettings as SolverSettings,
        TightenSettings as TightenSettings,
    )
    from admm_verify.splitting.constraint import Constraint as Constraint
    from admm_verify.splitting.output_bounds import OutputBounds as OutputBounds, output_bounds as output_bounds
    from admm_verify.splitting.problem import Problem as Problem
    from admm_verify.splitting.quadratic import Quadratic as Quadratic
    from admm_verify.splitting.solution import Solution as Solution
    from admm_verify.splitting.solve import solve as solve
    from admm_verify.training.checkpoints import (
        EpochRecord as EpochRecord,
    )
    from admm_verify.training.interval_start import (
        IntervalStart as IntervalStart,
        TightnessPenalty as TightnessPenalty,
    )
    from admm_verify.training.layer_shapes import GramSettings as GramSettings
    from admm_verify.training.losses import (
        AdversarialLoss as AdversarialLoss,
        CrownIntervalLoss as CrownIntervalLoss,
        DualLoss as DualLoss,
        IntervalLoss as IntervalLoss,
        MixedLoss as MixedLoss,
        SmallBoxLoss as SmallBoxLoss,
        StandardLoss as StandardLoss,
    )
    from admm_verify.training.one_lipschitz import one_lipschitz as one_lipschitz
    from admm_verify.training.onnx_export import write_onnx as write_onnx
    from admm_verify.training.orthogonal_start import OrthogonalStart as OrthogonalStart
    from admm_verify.training.settings import (
        TrainingSettings as TrainingSettings,
    )
    from admm_verify.training.spectral_penalty import SpectralPenalty as SpectralPenalty
    from admm_verify.training.train import (
        TrainingResult as TrainingResult,
        train as train,
    )
    from admm_verify.verdict import Answer as Answer, Verdict as Verdict
    from admm_verify.verify import Outcome as Outcome, verify as verify


__version__ = "0.1.0"

_ELSEWHERE = {"PerturbationLpNorm": "Ball"} | dict.fromkeys(("L1Ball", "L2Ball", "LinfBall", "LpBall"), "Ball")
"""What other libraries call what is here."""


def __getattr__(name: str) -> "Any":
    if name == "__all__":
        return sorted(_ROOMS)
    if name not in _ROOMS:
        from difflib import get_close_matches

        found = [_ELSEWHERE[name]] if name in _ELSEWHERE else get_close_matches(name, _ROOMS, n=3)
        near = ", ".join(f"av.{one}" for one in found)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{near and f'; near it are {near}'}")
    found = globals()[name] = getattr(import_module(f"admm_verify.{_ROOMS[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})


class _Package(type(sys)):
    """The package, of which two functions are called like modules, which importing puts in their place."""

    def __setattr__(self, name: str, value: "Any") -> None:
        if name not in ("verify", "robustness_report") or callable(value):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
