"""Episodes side by side: the network sees a batch of observations, and an attack may change them first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from admm_verify.policies.play.disturbance import Disturbance, Moment
from admm_verify.policies.play.environments import EnvironmentSource
from admm_verify.policies.play.perturbations import Perturbations
from admm_verify.policies.policy import Policy
from admm_verify.run import Run, Stopped


@dataclass(frozen=True, eq=False)
class Episodes:
    """What became of episodes: undiscounted returns, NaN for those that were not finished, and steps.

    limited: whether the environment's time limit, or the one given, ended an episode.
    Shapes: returns, steps, limited [episodes, ..].
    """

    returns: np.ndarray
    steps: np.ndarray
    limited: np.ndarray

    @property
    def finished(self) -> np.ndarray:
        """Which episodes were played to their end."""
        return ~np.isnan(self.returns)

    @property
    def worst(self) -> "Episodes":
        """Along the last axis the episode of least return that was finished."""
        least = np.argmin(np.where(self.finished, self.returns, np.inf), axis=-1)[..., None]
        return Episodes(*(np.take_along_axis(part, least, axis=-1)[..., 0] for part in self._parts))

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.returns, self.steps, self.limited

    def shaped(self, *shape: int) -> "Episodes":
        """The same episodes under other axes."""
        return Episodes(*(part.reshape(shape) for part in self._parts))


@dataclass
class Visited:
    """Observations met on the way, of which `most` are kept: every one with the same chance, drawn by a seed.

    Reference: Vitter, Random sampling with a reservoir, ACM Trans. Math. Software 11, 1985, algorithm R.
    """

    most: int
    seed: int
    kept: list[np.ndarray] = field(default_factory=list)
    met: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def add(self, observations: np.ndarray) -> None:
        """Meet observations [batch, inputs]."""
        places = self._rng.integers(0, self.met + 1 + np.arange(len(observations)))
        for place, one in zip(places.tolist(), observations, strict=True):
            if len(self.kept) < self.most:
                self.kept.append(one)
            elif place < self.most:
                self.kept[place] = one
        self.met += len(observations)

    @property
    def observations(self) -> np.ndarray:
        """Those that are kept, [states, inputs]."""
        return np.stack(self.kept)


@dataclass(frozen=True)
class Lane:
    """One episode, under noise of the radius of a number, in one of the variants of an attack."""

    episode: int
    row: int = 0
    variant: int = 0


@dataclass(eq=False)
class _Running:
    """An episode on its way."""

    lane: Lane
    number: int
    environment: Any
    observation: Any
    total: float = 0.0
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Playing:
    """What episodes are played with: at most so many steps each, seeds counted on from one."""

    policy: Policy
    source: EnvironmentSource
    noise: Perturbations
    steps: int
    seed: int

    def play(
        self, lanes: Sequence[Lane], disturb: Disturbance | None, run: Run, visited: Visited | None = None
    ) -> Episodes:
        """Play episodes to their ends; those that are on their way once the run is over stay unfinished.

        Shapes: results [lanes].
        Raises: InputError where the environment fails, or returns what the policy does not read.
        """
        count, done, what = len(lanes), 0, "without noise" if disturb is None else f"attack {disturb.name}"
        found = Episodes(np.full(count, np.nan), np.zeros(count, dtype=int), np.zeros(count, dtype=bool))
        rng = np.random.default_rng(self.seed)
        for first in range(0, count, self.source.width):
            if run.over():
                break
            numbered = enumerate(lanes[first : first + self.source.width], first)
            running = [_Running(one, i, *self.source.begin(one.episode, self.seed)) for i, one in numbered]
            while running and not run.over():
                try:
                    over = self._step(running, disturb, rng, visited)
                except Stopped:
                    # In the middle of a pass through a large network.
                    break
                for one, limited in zip(running, over, strict=True):
                    if limited is not None:
                        found.returns[one.number], found.steps[one.number] = one.total, one.steps
                        found.limited[one.number] = limited
                        self.source.end(one.environment)
                        done += 1
                        run.say(f"{what}: {done} of {count} episodes", done, count)
                running = [one for one, limited in zip(running, over, strict=True) if limited is None]
            for one in running:
                self.source.end(one.environment)
        return found

    def _step(
        self, running: list[_Running], disturb: Disturbance | None, rng: np.random.Generator, visited: Visited | None
    ) -> list[bool | None]:
        """One step of every episode: None where it goes on, else whether a time limit ended it."""
        source = self.source
        observations = source.interface.observations([one.observation for one in running])
        if visited is not None:
            visited.add(observations)
        if disturb is not None:
            near = self.noise.near(observations, np.array([one.lane.row for one in running]))
            variants = np.array([one.lane.variant for one in running])
            moment = Moment(self.policy, near, variants, rng, source, [one.environment for one in running])
            observations = near.inside(disturb(moment))
        over: list[bool | None] = []
        for one, chosen in zip(running, self.policy(observations), strict=True):
            taken = source.step(one.environment, source.interface.action(chosen))
            one.observation, one.total, one.steps = taken.observation, one.total + taken.reward, one.steps + 1
            limited = not taken.over and (taken.cut or one.steps >= self.steps)
            over.append(limited if taken.over or limited else None)
        return over
