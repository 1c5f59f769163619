"""What pictures are drawn from and with, checked before anything is drawn."""

import os
from collections.abc import Sequence

import numpy as np

from admm_verify.errors import InputError, MissingPackageError, is_installed
from admm_verify.options import Range, brief, count, instance, several
from admm_verify.reach.judgement import Judgement
from admm_verify.reach.sets import ReachSets
from admm_verify.reach.systems import Task


def require_matplotlib() -> None:
    """Raises: MissingPackageError where pictures cannot be drawn."""
    if not is_installed("matplotlib"):
        raise MissingPackageError('Pictures need matplotlib: pip install "admm-verify[plot]".')


def check_drawn(task: Task, sets: ReachSets, judgements: Sequence[Judgement] = ()) -> None:
    """Refuse sets and judgements of another task.

    Raises: InputError for those, and for things of another kind; MissingPackageError without matplotlib.
    """
    require_matplotlib()
    states = instance(task, Task, "The task", ", such as av.read_task(path)").system.states
    if instance(sets, ReachSets, "The sets").directions.shape[1] != states:
        raise InputError(f"The sets are of {sets.directions.shape[1]} states, the task of {states}.")
    if sets.steps != task.steps:
        raise InputError(f"The sets are of {sets.steps} steps, the task of {task.steps}.")
    for judgement in several(judgements, Judgement, "judgements"):
        path = judgement.trajectory
        if path is not None and np.shape(path) != (task.steps + 1, states):
            raise InputError(f"A violating trajectory has shape {np.shape(path)}, not ({task.steps + 1}, {states}).")


def checked_axes(axes: object, states: int, what: str = "states") -> tuple[int, int]:
    """Two different states, or whatever else there are so many of, counted from 0.

    Raises: InputError for anything else.
    """
    given = axes.tolist() if isinstance(axes, np.ndarray) else axes
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise InputError(f"The axes are {brief(axes)}; give two different {what} from 0 to {states - 1}.")
    first, second = (count(axis, f"An axis of two different {what}", Range(0, most=states - 1)) for axis in given)
    if first == second:
        raise InputError(f"The axes are {brief(axes)}; give two different {what} from 0 to {states - 1}.")
    return first, second


def checked_path(path: object, formats: Sequence[str], what: str) -> str:
    """The name of a file with one of some suffixes.

    Raises: InputError for anything else.
    """
    name = os.fspath(instance(path, (str, os.PathLike), f"The file of the {what}"))
    if os.path.splitext(name)[1].lower() not in formats:
        raise InputError(f"The {what} {name} has another suffix; end its name in one of {', '.join(formats)}.")
    return name
