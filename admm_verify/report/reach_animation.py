"""The plane of two states with what reachable sets show in it, and the sets moving there."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from admm_verify.errors import InputError
from admm_verify.files import replaced
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.requirements import Kind, Requirement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.systems import NetworkSystem, Task
from admm_verify.report.picture_inputs import check_drawn, checked_axes, checked_path
from admm_verify.sets.box import Box
from admm_verify.sets.contract import WalkableSet
from admm_verify.sets.polytope import Polytope

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.patches import Patch

KINDS = {
    Kind.ALWAYS_IN: ("must stay in", "#0072B2"),
    Kind.NEVER_IN: ("must avoid", "#CC79A7"),
    Kind.REACH_AT_END: ("goal at the end", "#009E73"),
    Kind.REACH_SOME_TIME: ("goal", "#009E73"),
}
"""Words and a colour for every kind of requirement, from the colour-blind safe palette of Okabe and Ito."""

# A picture shows sets up to so many widths of what is simulated beside it, and limits up to one width away.
_WIDTHS = 1.5
_MOST_FRAMES, _MOST_POINTS, _MOST_CORNERS, _SECONDS = 60, 300, 180, 6.0


def animation(path: str, task: Task, sets: ReachSets, axes: tuple[int, int] = (0, 1)) -> None:
    """Write a GIF of the set and simulated states moving in the plane of two states; one state moves over time.

    Raises: InputError when the file cannot be written or is no .gif, for directions without those of a box, and for
    axes that are not two states.
    """
    path = checked_path(path, (".gif",), "animation")
    film = Film(task, sets, axes)
    from matplotlib.animation import PillowWriter

    steps = thinned(sets.steps + 1, _MOST_FRAMES)
    rate = int(np.clip(len(steps) / _SECONDS, 2, 12))
    writer = PillowWriter(fps=rate)
    # Matplotlib's writer takes a name only, and writes in the end.
    with replaced(path, "animation") as file, TemporaryDirectory() as folder:
        drawn = Path(folder) / "animation.gif"
        with writer.saving(film.figure, drawn, dpi=100):
            for step in [*steps, *[steps[-1]] * rate]:
                film.show(int(step))
                writer.grab_frame()
        file.write(drawn.read_bytes())


class Film:
    """The figure of an animation, which shows one step at a time.

    Raises: InputError for directions without those of a box, and for axes that are not two states.
    """

    def __init__(self, task: Task, sets: ReachSets, axes: tuple[int, int] = (0, 1)) -> None:
        check_drawn(task, sets)
        from matplotlib.collections import PolyCollection
        from matplotlib.figure import Figure

        if sets.directions.shape[1] == 1:
            task, sets, _ = over_time(task, sets, ())
        self.plane = Plane.of(task, sets, axes)
        self.figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        self.axes = self.figure.add_subplot()
        handles = draw_background(self.axes, self.plane)
        every = np.arange(sets.steps + 1)
        self.colours = time_colours()(every / max(sets.steps, 1))
        self.shapes, self.tube = self.plane.shapes(sets.upper), self.plane.between()
        self.trail = PolyCollection([], linewidths=0.8, zorder=1)
        self.now = PolyCollection([], linewidths=1.6, zorder=3)
        self.axes.add_collection(self.trail)
        self.axes.add_collection(self.now)
        chosen = thinned(len(sets.samples), _MOST_POINTS)
        self.points = self.plane.points(sets.samples[chosen])
        (self.dots,) = self.axes.plot([], [], ".", color="0.15", markersize=2.5, zorder=4, label="simulated")
        self.figure.legend(
            handles=[*handles, self.dots], loc="outside lower center", ncols=2, frameon=False, fontsize="small"
        )
        self.show(0)
        # The layout of the first frame is kept: a title that grows must not move the axes.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def show(self, step: int) -> None:
        """Show the set after a step, with those before it behind it."""
        sets = self.plane.sets
        past = self.tube[:step] if self.tube else self.shapes[:step]
        pale = paler(self.colours[:step])
        self.trail.set(verts=past, facecolors=pale if self.tube else "none", edgecolors=pale)
        colour = self.colours[step]
        self.now.set(verts=[self.shapes[step]], facecolors=[(*colour[:3], 0.35)], edgecolors=[colour])
        self.dots.set_data(*self.points[:, step].T)
        some = np.isfinite(sets.upper[step]).all()
        loose = "" if len(self.shapes[step]) else ": wider than the picture" if some else ": no bounds"
        when = f"step {step} of {sets.steps}" if sets.during is None else f"time {step * sets.period:.4g}"
        name = plain(textwrap.shorten(self.plane.task.name, 50, placeholder=" .."))
        self.axes.set_title(f"{name}, {when}{loose}", fontsize="medium")


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of two states, and what of a task's sets shows in it.

    low, high: the corners of the picture; canvas: of a larger rectangle, to which everything is cut.
    Shapes: low, high [2]; canvas [4, 2].
    """

    task: Task
    sets: ReachSets
    axes: tuple[int, int]
    low: np.ndarray
    high: np.ndarray
    canvas: np.ndarray

    @classmethod
    def of(cls, task: Task, sets: ReachSets, axes: tuple[int, int]) -> "Plane":
        """The plane of two states.

        Raises: InputError unless the axes are two of the states, or for directions without those of a box.
        """
        count = sets.directions.shape[1]
        axes = checked_axes(axes, count)
        low, high = (end[list(axes)] for end in view(task, sets))
        return cls(task, sets, axes, low, high, rectangle(2.0 * low - high, 2.0 * high - low))

    def shapes(self, bound: np.ndarray) -> list[np.ndarray]:
        """The polygons that bounds [sets, d] leave in the plane, [corners, 2] each.

        Empty where they are too loose, as where they cover the picture: one colour everywhere would hide the others.
        """
        ends = np.stack(box_ends(self.sets.directions, bound))[..., self.axes]
        rows = self._flat(self.sets.directions)
        parts = cut(self.canvas, self.sets.directions[rows][:, self.axes], bound[:, rows])
        heights = rectangle(self.low, self.high) @ self.sets.directions[rows][:, self.axes].T
        showing = (heights > bound[:, None, rows]).any(axis=(1, 2))
        fine = np.logical_and.reduce([showing, np.isfinite(ends).all(axis=(0, 2)), np.isfinite(parts).all(axis=(1, 2))])
        return [part if good else part[:0] for part, good in zip(parts, fine, strict=True)]

    def between(self) -> list[np.ndarray]:
        """The polygons that hold during every control period; none in discrete time."""
        return [] if self.sets.during is None else self.shapes(self.sets.during)

    def points(self, states: np.ndarray) -> np.ndarray:
        """States [.., n] in the plane [.., 2], those far outside moved to where they cannot disturb the drawing."""
        far = 50.0 * (self.high - self.low)
        return np.clip(states[..., self.axes], self.low - far, self.high + far)

    def regions(self) -> list[tuple[Requirement, str, np.ndarray]]:
        """The requirements' sets as far as they limit these two states only, with words for them."""
        found = []
        for requirement in (one for one in self.task.requirements if one.of is None):
            normals = requirement.set.normals
            rows = self._flat(normals) & normals.any(axis=1)
            limits = np.array([float(limit) for limit in requirement.set.limits])
            corners = cut(self.canvas, normals[rows][:, self.axes], limits[None, rows])[0]
            if rows.any() and np.isfinite(corners).all():
                more = "" if rows.all() or requirement.kind is Kind.ALWAYS_IN else " in these states"
                found.append((requirement, words(requirement, self.task, self.sets) + more, corners))
        return found

    def _flat(self, normals: np.ndarray) -> np.ndarray:
        """Which rows involve no other state."""
        return np.logical_not(np.delete(normals, self.axes, axis=1).any(axis=1))


