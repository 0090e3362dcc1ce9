"""What the config of a run may name: the functions and classes that are marked `configurable`.

A run's directory may come from anyone, and gin by itself can import, bind and call any code on this
machine. So `read` takes the config of a run through gin's own parser, which evaluates nothing but
literals, before gin does. A config that a user names with --gin_file is as free as gin is.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any, TypeVar

from gin import config_parser

from trainer import files
from trainer.errors import TrainerError, first_line

_Function = TypeVar("_Function")

MAX_CHARACTERS = 200_000
"""Length of the longest config of a run; those that ship take 5,000 at most."""

_OURS = re.compile(r"trainer(\.[a-z]\w*)+", re.ASCII)
_MARKED: set[object] = set()


def configurable(function: _Function) -> _Function:
    """Marks a function or class that the config of a run may name, and so call with any arguments.

    Anyone may have written that config: mark nothing that deletes files or runs code.
    """
    _MARKED.add(function)
    return function


def find(module: str, name: str) -> Any:
    """The marked function of that name that is defined in a module of ours; None if there is none.

    A module that is not ours is not imported.
    """
    if not _OURS.fullmatch(module):
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
        return found if found in _MARKED and found.__module__ == module else None
    except (ImportError, TypeError):  # TypeError: what cannot be in a set
        return None


def read(path: str) -> str:
    """The config of a run, which imports and names nothing but what is marked.

    Raises:
      TrainerError: naming the first thing that it may not hold, or why it cannot be read.
    """
    delegate = _References()
    modules: dict[str, str] = {}
    try:
        text = files.read_text(path, at_most=MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"longer than {MAX_CHARACTERS:,} characters")
        for statement in config_parser.ConfigParser(text, delegate):
            if foreign := _foreign(statement, modules, delegate.names):
                raise TrainerError(
                    f"{path} uses {foreign}, which the config of a run may not; if you trust that "
                    f"file, name it: --gin_file={path}"
                )
            delegate.names.clear()
    except (OSError, TrainerError):
        raise
    except Exception as error:  # of the decoder, the tokenizer, or a literal nested too deep
        raise TrainerError(
            f"{path} is damaged ({first_line(error) or type(error).__name__}): restore it, or "
            "begin anew in another --model_dir"
        ) from error
    return text


def _foreign(
    statement: Any, modules: dict[str, str], references: list[tuple[str, bool]]
) -> str | None:
    """What a statement uses without being allowed to; adds what it imports to `modules`.

    What is called while the config is read, `@schedules.Cosine()`, must be a dataclass.
    """
    if isinstance(statement, config_parser.IncludeStatement):
        return f"include '{statement.filename}'"
    if isinstance(statement, config_parser.ImportStatement):
        if statement.module == "__gin__.dynamic_registration":
            return None
        bound = statement.bound_name()
        if not _OURS.fullmatch(statement.module) or bound == "trainer":
            return statement.module
        return None if modules.setdefault(bound, statement.module) == statement.module else bound
    used = list(references)
    if not (isinstance(statement, config_parser.BindingStatement) and not statement.arg_name):
        used.append((statement.selector, False))  # else it gives a macro its value
    for name, evaluate in used:
        local, _, function = name.rpartition("/")[2].rpartition(".")
        found = find(modules.get(local, ""), function)
        if found is None or (evaluate and not dataclasses.is_dataclass(found)):
            return f"@{name}()" if evaluate else name
    return None


class _References(config_parser.ParserDelegate):
    """Collects the names that values refer to, and gives gin's parser nothing for them."""

    def __init__(self) -> None:
        self.names: list[tuple[str, bool]] = []

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> None:
        self.names.append((scoped_configurable_name, evaluate))

    def macro(self, macro_name: str) -> None:
        """A macro's value is checked where it is bound."""
