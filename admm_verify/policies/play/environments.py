"""Environments that policies are played in: of gymnasium by their name, or any object with reset and step."""

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from admm_verify.errors import InputError, MissingPackageError, is_installed
from admm_verify.options import brief
from admm_verify.policies.play.interface import Interface
from admm_verify.policies.policy import Policy

_EXAMPLE = "av.evaluate_policy(policy, 'CartPole-v1', [0.01])"


@dataclass(frozen=True, eq=False)
class Transition:
    """What one step leads to. over: the environment says that the episode ended; cut: its time limit ended it."""

    observation: Any
    reward: float
    over: bool
    cut: bool


@dataclass(frozen=True, eq=False)
class EnvironmentSource:
    """Where episodes come from: one environment, as many of it as episodes run side by side.

    name: what it is called. make: gives another one, None where there is only `first`. seeded: whether its reset takes
    a seed; without, episode e starts where the e-th reset of a copy does. interface: how policies meet it. owned:
    whether environments are made for this, no copies; registered: by their id in gymnasium. notes: what was taken for
    granted, in words.
    """

    name: str
    first: Any
    make: Callable[[], Any] | None
    seeded: bool
    interface: Interface
    owned: bool
    registered: bool
    notes: tuple[str, ...] = ()
    _spare: list[Any] = field(default_factory=list)
    _made: list[Any] = field(default_factory=list)
    _begun: list[tuple[Any, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, given: Any, policy: Policy) -> "EnvironmentSource":
        """The source of an environment that policies can be played in.

        given: the id of an environment of gymnasium; an object with `reset` and `step` as gymnasium's have (also as
        they were in gym); or a function without arguments that makes such objects.
        Raises: InputError for anything else, and where observations or actions are not those of the policy;
        MissingPackageError without gymnasium, or without what its environment needs.
        """
        notes: tuple[str, ...] = ()
        owned = True
        if isinstance(given, str):
            name, make, notes = _registered(given)
        elif isinstance(given, type) or not (hasattr(given, "reset") and hasattr(given, "step")):
            name, make = _factory(given)
        else:
            name, make, owned = environment_name(given), _copier(given), False
        first: Any = given if make is None else _next(name, make)
        made = [first] if owned else []
        try:
            interface = Interface.of(name, first, policy)
        except InputError:
            for one in made:
                _close(one, name)
            raise
        seeded = _takes_seed(first.reset)
        spare = [first] if seeded else []
        told = (*notes, *interface.notes)
        return cls(name, first, make, seeded, interface, owned, isinstance(given, str), told, spare, made)

    @property
    def width(self) -> int:
        """How many episodes can run side by side."""
        return _TOGETHER if self.make is not None else 1

    @property
    def repeats(self) -> bool:
        """Whether an episode can be played again from its very beginning."""
        return self.seeded or self._copies(self.first)

    def begin(self, episode: int, seed: int) -> tuple[Any, Any]:
        """An environment at the beginning of an episode, and its first observation.

        Raises: InputError where its reset fails.
        """
        if self.seeded or not self.repeats:
            one = self._another()
            return one, self._reset(one, {"seed": seed + episode} if self.seeded else {})
        while len(self._begun) <= episode:
            last = deepcopy(self._begun[-1][0] if self._begun else self.first)
            self._begun.append((last, self._reset(last, {})))
        begun, observation = self._begun[episode]
        return deepcopy(begun), observation

    def end(self, one: Any) -> None:
        """Hand back an environment whose episode is over."""
        if self.seeded:
            self._spare.append(one)

    def step(self, one: Any, action: Any) -> Transition:
        """One step of an environment.

        Raises: InputError where it fails, or returns something else than steps do.
        """
        try:
            found = one.step(action)
        except Exception as error:
            raise InputError(
                f"{self.name} raised {type(error).__name__} in its step with the action {brief(action)}: {error}. "
                "Mend the environment, or give another one."
            ) from error
        return self._transition(found)

    def close(self) -> None:
        """Close all environments that were made here; copies share what they have with the caller's own."""
        for one in self._made:
            _close(one, self.name)

    def _another(self) -> Any:
        if self._spare:
            return self._spare.pop()
        if self.make is None:
            return self.first
        one = _next(self.name, self.make)
        if self.owned:
            self._made.append(one)
        return one

    def _reset(self, one: Any, seed: dict[str, int]) -> Any:
        try:
            found = one.reset(**seed)
        except Exception as error:
            raise InputError(
                f"{self.name} raised {type(error).__name__} in its reset: {error}. Mend the environment, or give "
                "another one."
            ) from error
        return found[0] if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict) else found

    def _transition(self, found: Any) -> Transition:
        if not isinstance(found, tuple) or len(found) not in (4, 5):
            raise InputError(
                f"The step of {self.name} returned {brief(found)}; it has to return a tuple (observation, reward, "
                "terminated, truncated, info) as environments of gymnasium do."
            )
        observation, reward, over, *more = found
        # Environments of gym tell of their time limit among the notes.
        notes = more[0] if isinstance(more[0], dict) else {}
        told = more[0] if len(found) == 5 else notes.get("TimeLimit.truncated", False)
        ended, cut = self._truth(over, "terminated"), self._truth(told, "truncated")
        try:
            number = float(np.asarray(reward, dtype=np.float64).reshape(()))
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise InputError(
                f"The step of {self.name} returned the reward {brief(reward)}, which is no finite number. Mend the "
                "environment, or give another one."
            )
        return Transition(observation, number, ended and not (len(found) == 4 and cut), cut)

    def _truth(self, value: Any, what: str) -> bool:
        """Whether an episode ended, as a step tells it. Raises: InputError for anything but a truth value."""
        told = np.asarray(value)
        if told.size != 1 or told.dtype.kind not in "biuf" or told.reshape(()) not in (0, 1):
            raise InputError(
                f"The step of {self.name} returned {brief(value)} for {what}, where True or False belongs. Mend the "
                "environment, or give another one."
            )
        return bool(told.reshape(()))

    @staticmethod
    def _copies(one: Any) -> bool:
        return copied(one) is not None