def draw_background(ax: "Axes", plane: Plane) -> "list[Patch]":
    """Draw regions and the initial set, label the axes, and give what belongs into the legend."""
    from matplotlib.patches import Polygon

    names = state_names(plane.task)
    ax.set(xlabel=names[plane.axes[0]], ylabel=names[plane.axes[1]])
    ax.set(xlim=(plane.low[0], plane.high[0]), ylim=(plane.low[1], plane.high[1]))
    ax.locator_params(axis="x", nbins=7)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="0.93", linewidth=0.6)
    ax.set_axisbelow(True)
    handles: dict[str, Patch] = {}
    for requirement, label, corners in plane.regions():
        colour, stay = KINDS[requirement.kind][1], requirement.kind is Kind.ALWAYS_IN
        hatch = "////" if requirement.kind is Kind.NEVER_IN else None
        face = Polygon(corners, facecolor=colour, alpha=0.04 if stay else 0.22, zorder=0.6)
        edge = Polygon(corners, fill=False, edgecolor=colour, linestyle="--" if stay else "-", hatch=hatch, zorder=2.5)
        ax.add_patch(face)
        handles[label] = ax.add_patch(edge)
        edge.set(linewidth=1.4, label=label)
    initial = plane.task.initial
    corners, label = outline(initial, plane.axes), "initial box" if isinstance(initial, Box) else "initial set"
    start = Polygon(corners, fill=False, edgecolor="black", linewidth=1.5, zorder=5, label=label)
    draw_dots(ax, plane, [corners], np.array([[0.0, 0.0, 0.0, 1.0]]))
    return [ax.add_patch(start), *handles.values()]


