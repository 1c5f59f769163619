"""The check that tests put on calls: arrays have the annotated dtypes and shapes."""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

MODULES = [
    *(f"admm_verify.{room}" for room in ("sets", "relaxations", "bounds")),
    *(f"admm_verify.network.{module}" for module in ("graph", "maps")),
    "admm_verify.backends.verbs",
    *(f"admm_verify.splitting.{module}" for module in ("problem", "solution", "sweeps")),
]
"""Modules, and rooms with all of theirs, whose functions and records are checked."""


def install() -> None:
    """Check all calls of modules that are imported from here on."""
    install_import_hook(MODULES, f"{__name__}.{checked.__name__}")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with a check of its annotations of arrays; all others are the type checker's."""
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _of_arrays(hint)}
    return beartype(function)


def _of_arrays(hint: object) -> bool:
    return any(map(_of_arrays, get_args(hint))) or (isinstance(hint, type) and issubclass(hint, AbstractArray))