_TOGETHER = 32
"""Episodes side by side: the network sees as many rows, and no more are lost when the time is up."""


def _next(name: str, make: Callable[[], Any]) -> Any:
    """Another environment. Raises: InputError where there is none."""
    try:
        one = make()
    # Makers of environments are foreign code.
    except Exception as error:
        raise InputError(
            f"What makes {name} raised {type(error).__name__} when it was asked for another one: {error}."
        ) from error
    if not (hasattr(one, "reset") and hasattr(one, "step")):
        raise InputError(f"What makes {name} made {brief(one)} the next time, which has no reset and step.")
    return one


def _close(one: Any, name: str) -> None:
    """Close an environment. Raises: InputError where that fails."""
    close = getattr(one, "close", None)
    try:
        if callable(close):
            close()
    except Exception as error:
        raise InputError(
            f"{name} raised {type(error).__name__} in its close: {error}. Mend the environment, or give another one."
        ) from error


def copied(one: Any) -> Any:
    """A copy of an environment that goes on from where it stands, None where it cannot be copied."""
    try:
        return deepcopy(one)
    # What foreign objects raise may be anything.
    except Exception:
        return None


def environment_name(one: Any) -> str:
    """What an environment is called: its id in gymnasium, else its class."""
    spec = getattr(one, "spec", None)
    return str(getattr(spec, "id", None) or type(one).__name__)


def _takes_seed(reset: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(one.name == "seed" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def _factory(given: Any) -> tuple[str, Callable[[], Any]]:
    """The name of what a function makes, and the function."""
    if not callable(given):
        raise InputError(
            f"The environment is {brief(given)}; give the id of one of gymnasium, as in {_EXAMPLE}, an object with "
            "reset and step, or a function that makes one."
        )
    try:
        one = given()
    except Exception as error:
        raise InputError(
            f"The function that makes environments, {brief(given)}, raised {type(error).__name__}: {error}."
        ) from error
    if not (hasattr(one, "reset") and hasattr(one, "step")):
        raise InputError(
            f"The function that makes environments, {brief(given)}, made {brief(one)}, which has no reset and step."
        )
    return environment_name(one), given


def _copier(given: Any) -> Callable[[], Any] | None:
    """Copies of an environment, so that the caller's own stays as it is; None where it cannot be copied."""
    return None if copied(given) is None else lambda: deepcopy(given)


def _registered(name: str) -> tuple[str, Callable[[], Any], tuple[str, ...]]:
    """A registered environment of gymnasium: its full id, what makes it, and what gymnasium warns of.

    Raises: InputError for an unknown one, MissingPackageError where gymnasium or what the environment needs is missing.
    """
    if not is_installed("gymnasium"):
        raise MissingPackageError(
            f"The environment {name} is one of gymnasium, which is not installed: pip install 'admm-verify[rl]'. In "
            "Python an object with reset and step may be given instead; recorded observations need no environment "
            "(--observations FILE.npy)."
        )
    import gymnasium

    def make() -> Any:
        with _noted([]):
            return gymnasium.make(name, disable_env_checker=True)

    warned: list[str] = []
    try:
        with _noted(warned):
            one = gymnasium.make(name, disable_env_checker=True)
        full = environment_name(one)
        one.close()
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingPackageError(f"The environment {name} needs a package that is not installed: {error}.") from error
    except gymnasium.error.DeprecatedEnv as error:
        raise InputError(
            f"gymnasium {gymnasium.__version__} has no {name} any more: {error} Name that one if its dynamics, which "
            "may be others than those the policy was trained in, are what you mean."
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise InputError(
            f"gymnasium knows no environment {name}: {error} {_near(name, list(gymnasium.registry))}"
        ) from error
    # Makers of environments are foreign code.
    except Exception as error:
        raise InputError(f"The environment {name!r} cannot be made: {type(error).__name__}: {error}.") from error
    return full, make, tuple(f"gymnasium: {text}" for text in warned)


@contextmanager
def _noted(texts: list[str]) -> Iterator[None]:
    """Take up what gymnasium warns of while it makes an environment, as of an old version."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for one in found:
        plain = re.sub(r"\x1b\[\d*m", "", str(one.message))
        if plain.startswith("WARN: "):
            texts.append(plain.removeprefix("WARN: "))


def _near(name: str, known: Sequence[str]) -> str:
    """Names that are nearly the one that was given."""
    lowered = {one.lower(): one for one in known}
    found = [lowered[one] for one in get_close_matches(name.lower(), lowered, n=3)]
    return f"Near it are {', '.join(found)}." if found else "gymnasium.pprint_registry() lists all of them."
