"""gin files: found, read strictly, and turned into plain Python.

`load` reads files and bindings, and returns the function that they configure with its arguments
bound: every `@function` of the config has become that function, or a `functools.partial` of it.
gin's own state is empty before and after.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import gin
from absl import logging as absl_logging
from gin.config import ConfigurableReference

from trainer import files
from trainer.config import registry
from trainer.errors import TrainerError, did_you_mean, first_line

FILE_NAME = "config.gin"
"""The config of a run, in its model_dir."""
ROOT = "train"
"""The configurable that a config is about, as in `train.num_epochs`."""

NOTEBOOK_ONLY = """# This run was built in a notebook, with notebook_only=True, from functions that
# only the notebook defines. Build the same Experiment there to go on with it.
"""
"""The config of a run that gin cannot describe."""

_READING_ERRORS = (
    ValueError,
    SyntaxError,
    LookupError,
    ImportError,
    AttributeError,
    NameError,
    OSError,
)
_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package where it was installed from a wheel, beside it in a source checkout.
CONFIG_DIR = next(
    (d for d in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if d.is_dir()),
    _PACKAGE.parent / "configs",
)


class Config(NamedTuple):
    """A config that was read."""

    make: Callable[..., Any]
    """What `train` names, with its bindings as arguments."""
    text: str
    """All bindings, as gin text that can be read again."""


def available() -> list[str]:
    """The shipped config files, as --gin_file takes them."""
    return sorted(p.relative_to(CONFIG_DIR).as_posix() for p in CONFIG_DIR.rglob("*.gin"))


def experiments() -> list[list[str]]:
    """--gin_file of each shipped experiment: the bases, and the overlays over mnist.gin."""
    names = [name for name in available() if not name.startswith("hardware/")]
    return [["mnist.gin", name] if "/" in name else [name] for name in names]


def run_name(gin_files: Sequence[str]) -> str:
    """The name of a run: its files' names, without hardware overlays unless there is nothing else.

    Hardware does not change what a run computes.
    """
    paths = [PurePosixPath(name) for name in gin_files]
    deciding = [path for path in paths if path.parent.name != "hardware"]
    return "-".join(path.stem for path in deciding or paths)


def find(name: str) -> str:
    """The path of a gin file: as given (gs:// too) if it exists, else within configs/.

    Raises:
      TrainerError: naming the closest files that exist.
    """
    if files.is_file(name):
        return name
    shipped = CONFIG_DIR / name
    if shipped.is_file():
        return str(shipped)
    here = [path.name for path in Path.cwd().glob("*.gin")]
    raise TrainerError(
        f"--gin_file={name} is neither a file nor one of the shipped configs; "
        f"{did_you_mean(name, [*available(), *here])}"
    )


def find_all(names: Iterable[str]) -> list[str]:
    """The paths of gin files, as `find` gives them.

    Commands call it before they import TensorFlow, which takes seconds.
    """
    return [find(name) for name in names]


def find_saved(model_dir: str | None) -> str:
    """The path of the config of the run in `model_dir`.

    Raises:
      TrainerError: if there is none.
    """
    if model_dir is None:
        raise TrainerError(
            "name a config with --gin_file, or a run with --model_dir; "
            f"{did_you_mean('', available())}"
        )
    path = f"{model_dir}/{FILE_NAME}"
    if not files.is_file(path):
        raise TrainerError(
            f"{model_dir} holds no {FILE_NAME}, so it is no run; name a run's directory, or train "
            "one with --gin_file"
        )
    return path


def load(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> Config:
    """Reads gin files, then `name=value` bindings over them.

    Raises:
      TrainerError: one line naming the file, name or value at fault and the closest valid ones.
    """
    paths = find_all(gin_files)
    try:
        _parse(paths, gin_params)
        return _resolved()
    finally:
        gin.clear_config()


def load_saved(model_dir: str | None, gin_params: Sequence[str] = ()) -> Config:
    """Reads the config of the run in `model_dir`, which may name only what is `configurable`.

    A run's directory may come from anyone: see `trainer.config.registry`.

    Raises:
      TrainerError: as `load` and `find_saved` do, or naming what it may not name.
    """
    path = find_saved(model_dir)
    text = registry.read(path)
    if text == NOTEBOOK_ONLY:
        raise TrainerError(
            f"{model_dir} was built in a notebook with notebook_only=True, from functions that "
            "only the notebook defines; build the same Experiment there to go on with it"
        )
    try:
        _parse([], gin_params, text)
        return _resolved()
    finally:
        gin.clear_config()


def save(model_dir: str, text: str) -> None:
    """Writes a config to `model_dir/config.gin`, and logs what changes there."""
    path = f"{model_dir}/{FILE_NAME}"
    if files.is_file(path):
        for line in changed_lines(files.read_text(path), text):
            absl_logging.warning("config differs from the run's last start: %s", line)
    files.write_file(path, text)


def changed_lines(before: str, after: str) -> list[str]:
    """Bindings that differ between two config texts, as '- old' and '+ new' lines."""
    old, new = (
        [line for line in t.splitlines() if line and not line.startswith("#")]
        for t in (before, after)
    )
    return [line for line in difflib.ndiff(old, new) if line[0] in "-+"]


@functools.cache
def _set_up() -> None:
    gin.config.register_file_reader(files.open_remote, files.is_remote_file)
    gin.add_config_file_search_path(str(CONFIG_DIR))  # for include


def _parse(paths: Sequence[str], gin_params: Sequence[str], text: str = "") -> None:
    """Reads a config, and the text of one, into gin's state."""
    _set_up()
    gin.clear_config()
    logging.disable(logging.CRITICAL)  # gin logs an error for each place where a file is not
    try:
        gin.parse_config(text)
        gin.parse_config_files_and_bindings(paths, gin_params, print_includes_and_imports=False)
    except _READING_ERRORS as error:
        raise TrainerError(_explain(error)) from error
    finally:
        logging.disable(logging.NOTSET)


def _resolved() -> Config:
    """gin's state as plain Python."""
    add_base = "add a base config, such as --gin_file=mnist.gin, before any overlay"
    try:
        make = _resolve(ConfigurableReference(ROOT, evaluate=False), "")
    except ValueError as error:
        raise TrainerError(f"the config binds nothing of {ROOT}: {add_base}") from error
    bound = getattr(make, "keywords", {})
    required = [p.name for p in _parameters(ROOT) if p.default is p.empty]
    if missing := [f"{ROOT}.{name}" for name in required if name not in bound]:
        raise TrainerError(f"the config leaves {', '.join(missing)} open: {add_base}")
    return Config(make, gin.config_str(max_line_length=100))


def _bindings(scoped_selector: str) -> Iterator[tuple[str, Any]]:
    """The arguments that the config binds, by name."""
    scopes = scoped_selector.rpartition("/")[0]
    for name, value in gin.get_bindings(scoped_selector, resolve_references=False).items():
        yield name, _resolve(value, scopes)


def _resolve(value: Any, scopes: str) -> Any:
    """A bound value without gin: references become functions, or what these return."""
    if isinstance(value, ConfigurableReference):
        inner = "/".join(value.scopes) or scopes
        key = f"{inner}/{value.configurable.selector}" if inner else value.configurable.selector
        function = value.configurable.wrapped
        arguments = dict(_bindings(key))
        if value.evaluate:
            try:
                return function(**arguments)
            except (TypeError, ValueError) as error:
                raise TrainerError(f"@{key}() fails: {first_line(error)}") from error
        return functools.partial(function, **arguments) if arguments else function
    if isinstance(value, list | tuple):
        return type(value)(_resolve(element, scopes) for element in value)
    if isinstance(value, dict):
        return {key: _resolve(element, scopes) for key, element in value.items()}
    return value


def _explain(error: Exception) -> str:
    """gin's message in one line, with the closest valid names."""
    lines = str(error).replace("\\n", "\n").splitlines()  # a KeyError's text escapes its line ends
    message = " ".join(line.strip() for line in lines if line.strip())
    if match := re.search(r"No configurable matching '([^']+)'", message):
        return f"{message}; {did_you_mean(match[1], _configurables())}"
    if "No configurable matching reference" in message:
        if "In bindings string" in message:
            return f"{message}; --gin_param imports nothing: bind it in a gin file that does"
        return (
            f"{message}; begin its file with `from __gin__ import dynamic_registration` and import "
            "its module"
        )
    if match := re.search(
        r"Configurable '([^']+)' doesn't have a parameter named '([^']+)'", message
    ):
        names = [parameter.name for parameter in _parameters(match[1])]
        return f"{message}; {did_you_mean(match[2], names)}"
    if "gin.macro" in message:
        names = re.findall(r"'([^']+)/gin.macro'", message)
        return f"macro %{', %'.join(names)} is used in the config but never given a value"
    return f"config error: {message}"


def _configurables() -> list[str]:
    names = re.findall(r"^(?:.*/)?([\w.]+)\.\w+ =", gin.config_str(), re.MULTILINE)
    return sorted({ROOT} | {name.rsplit(".", 1)[-1] for name in names})


def _parameters(configurable: str) -> list[inspect.Parameter]:
    return list(inspect.signature(_function(configurable)).parameters.values())


def _function(configurable: str) -> Callable[..., Any]:
    """The function or class itself, without gin's wrapper."""
    return ConfigurableReference(configurable, evaluate=False).configurable.wrapped
