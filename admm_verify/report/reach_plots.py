"""Pictures of reachable sets: in the plane of two states, over time, and of the cells of the initial set."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.reach.chart import chart_of
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.requirements import Kind
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.systems import Task
from admm_verify.report.picture_inputs import check_drawn, checked_path
from admm_verify.report.pictures import FORMATS, save
from admm_verify.report.reach_animation import (
    KINDS,
    Plane,
    box_ends,
    draw_background,
    draw_dots,
    finite,
    over_time,
    padded,
    paler,
    plain,
    reached,
    rectangle,
    single_limits,
    state_names,
    thinned,
    time_colours,
    time_label,
    view,
)
from admm_verify.run import Ended
from admm_verify.sets.box import Box

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIOLATION = "#D55E00"

_CERTIFIED, _AT_TIMES, _SAMPLED, _LOOSE = "#56B4E9", "#0072B2", "0.35", "0.85"
# Sets, trajectories, points, cells and panels beyond these are left out: they would only cover each other.
_MOST_SETS, _MOST_PATHS, _MOST_POINTS, _MOST_CELL_SHAPES, _MOST_CELLS, _MOST_PANELS = 60, 16, 2000, 600, 20_000, 24


def tube_plot(
    path: str, task: Task, sets: ReachSets, judgements: Sequence[Judgement], axes: tuple[int, int] = (0, 1)
) -> None:
    """Write a picture of the sets in the plane of two states; a system of one state is drawn over time.

    Raises: InputError when the file cannot be written or its suffix is no picture format, for directions without those
    of a box, and for axes that are not two states.
    """
    path = checked_path(path, FORMATS, "plot")
    save(tube_figure(task, sets, judgements, axes), path, dpi=150)


def time_plot(path: str, task: Task, sets: ReachSets, judgements: Sequence[Judgement]) -> None:
    """Write a picture of every state's certified and simulated range over time.

    Raises: InputError when the file cannot be written or its suffix is no picture format, and for directions without
    those of a box.
    """
    path = checked_path(path, FORMATS, "plot")
    save(time_figure(task, sets, judgements), path, dpi=150)


def partition_plot(path: str, task: Task, sets: ReachSets) -> None:
    """Write a picture of the cells of the initial set, coloured by how far their bounds exceed what is simulated.

    Cells of a zonotope are those of its generators' coefficients; cells of other sets may reach out of them.


    Raises: InputError when the file cannot be written or its suffix is no picture format.
    """
    path = checked_path(path, FORMATS, "plot")
    save(partition_figure(task, sets), path, dpi=150)


def tube_figure(
    task: Task, sets: ReachSets, judgements: Sequence[Judgement], axes: tuple[int, int] = (0, 1)
) -> "Figure":
    """The picture of `tube_plot`.

    Raises: InputError for directions without those of a box, and for axes that are not two states.
    """
    check_drawn(task, sets, judgements)
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    end, label = max(sets.steps, 1) * sets.period, time_label(sets)
    if sets.directions.shape[1] == 1:
        task, sets, judgements = over_time(task, sets, judgements)
    plane = Plane.of(task, sets, axes)
    figure = Figure(figsize=(6.0, 5.2), layout="constrained")
    ax = figure.add_subplot()
    handles: list[Artist] = list(draw_background(ax, plane))
    colours, shapes = time_colours(), plane.shapes(sets.upper)
    bounded = np.flatnonzero([len(corners) for corners in shapes])
    steps = bounded[thinned(len(bounded), _MOST_SETS)]
    middle, tints = colours(0.5), colours(steps * sets.period / end)
    tube = plane.between()
    if any(len(corners) for corners in tube):
        pale = paler(colours(np.arange(sets.steps) * sets.period / end))
        ax.add_collection(PolyCollection(tube, facecolors=pale, edgecolors=pale, linewidths=0.5, zorder=1))
        handles.append(Patch(color=tuple(paler(np.array(middle))), label="certified between control times"))
    if len(sets.cells_bound) > 1:
        parts, edges = _cell_shapes(plane, steps, tints)
        ax.add_collection(PolyCollection(parts, facecolors="none", edgecolors=edges, linewidths=0.25, zorder=2))
        what = "cells" if len(parts) == len(sets.cells_bound) * len(steps) else "some of the cells"
        handles.append(Patch(facecolor="none", edgecolor=middle, linewidth=0.4, label=what))
    # Faint enough to see many sets that cover each other.
    fill = tints * [1.0, 1.0, 1.0, 0.25]
    drawn = [shapes[step] for step in steps]
    ax.add_collection(PolyCollection(drawn, facecolors=fill, edgecolors=tints, linewidths=1.1, zorder=3))
    draw_dots(ax, plane, drawn, tints)
    when = "certified after each step" if sets.during is None else "certified at control times"
    handles.append(Patch(facecolor=(middle, 0.25), edgecolor=middle, label=when))
    if len(bounded) < len(shapes):
        missing = "some steps: wider" if len(bounded) else "all sets are wider"
        handles.append(Patch(color="none", label=f"{missing} than the picture"))
    handles += _draw_paths(ax, plane)
    handles += _draw_violations(ax, plane, judgements)
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, end), colours), ax=ax, label=label, pad=0.02)
    bar.locator = MaxNLocator(8, steps=[1, 2, 5, 10], integer=label == "step")
    bar.outline.set_visible(False)
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.suptitle(headline(task, sets, judgements), fontsize="medium")
    return figure


def time_figure(task: Task, sets: ReachSets, judgements: Sequence[Judgement]) -> "Figure":
    """The picture of `time_plot`.

    Raises: InputError for directions without those of a box.
    """
    check_drawn(task, sets, judgements)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    low, high = view(task, sets)
    names, panels = state_names(task), min(len(low), _MOST_PANELS)
    columns = 1 if panels <= 4 else 2 if panels <= 12 else 3
    rows = -(-panels // columns)
    figure = Figure(figsize=(6.4 + 1.6 * (columns - 1), 1.4 + max(1.5 * rows, 2.2)), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    handles: dict[str, Artist] = {}
    for state, ax in enumerate(grid.flat):
        if state >= panels:
            ax.set_axis_off()
            continue
        handles |= _draw_bands(ax, sets, state)
        handles |= _draw_limits(ax, task, sets, state, (low[state], high[state]))
        for judgement in judgements:
            if judgement.trajectory is not None:
                times = np.arange(len(judgement.trajectory)) * sets.period
                (line,) = ax.plot(times, judgement.trajectory[:, state], ".-", color=VIOLATION, linewidth=1.2, zorder=5)
                handles["violating trajectory"] = line
        ax.set(ylim=(low[state], high[state]), ylabel=names[state])
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="0.93", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=sets.period == 1.0))
        ax.margins(x=0.01)
        if state >= panels - columns:
            ax.set_xlabel(time_label(sets))
            ax.tick_params(labelbottom=True)
    figure.align_ylabels()
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=2 if columns == 1 else 3,
        frameon=False,
        fontsize="small",
    )
    more = f"\nthe first {panels} of {len(low)} states" if panels < len(low) else ""
    figure.suptitle(headline(task, sets, judgements) + more, fontsize="medium")
    return figure


def partition_figure(task: Task, sets: ReachSets) -> "Figure":
    """The picture of `partition_plot`."""
    check_drawn(task, sets)
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    count, first = len(sets.cells_lower), chart_of(task.initial)
    ends = np.stack([sets.cells_lower, sets.cells_upper])[..., : first.numbers]
    names = state_names(task) if first.is_plain else [f"coefficient {i + 1}" for i in range(first.numbers)]
    wide = np.flatnonzero((ends[1] > ends[0]).any(axis=0))
    # Sides without width show nothing.
    axes = [int(axis) for axis in wide[:2]] or [0]
    ends = ends[..., axes]
    if len(axes) == 1:
        ends = np.stack(np.broadcast_arrays(ends[..., 0], np.array([[0.0], [1.0]])), axis=-1)
    excess = cell_excess(sets)
    hidden = np.count_nonzero((sets.cells_upper > sets.cells_lower).any(axis=0)) > len(axes)
    # Small cells over large ones, then bad ones over good ones, where other states lie behind these two.
    order = np.lexsort((excess, -np.prod(ends[1] - ends[0], axis=-1)))[:_MOST_CELLS]
    colours, known = time_colours().with_extremes(bad=_LOOSE), np.isfinite(excess)
    scale = Normalize(0.0, excess[known].max(initial=0.0) or 1.0)
    figure = Figure(figsize=(6.0, 5.0), layout="constrained")
    ax = figure.add_subplot()
    faces = colours(scale(np.ma.masked_invalid(excess[order])))
    edge = 0.5 if count <= 1000 else 0.15
    corners = rectangle(*ends[:, order])
    ax.add_collection(PolyCollection(list(corners), facecolors=faces, edgecolors="white", linewidths=edge))
    ax.set(xlabel=names[axes[0]], ylabel="" if len(axes) == 1 else names[axes[1]])
    low, high = padded(ends[0].min(axis=0), ends[1].max(axis=0))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.locator_params(axis="x", nbins=6)
    ax.spines[["top", "right"]].set_visible(False)
    if len(axes) == 1:
        ax.set_yticks([])
    figure.colorbar(ScalarMappable(scale, colours), ax=ax, label="largest excess over simulations / simulated width")
    if not known.all():
        patch = Patch(facecolor=_LOOSE, label="too loose before the others")
        figure.legend(handles=[patch], loc="outside lower center", frameon=False, fontsize="small")
    some = f"{_MOST_CELLS} largest of {count}" if count > _MOST_CELLS else f"{count}"
    what = "the initial box" if isinstance(task.initial, Box) else "the initial set"
    cells = f"{what} is one cell" if count == 1 else f"{some} cells of {what}"
    cells = cells if len(wide) else f"{what} is a point"
    shown = f", seen in {' and '.join(names[axis] for axis in axes)}" if hidden else ""
    figure.suptitle(f"{_wrapped(task.name)}\n{cells}{shown}", fontsize="medium")
    return figure


def cell_excess(sets: ReachSets) -> np.ndarray:
    """By what share of a direction's simulated width a cell's bounds exceed all simulated states at most, [cells].

    NaN for cells without bounds at a step at which others have some.
    """
    same = (sets.directions[:, None] == -sets.directions[None]).all(axis=2)
    inner = finite(sets.inner)
    width = inner + np.where(same.any(axis=1), inner[:, same.argmax(axis=1)], np.nan)
    width = np.where(width > 0, width, np.nan)
    worst, good = np.zeros(len(sets.cells_bound)), np.ones(len(sets.cells_bound), dtype=bool)
    for step in range(1, sets.steps + 1):
        bound = sets.cells_bound[:, step]
        fine = good & np.isfinite(bound).all(axis=1)
        if not fine.any():
            break
        share = (bound[fine] - inner[step]) / width[step]
        worst[fine] = np.fmax(worst[fine], np.fmax.reduce(share, axis=1))
        good = fine
    return np.where(good, worst, np.nan)


def headline(task: Task, sets: ReachSets, judgements: Sequence[Judgement]) -> str:
    """The task's name, its verdicts, and up to which step there are bounds."""
    if len(judgements) <= 3:
        verdicts = [f"{KINDS[one.requirement.kind][0]}: {one.outcome.value}" for one in judgements]
    else:
        counts = Counter(one.outcome.value for one in judgements)
        verdicts = [f"{count} {name}" for name, count in counts.items()]
    lines = [_wrapped(task.name), ", ".join(verdicts)]
    if sets.valid_steps < sets.steps:
        interrupted = sets.ended in (Ended.TIMED_OUT, Ended.STOPPED)
        why = f": {sets.ended.value}" if interrupted else ""
        lines.append(f"{'no bounds' if interrupted else 'too loose'} after step {sets.valid_steps}{why}")
    return "\n".join(line for line in lines if line)


