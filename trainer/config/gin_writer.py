"""Settings made in Python, written as gin text that gives the same settings when it is read."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from trainer.config.settings import Call, Settings, call_of, calls
from trainer.errors import TrainerError


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
        for call in calls(value):
            if call.arguments not in self._uses[call.function]:
                self._uses[call.function].append(call.arguments)
            for argument in call.arguments.values():
                self._count(argument)

    def _rendered(self, value: Any, path: str) -> str:
        if isinstance(value, list | tuple):
            parts = [self._rendered(x, f"{path}_{i}") for i, x in enumerate(value)]
            return f"[{', '.join(parts)}]"
        if call := call_of(value):
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

    def _reference(self, call: Call, path: str) -> str:
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
