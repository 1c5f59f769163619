"""Environments whose dynamics are known: what a step does, what is seen and earned, and when an episode ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, quiet_overflow
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.enclosures.arithmetic import FLOATS
from admm_verify.enclosures.expressions import Expression, Number, Reader, evaluate
from admm_verify.enclosures.intervals import Interval, above, below
from admm_verify.enclosures.plants import Plant, enclosed, preconditions
from admm_verify.enclosures.rounded import ROUNDED, Rounded
from admm_verify.errors import InputError
from admm_verify.given import float64_array
from admm_verify.network.graph import Network, check_network
from admm_verify.options import Range, brief, count, instance, number, several
from admm_verify.policies.returns.network_forms import network_forms
from admm_verify.reach.inputs import set_field
from admm_verify.reprs import short_repr


@dataclass(frozen=True, eq=False)
class EnvironmentTexts:
    """Expressions in one graph; rates: None for dynamics that are a network."""

    rates: tuple[Expression, ...] | None
    reward: Expression
    observation: tuple[Expression, ...]
    ongoing: tuple[Expression, ...]
    jump: tuple[Expression, tuple[Expression, ...]] | None


@dataclass(frozen=True, eq=False, repr=False)
class KnownEnvironment:
    """x+ = f(x, u), observation h(x), reward r(x, u) of the step, and an episode that goes on while all g(x+) >= 0.

    Texts are in x1, x2, .. and u1, u2, .. as `Plant.read` takes them, with numbers `params` and abbreviations `let`.
    dynamics: a text for each state, a plant, or a network of (x, u) one after the other, as `trace_plant` makes.
    observation: a text for each number seen, None for the state itself. ongoing: a text for each g; at 0 an episode may
    end or not. actions: the inputs u of every discrete action, None for continuous actions, which are u. inputs: how
    many there are of these. least_reward: no step earns less. angles: states, from 0, of period 2 pi: a turn changes
    nothing but the number, and what is earned is the largest of r(x, u) over all turns, as of minus the square of an
    angle between -pi and pi. jump: (guard, states) in (x, u), for a wall: where the guard is not negative the next
    state is of these texts; at 0 it may be either. limit: steps after which an episode is cut off.
    Sets hold what texts say in real numbers and what float64 computes of them in the order that they are written in;
    of angles also those that whole turns away are computed with.
    Shapes: actions [actions, inputs].
    Raises: InputError for a text that cannot be read, and for sizes that do not fit.
    """

    name: str
    dynamics: Sequence[str] | Plant | Network
    reward: str
    observation: Sequence[str] | None = None
    ongoing: Sequence[str] = ()
    actions: Any = None
    inputs: int = 1
    least_reward: float = -np.inf
    angles: Sequence[int] = ()
    jump: tuple[str, Sequence[str]] | None = None
    params: Mapping[str, float] | None = None
    let: Sequence[tuple[str, str]] = ()
    limit: int | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        instance(self.name, str, "The name of an environment")
        dynamics = self.dynamics
        if isinstance(dynamics, Network):
            set_field(self, "inputs", check_network(dynamics).input_size - dynamics.output_size)
        elif isinstance(dynamics, Plant):
            if dynamics.noises:
                raise InputError(f"The plant of {self.name} reads noise, of which environments have none.")
            set_field(self, "inputs", dynamics.inputs)
        else:
            set_field(self, "dynamics", several(dynamics, str, "dynamics of an environment"))
        inputs = count(self.inputs, f"The number of inputs of {self.name}", Range(1))
        count(self.states, f"The number of states of {self.name}", Range(1))
        most = float(np.finfo(np.float64).max)
        set_field(self, "least_reward", number(self.least_reward, "The least reward", Range(-np.inf, most=most)))
        set_field(self, "angles", tuple(count(i, "An angle", Range(0, most=self.states - 1)) for i in self.angles))
        if self.limit is not None:
            count(self.limit, "The limit of steps", Range(1))
        if self.actions is not None:
            table = np.asarray(float64_array(self.actions, "table of actions"))
            if table.ndim != 2 or table.shape[1] != inputs or len(table) < 2 or not np.isfinite(table).all():
                raise InputError(
                    f"The table of actions of {self.name} has shape {table.shape}; give a row of {inputs} finite "
                    "inputs for each of two or more actions, or None where actions are continuous."
                )
            set_field(self, "actions", table)
        # Texts are read at once, so that what cannot be is refused here.
        reward = self.texts.reward
        if isinstance(reward, Number):
            self.check_earned(np.array([float(reward.value)]))

    @property
    def states(self) -> int:
        """The number n of states."""
        if isinstance(self.dynamics, Network):
            return self.dynamics.output_size
        return self.dynamics.states if isinstance(self.dynamics, Plant) else len(self.dynamics)

    @property
    def seen_numbers(self) -> int:
        """How many numbers are observed."""
        return len(self.texts.observation)

    @cached_property
    def texts(self) -> "EnvironmentTexts":
        """What the texts stand for."""
        states = [f"x{i + 1}" for i in range(self.states)]
        reader = Reader([*states, *(f"u{i + 1}" for i in range(self.inputs))], self.params, self.let)

        def read(texts: Any, what: str) -> tuple[Expression, ...]:
            return tuple(reader.read(text) for text in several(texts, str, what))

        dynamics = self.dynamics
        if isinstance(dynamics, Network):
            rates = None
        else:
            rates = dynamics.rates if isinstance(dynamics, Plant) else read(dynamics, "dynamics")
        jump = None
        if self.jump is not None:
            if isinstance(self.jump, str) or len(self.jump) != 2 or len(self.jump[1]) != self.states:
                raise InputError(
                    f"The jump of {self.name} is {brief(self.jump)}; give a pair, the text of its guard and a text for "
                    f"each of the {self.states} next states."
                )
            jump = reader.read(self.jump[0]), read(self.jump[1], "states behind a jump")
        seen = read(states if self.observation is None else self.observation, "observation of an environment")
        return EnvironmentTexts(rates, reader.read(self.reward), seen, read(self.ongoing, "conditions"), jump)

    def simulated(self, state: np.ndarray, control: np.ndarray) -> np.ndarray:
        """Next states, up to rounding, [points, n] and [points, inputs] -> [points, n]."""
        names = _named(state.T, control.T)
        if isinstance(self.dynamics, Network):
            found = np.asarray(self.dynamics.evaluate(np.concatenate([state, control], axis=1))[-1])
        else:
            found = _evaluated(self.texts.rates or (), names)
        if self.texts.jump is None:
            return found
        guard, rates = self.texts.jump
        return np.where(_evaluated([guard], names) >= 0, _evaluated(rates, names), found)

    def seen(self, state: np.ndarray) -> np.ndarray:
        """Observations, up to rounding, [points, n] -> [points, observation]."""
        return _evaluated(self.texts.observation, _named(state.T))

    def earned(self, state: np.ndarray, control: np.ndarray) -> np.ndarray:
        """Rewards, up to rounding, [points, n] and [points, inputs] -> [points]."""
        turned = np.array(state)
        for i in self.angles:
            turned[:, i] -= 2.0 * np.pi * np.round(turned[:, i] / (2.0 * np.pi))
        return _evaluated([self.texts.reward], _named(turned.T, control.T))[:, 0]

    def check_earned(self, rewards: np.ndarray) -> None:
        """Raise InputError where a step earns less than the least reward, by more than rounding."""
        least = np.min(rewards, where=~np.isnan(rewards), initial=np.inf)
        if least < self.least_reward - 1e-9 * (1.0 + abs(self.least_reward)):
            raise InputError(
                f"No step of {self.name} is said to earn less than {self.least_reward:g}, and one earns {least:g}; "
                "give a least_reward that holds, or none."
            )

    def goes_on(self, state: np.ndarray) -> np.ndarray:
        """Where an episode goes on, [points, n] -> [points]."""
        if not self.ongoing:
            return np.ones(len(state), dtype=bool)
        return np.asarray((_evaluated(self.texts.ongoing, _named(state.T)) >= 0).all(axis=1))

    def next_forms(self, state: AffineForms, control: AffineForms, far: np.ndarray | None = None) -> AffineForms:
        """Forms of the next states; not finite where they are not known.

        Shapes: state [cells, n]; control [cells, inputs]; far [n], here and below how far whole turns have moved the
        states from those that float64 computes with, None for nowhere.
        """
        if isinstance(self.dynamics, Network):
            return network_forms(self.dynamics, AffineForms.stack([*state.coordinates(), *control.coordinates()]))
        return _enclosed(self.texts.rates or (), state, control, far)

    def jump_forms(
        self, state: AffineForms, control: AffineForms, far: np.ndarray | None = None
    ) -> tuple[AffineForms, AffineForms]:
        """Forms of the jump's guard, [cells, 1], and of the next states behind it."""
        assert self.texts.jump is not None, "Only environments with a jump are asked"
        guard, rates = self.texts.jump
        return _enclosed([guard], state, control, far), _enclosed(rates, state, control, far)

    def seen_forms(self, state: AffineForms, far: np.ndarray | None = None) -> AffineForms:
        """Forms of the observations."""
        return _enclosed(self.texts.observation, state, far=far)

    def earned_forms(self, state: AffineForms, control: AffineForms, far: np.ndarray | None = None) -> AffineForms:
        """Forms whose values are not above what is earned, [cells, 1]."""
        if not self.angles:
            return _enclosed([self.texts.reward], state, control)
        # Whoever computes rewards takes whole turns off, which rounds sums and products of the size of the angle.
        size = np.max(np.maximum(*map(np.abs, state.range)), axis=0, initial=0.0) + (0.0 if far is None else far) + 4.0
        off = np.zeros(self.states)
        off[list(self.angles)] = 4.0 * DOUBLE_ROUNDOFF * size[list(self.angles)]
        return _enclosed([self.texts.reward], state, control, off=off)

    def ongoing_forms(self, state: AffineForms, far: np.ndarray | None = None) -> AffineForms:
        """Forms of the numbers that are not negative while an episode goes on."""
        return _enclosed(self.texts.ongoing, state, far=far)


