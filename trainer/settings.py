"""How settings are declared, listed by name, and written as gin text.

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
import importlib
import inspect
import math
from collections import defaultdict
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
    """A whole number of at least `at_least`, and less than `below`; or None, if that is the default."""

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
    for call in _calls(value):
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
    call = _call_of(value)
    if call is None:
        return str(value)
    return f"{_short_name(call.function)}{'()' if call.evaluate else ''}"


class _Call(NamedTuple):
    """A function with bound arguments, as a setting names it."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    evaluate: bool
    """Whether the setting is what the function returns, and not the function."""


def _call_of(value: Any) -> _Call | None:
    """The function that a setting names; None for plain values."""
    if isinstance(value, functools.partial):
        return _Call(value.func, value.keywords, evaluate=False)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        arguments = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return _Call(type(value), arguments, evaluate=True)
    return _Call(value, {}, evaluate=False) if callable(value) else None


def _calls(value: Any) -> Iterator[_Call]:
    for element in value if isinstance(value, list | tuple) else [value]:
        if call := _call_of(element):
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


def gin_text(group: Settings, selector: str) -> str:
    """Settings made in Python as gin text that gives the same ones when it is read.

    Args:
      group: The settings.
      selector: What the text binds, such as "trainer.experiment.train".

    Raises:
      TrainerError: naming the setting that gin text cannot hold, such as a function that is
        defined in a notebook and that no other program can import.
    """
    return _GinText(group).write(selector)


class _GinText:
    """Gin text of one group of settings."""

    def __init__(self, group: Settings) -> None:
        self._fields = {f.name: getattr(group, f.name) for f in dataclasses.fields(group) if f.repr}
        self._modules: dict[str, str] = {}  # full name -> name in the text
        self._bindings: dict[str, dict[str, str]] = {}
        self._uses: dict[Callable[..., Any], list[Mapping[str, Any]]] = defaultdict(list)
        for value in self._fields.values():
            self._count(value)

    def write(self, selector: str) -> str:
        module, _, name = selector.rpartition(".")
        root = f"{self._module(module)}.{name}"
        self._bindings[root] = {}
        for field, value in self._fields.items():
            self._bindings[root][field] = self._rendered(value, field)
        lines = ["from __gin__ import dynamic_registration"]
        for full, local in sorted(self._modules.items()):
            package, _, last = full.rpartition(".")
            alias = "" if local == last else f" as {local}"
            lines.append(f"from {package} import {last}{alias}" if package else f"import {full}")
        for function, arguments in self._bindings.items():
            if arguments:
                lines.append("")
            lines += [f"{function}.{name} = {value}" for name, value in arguments.items()]
        return "\n".join(lines) + "\n"

    def _count(self, value: Any) -> None:
        """Records the argument sets that each function is used with."""
        for call in _calls(value):
            if call.arguments not in self._uses[call.function]:
                self._uses[call.function].append(call.arguments)
            for argument in call.arguments.values():
                self._count(argument)

    def _rendered(self, value: Any, path: str) -> str:
        if isinstance(value, list | tuple):
            parts = [self._rendered(x, f"{path}_{i}") for i, x in enumerate(value)]
            return f"[{', '.join(parts)}]"
        if call := _call_of(value):
            if isinstance(value, functools.partial) and value.args:
                raise TrainerError(f"{path}: a partial must bind its arguments by name")
            return self._reference(call, path)
        plain = value is None or isinstance(value, bool | int | str)
        if plain or (isinstance(value, float) and math.isfinite(value)):
            return repr(value)
        raise TrainerError(
            f"{path}={value!r} is a {type(value).__name__}, which a config cannot hold; use a "
            "number, a string, a list, or a function"
        )

    def _reference(self, call: _Call, path: str) -> str:
        selector = f"{self._importable(call.function, path)}.{call.function.__qualname__}"
        # A function that occurs with different arguments is bound in a scope for each of them.
        several = len(self._uses[call.function]) > 1
        scoped = f"{path.replace('.', '_')}/{selector}" if several and call.arguments else selector
        self._bindings[scoped] = {
            name: self._rendered(value, f"{path}.{name}") for name, value in call.arguments.items()
        }
        return f"@{scoped}{'()' if call.evaluate else ''}"

    def _importable(self, function: Callable[..., Any], path: str) -> str:
        """The name in the text of the function's module."""
        name = getattr(function, "__qualname__", "")
        module = getattr(function, "__module__", None) or ""
        found: Any = None
        if module != "__main__" and name and "<" not in name:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part, None)
        if found is not function:
            where = "this notebook" if module == "__main__" else f"a function of {module}"
            raise TrainerError(
                f"{path} is {name or repr(function)}, defined in {where}, where the command line "
                "cannot find it to resume the run; put it into a module of its own, or build with "
                "notebook_only=True"
            )
        return self._module(module)

    def _module(self, full: str) -> str:
        if full not in self._modules:
            last = full.rpartition(".")[2]
            taken = last in self._modules.values() or last == "gin"
            self._modules[full] = full.replace(".", "_") if taken else last
        return self._modules[full]
