"""Pictures of reachable sets, of sets built by hand: what they show, and that nothing odd breaks them."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from admm_verify import (
    Answer,
    Box,
    Ended,
    InputError,
    Judgement,
    Kind,
    NetworkSystem,
    Polytope,
    ReachSets,
    Requirement,
    Task,
    time_plot,
    tube_plot,
)
from admm_verify.network.layers import network_from_layers
from admm_verify.reach.directions import box_directions, even_directions, octagon_directions
from admm_verify.report.reach_animation import Film, Plane, animation, cut, rectangle, thinned, view
from admm_verify.report.reach_plots import (
    cell_excess,
    headline,
    partition_figure,
    partition_plot,
    time_figure,
    tube_figure,
)

pytest.importorskip("matplotlib")


def spiral(states: int) -> np.ndarray:
    """A contracting rotation of the first two states; the others shrink."""
    a = 0.9 * np.eye(states)
    if states > 1:
        a[:2, :2] = 0.95 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    return a


def task_of(states: int, steps: int, requirements: tuple[Requirement, ...] = (), width: float = 0.2) -> Task:
    network = network_from_layers([spiral(states)], [np.zeros(states)])
    middle = np.linspace(1.0, 0.4, states)
    box = Box(middle - width / 2, middle + width / 2)
    names = tuple(f"state {i + 1}" for i in range(states))
    return Task("spiral", NetworkSystem(network), box, steps, requirements, names)


def sets_of(
    task: Task, directions: np.ndarray, sides: int = 1, slack: float = 0.02, continuous: bool = False, points: int = 60
) -> ReachSets:
    """Bounds of the linear system's boxes with some slack, and simulated states within them."""
    lower, upper = task.initial.grid(sides).range
    a, rng = spiral(lower.shape[1]), np.random.default_rng(3)
    powers = [np.linalg.matrix_power(a, t) for t in range(task.steps + 1)]
    bound = np.stack([Box.of(lower, upper).support(directions @ power) for power in powers], axis=1)
    bound[:, 1:] += slack
    first = rng.uniform(task.initial.lower, task.initial.upper, (points, lower.shape[1]))
    samples = np.stack([first @ power.T for power in powers], axis=1)
    reached = (samples @ directions.T).max(axis=0, initial=-np.inf)
    total = bound.max(axis=0)
    during = np.maximum(total[:-1], total[1:]) + slack if continuous else None
    period = 0.25 if continuous else 1.0
    return ReachSets(directions, total, reached, lower, upper, bound, samples, 0.1, Ended.COMPLETE, period, during)


def requirement(kind: Kind, lower: list, upper: list, first: int = 0, last: int = 1000) -> Requirement:
    ends = ([None if end is None else Fraction(end) for end in side] for side in (lower, upper))
    return Requirement(kind, Polytope.box(*ends), Fraction(first), Fraction(last))


STAY = requirement(Kind.ALWAYS_IN, [-2, -2, -3], [2, 2, 3])
AVOID = requirement(Kind.NEVER_IN, [-1, 0, None], [0, 1, None], first=2, last=5)
GOAL = requirement(Kind.REACH_AT_END, [-1, -1, "-1/2"], [1, 1, "1/2"])


def judged(task: Task, sets: ReachSets) -> list[Judgement]:
    outcomes = [Answer.VERIFIED, Answer.FALSIFIED, Answer.UNKNOWN]
    return [
        Judgement(one, outcome, 0.1, 1, sets.samples[0] if outcome is Answer.FALSIFIED else None)
        for one, outcome in zip(task.requirements, outcomes, strict=False)
    ]


def labels(figure) -> set[str]:
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def title(figure) -> str:
    return figure.get_suptitle()