def outline(inputs: WalkableSet, axes: tuple[int, int]) -> np.ndarray:
    """A set [n] seen in the plane of two coordinates: extreme points around it, in order, [corners, 2]."""
    if isinstance(inputs, Box):
        return rectangle(*(np.asarray(end, dtype=np.float64)[list(axes)] for end in inputs.range))
    angle = 2.0 * np.pi * (np.arange(_MOST_CORNERS) + 0.5) / _MOST_CORNERS
    directions = np.zeros((_MOST_CORNERS, inputs.size))
    directions[:, axes[0]], directions[:, axes[1]] = np.cos(angle), np.sin(angle)
    return np.asarray(inputs.minimiser(-directions))[:, list(axes)]


def draw_dots(ax: "Axes", plane: Plane, shapes: Sequence[np.ndarray], colours: np.ndarray) -> None:
    """Draw dots for polygons so small that nobody would see them."""
    small = [bool((np.ptp(corners, axis=0) < 0.003 * (plane.high - plane.low)).all()) for corners in shapes]
    middles = np.array([corners[0] for corners, dot in zip(shapes, small, strict=True) if dot]).reshape(-1, 2)
    ax.scatter(*middles.T, s=14, c=colours[small], linewidths=0, zorder=3)


def over_time(
    task: Task, sets: ReachSets, judgements: Sequence[Judgement]
) -> tuple[Task, ReachSets, tuple[Judgement, ...]]:
    """The same with time as a state before the others, for systems of one state."""
    times = np.arange(sets.steps + 1) * sets.period

    def timed(states: np.ndarray) -> np.ndarray:
        return np.concatenate([np.broadcast_to(times[:, None], (*states.shape[:-1], 1)), states], axis=-1)

    def bounded(bound: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        ends = np.broadcast_to(np.stack([high, -low], axis=-1), (*bound.shape[:-1], 2))
        return np.concatenate([ends, bound], axis=-1)

    def freed(own: Requirement) -> Requirement:
        return replace(own, set=Polytope(np.pad(own.set.normals, ((0, 0), (1, 0))), own.set.limits))

    along = np.pad(sets.directions, ((0, 0), (1, 0)))
    unit = np.eye(1, along.shape[1])
    moved = replace(
        sets,
        directions=np.concatenate([unit, -unit, along]),
        upper=bounded(sets.upper, times, times),
        inner=bounded(sets.inner, times, times),
        cells_bound=bounded(sets.cells_bound, times, times),
        during=None if sets.during is None else bounded(sets.during, times[:-1], times[1:]),
        samples=timed(sets.samples),
    )
    found = [one if one.trajectory is None else replace(one, trajectory=timed(one.trajectory)) for one in judgements]
    ends = (np.concatenate([[0.0], np.asarray(end)]) for end in task.initial.range)
    requirements = tuple(freed(requirement) for requirement in task.requirements if requirement.of is None)
    names, box = (time_label(sets), *state_names(task)), Box(*ends)
    # Pictures do not look at the system, but it has to have a state more, too.
    size = along.shape[1]
    system = NetworkSystem(network_from_layers([np.eye(size)], [np.zeros(size)]))
    timely = replace(task, system=system, initial=box, requirements=requirements, names=names)
    return timely, moved, tuple(found)


def view(task: Task, sets: ReachSets) -> tuple[np.ndarray, np.ndarray]:
    """Ends [n] of what pictures show of every state: sets near what is simulated, and limits near those.

    Raises: InputError for directions without those of a box.
    """
    bound = sets.upper if sets.during is None else np.concatenate([sets.upper, sets.during])
    ends = box_ends(sets.directions, finite(bound))
    low, high = np.fmin.reduce(ends[0], axis=0), np.fmax.reduce(ends[1], axis=0)
    near, far = reached(sets)
    near, far = np.fmin.reduce(near, axis=0), np.fmax.reduce(far, axis=0)
    wide = far - near > 1e-9 * (1.0 + np.abs(near))
    span = np.where(wide, far - near, np.nan)
    low, high = np.fmax(low, near - _WIDTHS * span), np.fmin(high, far + _WIDTHS * span)
    first = (np.asarray(end, dtype=np.float64) for end in task.initial.range)
    low, high = (pick(end, start) for pick, end, start in zip((np.fmin, np.fmax), (low, high), first, strict=True))
    span = high - low
    for requirement in task.requirements:
        for state, value in single_limits(requirement):
            if low[state] - span[state] <= value <= high[state] + span[state]:
                low[state], high[state] = min(low[state], value), max(high[state], value)
    return padded(low, high)


def padded(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends a little further out, also where they are the same."""
    pad = np.where(high > low, 0.05 * (high - low), 0.05 * np.maximum(1.0, np.abs(low)))
    return low - pad, high + pad


def reached(sets: ReachSets) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the simulated states at every step, [steps + 1, n], NaN where there is none.

    Raises: InputError for directions without those of a box.
    """
    return box_ends(sets.directions, finite(sets.inner))


def finite(values: np.ndarray) -> np.ndarray:
    """The values, NaN where they are infinite, and small enough to compute with."""
    return np.where(np.isfinite(values), np.clip(values, -1e99, 1e99), np.nan)


def single_limits(requirement: Requirement) -> list[tuple[int, float]]:
    """The limits of a requirement's set that concern one state: the state and the number."""
    rows = () if requirement.of else zip(requirement.set.normals, requirement.set.limits, strict=True)
    alone = [(int(np.flatnonzero(row)[0]), row, limit) for row, limit in rows if np.count_nonzero(row) == 1]
    return [(state, float(limit) / row[state]) for state, row, limit in alone]


def box_ends(directions: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends [.., n] of the boxes with bounds [.., d].

    Raises: InputError unless the directions hold those of a box.
    """
    unit = np.eye(directions.shape[1])
    found = np.array([(directions == row).all(axis=1) for row in np.concatenate([-unit, unit])])
    if not found.any(axis=1).all():
        raise InputError("The directions do not hold those of a box, which pictures need; add +-e_i to them.")
    low, high = np.split(found.argmax(axis=1), 2)
    return -bound[..., low], bound[..., high]


def rectangle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The corners of rectangles, [.., 2] -> [.., 4, 2]."""
    x, y = np.stack([low[..., 0], high[..., 0]], axis=-1), np.stack([low[..., 1], high[..., 1]], axis=-1)
    return np.stack([x[..., [0, 1, 1, 0]], y[..., [0, 0, 1, 1]]], axis=-1)


def cut(corners: np.ndarray, normals: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The parts of a convex polygon with normals x <= limits, for many limits; NaN where there is none.

    Shapes: corners [corners, 2]; normals [rows, 2]; limits [parts, rows] -> [parts, corners, 2], corners may repeat.
    """
    size = np.ptp(corners, axis=0)
    parts = np.tile(corners, (len(limits), 1, 1))
    # What is infinite limits nothing.
    for normal, limit in zip(normals, np.nan_to_num(finite(limits), nan=1e99).T, strict=True):
        room = limit[:, None] - parts @ normal
        # Sets without width are kept as lines: rounding must not lose them.
        inside = room >= -1e-9 * (np.abs(normal) @ size)
        beyond, leaves = np.roll(room, -1, axis=1), inside != np.roll(inside, -1, axis=1)
        share = np.clip(room / np.where(leaves, room - beyond, 1.0), 0.0, 1.0)
        crossing = parts + share[..., None] * (np.roll(parts, -1, axis=1) - parts)
        both = np.stack([parts, crossing], axis=2).reshape(len(parts), -1, 2)
        kept = np.stack([inside, leaves], axis=2).reshape(len(parts), -1)
        # The corners that are kept move to the front, and the last of them fills the row.
        count = kept.sum(axis=1)
        place = np.minimum(np.arange(count.max(initial=1)), np.maximum(count - 1, 0)[:, None])
        order = np.take_along_axis(np.argsort(~kept, axis=1, kind="stable"), place, axis=1)
        parts = np.take_along_axis(both, order[..., None], axis=1)
        parts[count == 0] = np.nan
    return parts


def thinned(count: int, most: int) -> np.ndarray:
    """At most so many of count indices, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int))


def time_colours() -> "Colormap":
    """Colours from the start to the end; viridis without its lightest, which white paper swallows."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.93, 256)))


def paler(colours: np.ndarray) -> np.ndarray:
    """Colours [.., 4] mixed with much white, which unlike transparent ones may overlap."""
    return 0.25 * colours + 0.75


def time_label(sets: ReachSets) -> str:
    """What the axis of time is called."""
    if sets.during is not None:
        return f"time (control period {sets.period:.4g})"
    return "step" if sets.period == 1.0 else f"time (steps of {sets.period:.4g})"


def words(requirement: Requirement, task: Task, sets: ReachSets) -> str:
    """Words for a requirement, with its times where it does not hold at all of them."""
    text = KINDS[requirement.kind][0]
    if requirement.kind is Kind.REACH_AT_END or (requirement.first <= 0 and requirement.last >= task.steps):
        return text
    first, last = (float(end) * sets.period for end in (requirement.first, requirement.last))
    return f"{text} ({'step' if sets.during is None else 'time'} {first:.4g} to {last:.4g})"


def state_names(task: Task) -> list[str]:
    """The names of the states, as given or x1, x2, .."""
    count = task.initial.size
    return [plain(name) for name in task.names] if len(task.names) == count else [f"x{i + 1}" for i in range(count)]


def plain(text: str) -> str:
    """Text without the signs that matplotlib reads as mathematics."""
    return text.replace("$", r"\$")