def _draw_paths(ax: "Axes", plane: Plane) -> "Sequence[Artist]":
    """Simulated states: lines in continuous time, points in discrete time."""
    from matplotlib.lines import Line2D

    sets = plane.sets
    if not len(sets.samples):
        return []
    if sets.during is None:
        steps = thinned(sets.steps + 1, _MOST_SETS)
        few = thinned(len(sets.samples), max(_MOST_POINTS // len(steps), 1))
        points = plane.points(sets.samples[np.ix_(few, steps)]).reshape(-1, 2)
        ax.plot(*points.T, ".", color="0.2", markersize=1.8, markeredgewidth=0, zorder=4)
        return [Line2D([], [], color="0.2", marker=".", markersize=4, linestyle="none", label="simulated")]
    points = plane.points(sets.samples[thinned(len(sets.samples), _MOST_PATHS)])
    ax.plot(*np.moveaxis(points, (2, 1), (0, 1)), color="0.2", linewidth=0.3, alpha=0.6, zorder=4)
    return [Line2D([], [], color="0.2", linewidth=0.8, label="simulated")]


def _draw_violations(ax: "Axes", plane: Plane, judgements: Sequence[Judgement]) -> "Sequence[Artist]":
    from matplotlib.patheffects import Normal, Stroke

    drawn = []
    for judgement in judgements:
        if judgement.trajectory is not None:
            path = plane.points(judgement.trajectory).T
            (line,) = ax.plot(*path, ".-", color=VIOLATION, linewidth=1.6, markersize=5, zorder=6)
            line.set(label="violating trajectory", path_effects=[Stroke(linewidth=3.0, foreground="white"), Normal()])
            drawn.append(line)
    return drawn[:1]


def _cell_shapes(plane: Plane, steps: np.ndarray, tints: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The cells' polygons after some steps, and their colours; of many cells and steps only some."""
    bound = plane.sets.cells_bound
    few = thinned(len(steps), max(_MOST_CELL_SHAPES // len(bound), 10))
    cells = thinned(len(bound), _MOST_CELL_SHAPES // len(few))
    shapes = plane.shapes(bound[np.ix_(cells, steps[few])].reshape(-1, bound.shape[-1]))
    return shapes, np.tile(tints[few], (len(cells), 1))


def _draw_bands(ax: "Axes", sets: ReachSets, state: int) -> "dict[str, Artist]":
    """A state's certified and simulated ranges."""
    times = np.arange(sets.steps + 1) * sets.period
    low, high = (end[:, state] for end in box_ends(sets.directions, finite(sets.upper)))
    near, far = (end[:, state] for end in reached(sets))
    if sets.during is None:
        edges = (np.arange(sets.steps + 2) - 0.5) * sets.period
        return {
            "certified": _stairs(ax, edges, low, high, _CERTIFIED, 0.45),
            "simulated": _stairs(ax, edges, near, far, _SAMPLED, 0.6),
        }
    found: dict[str, Artist] = {}
    within = [end[:, state] for end in box_ends(sets.directions, finite(sets.during))]
    found["certified between control times"] = _stairs(ax, times, within[0], within[1], _CERTIFIED, 0.3)
    few = thinned(len(times), _MOST_SETS)
    width = float(np.clip(40.0 / len(few), 0.6, 2.5))
    bars = ax.vlines(times[few], low[few], high[few], color=_AT_TIMES, linewidth=width, zorder=2)
    found["certified at control times"] = bars
    found["simulated at control times"] = ax.fill_between(times, near, far, color=_SAMPLED, alpha=0.7, zorder=3)
    return found


def _stairs(ax: "Axes", edges: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, alpha: float) -> "Artist":
    """A band of one height between every two edges; its outline shows where it has no width."""
    from matplotlib.colors import to_rgba

    gone = np.isnan(low) | np.isnan(high)
    low, high = np.where(gone, np.nan, low), np.where(gone, np.nan, high)
    face = to_rgba(colour, alpha)
    return ax.stairs(high, edges, baseline=low, fill=True, facecolor=face, edgecolor=colour, linewidth=0.8)


def _draw_limits(
    ax: "Axes", task: Task, sets: ReachSets, state: int, shown: tuple[float, float]
) -> "dict[str, Artist]":
    """The limits of requirements on one state alone, dashed over the times at which they must hold."""
    drawn = {}
    for requirement in task.requirements:
        first, last = max(float(requirement.first), 0.0), min(float(requirement.last), float(task.steps))
        if requirement.kind is Kind.REACH_AT_END:
            first = last
        # A single time is drawn a little longer, so as to be seen.
        room = 0.5 if sets.during is None else 0.02 * task.steps if first == last else 0.0
        times = np.array([first - room, last + room]) * sets.period
        for limited, value in single_limits(requirement):
            if limited == state and shown[0] <= value <= shown[1]:
                label, colour = KINDS[requirement.kind]
                (line,) = ax.plot(times, [value, value], "--", color=colour, linewidth=1.5, zorder=4)
                drawn[label] = line
    return drawn


def _wrapped(text: str) -> str:
    return plain(textwrap.fill(text, 60))