def drawn(figure):
    """The figure as an array, which is also how rendering errors and warnings show."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(50)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def all_figures(task: Task, sets: ReachSets, judgements: list[Judgement]) -> list:
    film = Film(task, sets)
    film.show(sets.steps)
    figures = [tube_figure(task, sets, judgements), time_figure(task, sets, judgements), partition_figure(task, sets)]
    return [*figures, film.figure]


@pytest.mark.parametrize("continuous", [False, True])
def test_figures_say_what_they_show(continuous):
    task = task_of(3, 8, (STAY, AVOID, GOAL))
    sets = sets_of(task, octagon_directions(3), sides=2, continuous=continuous)
    tube, time, partition, film = all_figures(task, sets, judged(task, sets))
    own = {"certified at control times", "certified between control times"} if continuous else set()
    clock = "time 0.5 to 1.25" if continuous else "step 2 to 5"
    assert labels(tube) == {
        "initial box",
        "must stay in",
        f"must avoid ({clock})",
        "goal at the end in these states",
        "cells",
        "simulated",
        "violating trajectory",
        *(own or {"certified after each step"}),
    }
    assert (tube.axes[0].get_xlabel(), tube.axes[0].get_ylabel()) == ("state 1", "state 2")
    assert title(tube) == "spiral\nmust stay in: verified, must avoid: falsified, goal at the end: unknown"
    assert [axes.get_ylabel() for axes in time.axes] == ["state 1", "state 2", "state 3"]
    assert time.axes[-1].get_xlabel() == ("time (control period 0.25)" if continuous else "step")
    assert {"must stay in", "must avoid", "goal at the end", "violating trajectory"} <= labels(time)
    assert own <= labels(time)
    assert "8 cells" in title(partition)
    assert "seen in state 1 and state 2" in title(partition)
    assert film.axes[0].get_title() == ("spiral, time 2" if continuous else "spiral, step 8 of 8")


def test_files_are_pictures_of_sensible_size(tmp_path):
    from PIL import Image

    task = task_of(3, 6, (STAY, AVOID, GOAL))
    sets = sets_of(task, octagon_directions(3), continuous=True)
    tube_plot(str(tmp_path / "tube.png"), task, sets, judged(task, sets))
    time_plot(str(tmp_path / "time.png"), task, sets, judged(task, sets))
    partition_plot(str(tmp_path / "cells.png"), task, sets)
    for name in ("tube.png", "time.png", "cells.png"):
        assert 5_000 < (tmp_path / name).stat().st_size < 150_000
        with Image.open(tmp_path / name) as image:
            image.verify()
            assert 700 < image.size[0] < 1600 and 600 < image.size[1] < 1600
    time_plot(str(tmp_path / "time.PDF"), task, sets, [])
    assert (tmp_path / "time.PDF").read_bytes().startswith(b"%PDF")


def test_animation_has_a_frame_for_every_step(tmp_path):
    from PIL import Image

    task = task_of(2, 3)
    animation(str(tmp_path / "sets.gif"), task, sets_of(task, box_directions(2)))
    with Image.open(tmp_path / "sets.gif") as image:
        assert image.format == "GIF" and image.n_frames == 4


@pytest.mark.parametrize("name", ["picture.xyz", "picture", "no_folder/picture.png", "no_folder/picture.gif", "a.gif"])
def test_bad_paths_are_input_errors(tmp_path, name):
    task = task_of(2, 1)
    sets = sets_of(task, box_directions(2))
    path = str(tmp_path / name)
    for write in (tube_plot, time_plot):
        with pytest.raises(InputError, match="plot"):
            write(path, task, sets, [])
    with pytest.raises(InputError, match="plot"):
        partition_plot(path, task, sets)
    if name != "a.gif":
        with pytest.raises(InputError, match="animation"):
            animation(path, task, sets)


@pytest.mark.parametrize("axes", [(0, 0), (0, 2), (-1, 0), (0, 1, 1)])
def test_axes_must_be_two_states(axes):
    task = task_of(2, 1)
    sets = sets_of(task, box_directions(2))
    for make in (lambda: tube_figure(task, sets, [], axes), lambda: Film(task, sets, axes)):
        with pytest.raises(InputError, match="two different states"):
            make()


def test_directions_must_hold_those_of_a_box():
    task = task_of(2, 2)
    sets = sets_of(task, even_directions(2, 5)[4:])
    for make in (tube_figure, time_figure):
        with pytest.raises(InputError, match="add"):
            make(task, sets, [])


@pytest.mark.parametrize("continuous", [False, True])
def test_one_state_is_drawn_over_time(continuous):
    wanted = (requirement(Kind.ALWAYS_IN, [0], [2]), requirement(Kind.REACH_SOME_TIME, ["-1/2"], ["1/2"]))
    task = task_of(1, 12, wanted)
    sets = sets_of(task, box_directions(1), sides=4, continuous=continuous)
    tube, time, partition, film = all_figures(task, sets, judged(task, sets))
    clock = "time (control period 0.25)" if continuous else "step"
    for figure in (tube, film):
        assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (clock, "state 1")
        assert {"must stay in", "goal"} <= labels(figure)
        assert figure.axes[0].get_xlim()[1] >= 12 * sets.period
    for figure in (tube, time, partition, film):
        assert drawn(figure).std() > 1
    assert partition.axes[0].get_xlabel() == "state 1"


def test_sides_without_width_are_not_drawn_in_partitions():
    task = task_of(3, 2)
    flat = Box(
        *(np.where([True, False, True], np.asarray(end), 0.5) for end in (task.initial.lower, task.initial.upper))
    )
    task = replace(task, initial=flat)
    partition = partition_figure(task, sets_of(task, box_directions(3), sides=2))
    assert (partition.axes[0].get_xlabel(), partition.axes[0].get_ylabel()) == ("state 1", "state 3")
    assert title(partition) == "spiral\n4 cells of the initial box"


@pytest.mark.parametrize("continuous", [False, True])
def test_bounds_that_become_infinite_are_left_out(continuous):
    task = task_of(2, 10, (STAY2,))
    sets = sets_of(task, octagon_directions(2), sides=3, continuous=continuous)
    sets.upper[7:], sets.cells_bound[0, 7:] = np.inf, np.inf
    # Some cells go on to the end; one bound is finite but far beyond everything that is simulated.
    sets.upper[6, 0] = 1e200
    if sets.during is not None:
        sets.during[5:] = np.inf
    sets = replace(sets, ended=Ended.TOO_LOOSE)
    figures = all_figures(task, sets, judged(task, sets))
    for figure in figures:
        assert drawn(figure).std() > 1
    assert title(figures[0]).endswith("too loose after step 6") and title(figures[1]).endswith("too loose after step 6")
    assert "no bounds" in figures[3].axes[0].get_title()
    assert labels(figures[2]) == {"too loose before the others"}
    assert np.isnan(cell_excess(sets)).tolist() == [True] + [False] * 8
    assert np.ptp(figures[0].axes[0].get_xlim()) < 20
    assert headline(task, replace(sets, ended=Ended.TIMED_OUT), []).endswith("no bounds after step 6: timed-out")


def test_sets_that_cover_the_picture_are_not_painted_over_the_others():
    task = task_of(2, 6, ())
    sets = sets_of(task, octagon_directions(2), sides=1)
    sets.upper[4:] = 1e3
    figures = all_figures(task, sets, [])
    plane = Plane.of(task, sets, (0, 1))
    assert [len(corners) > 0 for corners in plane.shapes(sets.upper)] == [True] * 4 + [False] * 3
    assert any("wider than the picture" in text.get_text() for text in figures[0].legends[0].get_texts())
    assert figures[3].axes[0].get_title().endswith("wider than the picture")


STAY2 = requirement(Kind.ALWAYS_IN, [-2, None], [2, 2])


def test_thousands_of_cells_and_hundreds_of_steps_are_thinned(tmp_path):
    task = task_of(2, 500, (STAY2,))
    sets = sets_of(task, octagon_directions(2), points=3000, continuous=True)
    tube = tube_figure(task, sets, [])
    assert max(len(part.get_paths()) for part in tube.axes[0].collections) <= 500
    assert len(tube.axes[0].lines) <= 80
    drawn(tube), drawn(time_figure(task, sets, []))
    task = task_of(2, 5)
    sets = sets_of(task, octagon_directions(2), sides=150)
    tube, partition = tube_figure(task, sets, []), partition_figure(task, sets)
    assert sum(len(part.get_paths()) for part in tube.axes[0].collections) <= 2000
    assert "some of the cells" in labels(tube)
    assert "20000 largest of 22500 cells" in title(partition)
    tube_plot(str(tmp_path / "tube.png"), task, sets, [])
    assert (tmp_path / "tube.png").stat().st_size < 300_000
    assert (
        thinned(1000, 10).tolist()[::9] == [0, 999] and thinned(3, 10).tolist() == [0, 1, 2] and not len(thinned(0, 3))
    )


@pytest.mark.parametrize(("continuous", "some"), [(False, False), (True, True)])
def test_missing_simulations_leave_the_sets(continuous, some):
    task = task_of(2, 5, (STAY2,))
    sets = sets_of(task, octagon_directions(2), sides=2, continuous=continuous)
    # Simulations that overflow are NaN from then on; none at all is allowed too.
    sets.samples[: 20 if some else None, 3:] = np.nan
    sets.samples[0, 2] = np.inf
    if not some:
        sets.inner[3:] = np.nan
    for figure in all_figures(task, sets, []):
        assert drawn(figure).std() > 1


def test_no_simulations_leave_the_sets():
    task = task_of(2, 5, (STAY2,))
    sets = sets_of(task, octagon_directions(2), sides=2)
    figures = all_figures(task, replace(sets, samples=sets.samples[:0], inner=np.full_like(sets.inner, np.nan)), [])
    for figure in figures:
        assert drawn(figure).std() > 1
    assert "simulated" not in labels(figures[0])


@pytest.mark.parametrize("continuous", [False, True])
def test_sets_without_width_stay_visible(continuous):
    task = task_of(2, 4, width=0.0)
    sets = sets_of(task, octagon_directions(2), slack=0.0, continuous=continuous)
    for figure in all_figures(task, sets, []):
        assert drawn(figure).std() > 1
    assert all(len(shape) for shape in Plane.of(task, sets, (0, 1)).shapes(sets.upper))
    dots = [part for part in tube_figure(task, sets, []).axes[0].collections if len(part.get_offsets()) == 5]
    assert len(dots) == 1
    assert title(partition_figure(task, sets)).endswith("is a point")
    still = replace(sets, upper=np.zeros_like(sets.upper), inner=np.zeros_like(sets.inner), samples=0 * sets.samples)
    low, high = view(replace(task, initial=Box(np.zeros(2), np.zeros(2))), replace(still, during=None))
    assert (high > low).all()


def test_no_requirements_one_step_odd_names_and_many_states():
    task = replace(task_of(26, 1), name="a $ in " + "a very long name " * 8, names=tuple("$" * 26))
    sets = sets_of(task, box_directions(26), continuous=True)
    tube, time = tube_figure(task, sets, [], (3, 0)), time_figure(task, sets, [])
    drawn(time)
    assert len(Film(task, sets).axes.get_title()) < 70
    assert "the first 24 of 26 states" in title(time)
    assert max(map(len, title(tube).splitlines())) <= 62
    assert tube_figure(replace(task, names=()), sets, []).axes[0].get_xlabel() == "x1"


def test_many_verdicts_are_counted():
    task = task_of(2, 3, (STAY2,) * 5)
    sets = sets_of(task, box_directions(2))
    verdicts = [Judgement(STAY2, outcome, 0.0, 1) for outcome in [Answer.VERIFIED] * 4 + [Answer.UNKNOWN]]
    assert headline(task, sets, verdicts) == "spiral\n4 verified, 1 unknown"


def test_polygons_are_the_intersection_of_half_planes():
    square = rectangle(np.array([-2.0, -2.0]), np.array([2.0, 2.0]))
    normals = octagon_directions(2)
    limits = np.array([[1.0] * 4 + [1.5] * 4, [1.0] * 4 + [5.0] * 4, [-3.0] + [1.0] * 7, [np.inf] * 8])
    octagon, box, nothing, everything = cut(square, normals, limits)
    assert sorted(map(tuple, np.unique(octagon, axis=0))) == sorted(
        (s * x, t * y) for x, y in ((1.0, 0.5), (0.5, 1.0)) for s in (-1, 1) for t in (-1, 1)
    )
    assert np.unique(box, axis=0).tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert np.isnan(nothing).all()
    assert np.unique(everything, axis=0).tolist() == [[-2, -2], [-2, 2], [2, -2], [2, 2]]


def test_polygons_hold_all_simulated_states():
    task = task_of(3, 9)
    sets = sets_of(task, octagon_directions(3), sides=2)
    plane = Plane.of(task, sets, (2, 0))
    for step, corners in enumerate(plane.shapes(sets.upper)):
        points, sides = plane.points(sets.samples)[:, step], np.roll(corners, -1, axis=0) - corners
        off = points[:, None] - corners
        turn = sides[:, 0] * off[..., 1] - sides[:, 1] * off[..., 0]
        assert (turn >= -1e-9).all() or (turn <= 1e-9).all()
