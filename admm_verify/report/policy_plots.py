"""Plots of what noise does to policies: returns and certified ratio against the radius."""

from typing import TYPE_CHECKING

import numpy as np

from admm_verify.options import instance
from admm_verify.policies.certification import PolicyCertification
from admm_verify.policies.deviation_bounds import DeviationBounds
from admm_verify.policies.evaluation import PolicyEvaluation
from admm_verify.policies.settings import RadiusUnits
from admm_verify.report.picture_inputs import checked_path, require_matplotlib
from admm_verify.report.pictures import FORMATS, save
from admm_verify.robustness.certification import radius_name
from admm_verify.verdict import Answer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLEAN, _ATTACKED, _CERTIFIED, _OPEN = "#0072B2", "#D55E00", "#009E73", "#999999"
"""From the colour-blind safe palette of Okabe and Ito."""

Certified = PolicyCertification | DeviationBounds

_SPREAD = 30.0
"""Radii are drawn by their logarithms where the largest is so many times the smallest."""


def policy_plot(path: str, found: PolicyEvaluation | Certified) -> None:
    """Write a plot of a policy against the radius of noise: clean and attacked return, where it was played, and the
    share of actions that are certified, and that are not known to change; of continuous actions how far they move.

    Raises: InputError when the suffix is no picture format, OutputError when the file cannot be written,
    MissingPackageError without matplotlib.
    """
    path = checked_path(path, FORMATS, "plot")
    save(policy_figure(found), path, dpi=130)


def policy_figure(found: PolicyEvaluation | Certified) -> "Figure":
    """The picture of `policy_plot`.

    Raises: InputError for anything else, MissingPackageError without matplotlib.
    """
    require_matplotlib()
    given = instance(found, (PolicyEvaluation, PolicyCertification, DeviationBounds), "What is drawn")
    from matplotlib.figure import Figure

    played = given if isinstance(given, PolicyEvaluation) else None
    actions = given.certification if isinstance(given, PolicyEvaluation) else given
    panels = (played is not None) + (actions is not None)
    figure = Figure(figsize=(1.0 + 4.6 * panels, 3.8), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    where = "" if played is None else f" in {played.environment}"
    figure.suptitle(f"{given.policy}{where}", fontsize=11)
    for one in axes:
        _prepare(one, given)
    if played is not None:
        _draw_returns(axes[0], played)
    if isinstance(actions, PolicyCertification):
        _draw_actions(axes[-1], actions)
    elif actions is not None:
        _draw_deviations(axes[-1], actions)
    return figure


def _prepare(axes: "Axes", found: PolicyEvaluation | Certified) -> None:
    words = ", standard deviations" if found.units is RadiusUnits.NORMALISED else ""
    axes.set_xlabel(f"{radius_name(found.norm)} of noise{words}")
    radii = found.radii[found.radii > 0]
    if len(radii) == len(found.radii) and radii.max() > _SPREAD * radii.min():
        axes.set_xscale("log")
    axes.grid(visible=True, color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_returns(axes: "Axes", found: PolicyEvaluation) -> None:
    order = np.argsort(found.radii)
    radii, worst = found.radii[order], found.worst_found[order]
    axes.set_ylabel(f"return, {int(found.clean.finished.sum())} episodes")
    axes.plot(
        radii, np.full(len(radii), found.clean_return), color=_CLEAN, marker="o", markersize=4, label="clean, mean"
    )
    label = "attacked, mean: an estimate"
    axes.plot(radii, found.attacked_return[order], color=_ATTACKED, marker="s", markersize=4, label=label)
    certified = found.certified_return[order]
    if not np.isnan(certified).all():
        count = int((~np.isnan(found.certified)).any(axis=0).sum())
        label = f"certified, mean of {count} episode{'s' * (count > 1)}"
        axes.plot(radii, certified, color=_CERTIFIED, marker="^", markersize=4, label=label)
    low, high = np.fmin.reduce(worst, axis=1), np.fmax.reduce(worst, axis=1)
    axes.fill_between(radii, low, high, color=_ATTACKED, alpha=0.15, linewidth=0, label="attacked, all episodes")
    axes.legend(frameon=False, fontsize=8)


def _draw_actions(axes: "Axes", found: PolicyCertification) -> None:
    order, count = np.argsort(found.radii), len(found.actions)
    radii, kept = found.radii[order], 1.0 - found.count(Answer.FALSIFIED)[order] / count
    ratio = found.certified_ratio[order]
    axes.set(ylabel=f"share of {count} observations", ylim=(-0.03, 1.03))
    axes.plot(radii, kept, color=_OPEN, linestyle="--", marker="v", markersize=4, label="action not known to change")
    axes.plot(radii, ratio, color=_CERTIFIED, marker="^", markersize=4, label="action certified")
    axes.fill_between(radii, ratio, kept, color=_OPEN, alpha=0.2, linewidth=0)
    axes.legend(frameon=False, fontsize=8)


def _draw_deviations(axes: "Axes", found: DeviationBounds) -> None:
    order = np.argsort(found.radii)
    radii = found.radii[order]
    axes.set_ylabel(f"deviation of actions, {len(found.actions)} observations")
    for ends, word, style in ((found.mad, "largest", "-"), (found.adiv, "average", "--")):
        attacked, certified = ends[:, order]
        axes.plot(
            radii, certified, color=_CERTIFIED, linestyle=style, marker="^", markersize=4, label=f"{word}, certified"
        )
        axes.plot(radii, attacked, color=_ATTACKED, linestyle=style, marker="s", markersize=4, label=f"{word}, found")
        axes.fill_between(radii, attacked, certified, color=_OPEN, alpha=0.2, linewidth=0)
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8)