def _named(state: Sequence[Any] | np.ndarray, control: Sequence[Any] | np.ndarray = ()) -> dict[str, Any]:
    given = {"x": state, "u": control}
    return {f"{name}{i + 1}": value for name, values in given.items() for i, value in enumerate(values)}


def _evaluated(expressions: Sequence[Expression], values: dict[str, np.ndarray]) -> np.ndarray:
    with quiet_overflow():
        found = evaluate(expressions, values, FLOATS)
    return np.stack([np.broadcast_to(one, values["x1"].shape) for one in found], axis=-1)


def _enclosed(
    expressions: Sequence[Expression],
    state: AffineForms,
    control: AffineForms | None = None,
    far: np.ndarray | None = None,
    off: np.ndarray | None = None,
) -> AffineForms:
    """Forms of expressions, in real numbers and as float64 computes them.

    far: how much larger the states are that float64 computes with; off: how far these are from those of the forms, both
    None for not at all. Shapes: far, off [n].
    """
    values = _named(state.coordinates(), [] if control is None else control.coordinates())
    forms = enclosed(expressions, preconditions(expressions), values)
    known = {name: Rounded.exact(value.interval) for name, value in values.items()}
    found = evaluate(expressions, known, ROUNDED)
    shape = forms.centre.shape[:-1]
    error = _errors(found if far is None and off is None else _computed(expressions, known, far, off), shape)
    radius = (forms.radius + error) * (1.0 + 4.0 * DOUBLE_ROUNDOFF)
    # Of large sets, such as where limits hold values back, intervals may know much more.
    ends = [[np.broadcast_to(end, shape) for end in (one.interval.lower, one.interval.upper)] for one in found]
    plain = Interval(*(np.stack(side, axis=-1) for side in zip(*ends, strict=True)))
    own = plain.radius if far is None and off is None else plain.radius + error
    wide = np.isfinite(radius) & (2.0 * own < forms.deviation)
    return AffineForms(
        np.where(wide, plain.middle, forms.centre),
        np.where(wide[..., None], 0.0, forms.generators),
        np.where(wide, own * (1.0 + 4.0 * DOUBLE_ROUNDOFF), radius),
    )


def _computed(
    expressions: Sequence[Expression], known: Mapping[str, Rounded], far: np.ndarray | None, off: np.ndarray | None
) -> list[Rounded]:
    """What float64 computes of expressions with states that are farther from 0, or off."""
    others = dict(known)
    for i in range(len(far if far is not None else off if off is not None else ())):
        name = f"x{i + 1}"
        error = np.zeros_like(known[name].error) + (0.0 if off is None else off[i])
        spare = error + (0.0 if far is None else far[i])
        interval = known[name].interval
        others[name] = Rounded(Interval(below(interval.lower - spare), above(interval.upper + spare)), error)
    return evaluate(expressions, others, ROUNDED)


def _errors(found: Sequence[Rounded], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([np.broadcast_to(one.error, shape) for one in found], axis=-1)
