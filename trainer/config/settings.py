"""How settings are declared, and listed by name.

A setting is declared once, with its type, default, meaning and check, in a frozen dataclass.

A subclass of `Settings` is a group of settings, and whoever uses the group is handed it:

    @dataclass(frozen=True, kw_only=True)
    class StepConfig(Settings):
        discriminator_steps: int = integer(1, at_least=1)
        \"\"\"Batches that the discriminator is trained on in each step.\"\"\"

The string below a field is its meaning, which docs/config.md shows.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from trainer.errors import TrainerError

Check = Callable[[str, Any], None]
"""(name, value) -> None, or raises a TrainerError."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings, checked when it is made.

    Raises:
      TrainerError: for the first setting that breaks its rule.
    """

    _prefix: ClassVar[str] = ""
    """What a user writes before a setting's name, such as "train."."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if check := field.metadata.get("check"):
                check(f"{self._prefix}{field.name}", getattr(self, field.name))


def _field(default: Any, check: Check) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


def integer(
    default: int | None = dataclasses.MISSING,  # type: ignore[assignment]
    *,
    at_least: int,
    below: int | None = None,
) -> Any:
    """A whole number in [at_least, below); or None, if that is the default."""

    def check(name: str, value: object) -> None:
        if value is None and default is None:
            return
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < at_least or (below is not None and value >= below):  # type: ignore[operator]
            rule = f"in [{at_least}, {below})" if below is not None else f"of at least {at_least}"
            raise TrainerError(f"{name}={value!r} must be an integer {rule}")

    return _field(default, check)


def function(default: Callable[..., Any] | None = dataclasses.MISSING) -> Any:  # type: ignore[assignment]
    """A function or class that the trainer calls; or None, if that is the default."""

    def check(name: str, value: object) -> None:
        if not (value is None and default is None):
            _check_callable(name, value)

    return _field(default, check)


def functions() -> Any:
    """A list of functions or classes that the trainer calls; empty by default."""

    def check(name: str, value: object) -> None:
        if not isinstance(value, list | tuple):
            raise TrainerError(f"{name}={value!r} must be a list, as in [@module.function]")
        for element in value:
            _check_callable(name, element)

    return _field((), check)


def optional_function(default: Callable[..., Any]) -> Any:
    """Like `function`, with a default, and None to leave it out."""

    def check(name: str, value: object) -> None:
        if value is not None:
            _check_callable(name, value)

    return _field(default, check)


def one_of(default: str, choices: tuple[str, ...]) -> Any:
    """One of `choices`."""

    def check(name: str, value: object) -> None:
        if value not in choices:
            raise TrainerError(f"{name}={value!r} is not known; choose from {', '.join(choices)}")

    return _field(default, check)


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise TrainerError(
            f"{name} holds a {type(value).__name__}, but must name a function, which the trainer "
            "calls: @module.function, without quotes or parentheses"
        )


Plain = bool | int | float | str


def flatten(group: Settings) -> dict[str, Plain]:
    """All settings by name, with those of the functions that they name, as plain values.

    A function is shown by its name, as in "losses.hinge", and its own settings follow as
    "losses.hinge.margin"; where one function occurs twice with other arguments, the second's are
    prefixed by the setting that names it. None and an empty list are shown as "none".
    """
    found: dict[str, Plain] = {}
    for field in dataclasses.fields(group):
        if field.repr:
            _flatten(field.name, getattr(group, field.name), found, field.name)
    return found


def _flatten(name: str, value: Any, found: dict[str, Plain], owner: str) -> None:
    name = name if found.get(name, _shown(value)) == _shown(value) else f"{owner}/{name}"
    found[name] = _shown(value)
    for call in calls(value):
        arguments = _defaults(call.function) | dict(call.arguments)
        for argument, bound in arguments.items():
            _flatten(f"{_short_name(call.function)}.{argument}", bound, found, owner)


def _shown(value: Any) -> Plain:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(str(_shown(element)) for element in value) or "none"
    if value is None:
        return "none"
    call = call_of(value)
    if call is None:
        return str(value)
    return f"{_short_name(call.function)}{'()' if call.evaluate else ''}"


class Call(NamedTuple):
    """A function with bound arguments, as a setting names it."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    evaluate: bool
    """Whether the setting is what the function returns, and not the function."""


def call_of(value: Any) -> Call | None:
    """The function that a setting names; None for plain values."""
    if isinstance(value, functools.partial):
        return Call(value.func, value.keywords, evaluate=False)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        arguments = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return Call(type(value), arguments, evaluate=True)
    return Call(value, {}, evaluate=False) if callable(value) else None


def calls(value: Any) -> Iterator[Call]:
    """The functions that a setting names: one, those of a list, or none."""
    for element in value if isinstance(value, list | tuple) else [value]:
        if call := call_of(element):
            yield call


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments that have defaults, and these."""
    return {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def _short_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
