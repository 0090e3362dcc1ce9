"""gin files: where they are found, how strictly they are read, how they are saved."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin
import tensorflow as tf
from absl import logging
from gin import config_parser

from trainer import storage
from trainer.errors import TrainerError

SAVED_NAME = "config.gin"

_READING_ERRORS = (
    *(ValueError, SyntaxError, LookupError, ImportError, AttributeError, NameError, OSError),
    tf.errors.OpError,
)

_PACKAGE = Path(__file__).resolve().parent
# Inside the package where it was installed from a wheel, beside it in a source checkout.
CONFIG_DIR = next(
    (d for d in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if d.is_dir()),
    _PACKAGE.parent / "configs",
)


def available() -> list[str]:
    """The shipped config files, as --gin_file takes them."""
    return sorted(p.relative_to(CONFIG_DIR).as_posix() for p in CONFIG_DIR.rglob("*.gin"))


def experiments() -> list[list[str]]:
    """--gin_file of each shipped experiment: the bases, and the overlays over mnist.gin."""
    names = [name for name in available() if not name.startswith("hardware/")]
    return [["mnist.gin", name] if "/" in name else [name] for name in names]


def find(name: str) -> str:
    """The path of a gin file: as given (gs:// too) if it exists, else within configs/.

    Raises:
      TrainerError: naming the closest files there are.
    """
    if tf.io.gfile.exists(name) and not tf.io.gfile.isdir(name):
        return name
    shipped = CONFIG_DIR / name
    if shipped.is_file():
        return str(shipped)
    here = [path.name for path in Path.cwd().glob("*.gin")]
    raise TrainerError(
        f"--gin_file={name} is neither a file nor one of the shipped configs; "
        f"{_closest(name, [*available(), *here])}"
    )


def load_saved(model_dir: str | None, params: Sequence[str]) -> None:
    """Reads the config of the run in `model_dir`, which may call nothing but this package.

    A run's directory may come from anyone, and a config can name any code on this machine.

    Raises:
      TrainerError: as `load` and `saved_in` do, or naming the foreign code.
    """
    path = saved_in(model_dir)
    with tf.io.gfile.GFile(path) as file:
        text = file.read()
    modules = re.findall(r"^\s*(?:from|import|include)\s+(\S+)", text, re.MULTILINE)
    foreign = [m for m in modules if m != "__gin__" and m.split(".")[0] != "trainer"]
    if not foreign:
        load([path], params)
        names = re.findall(r"@([\w./]+)", text)
        names += re.findall(r"^([\w./]+)\.\w+\s*=", text, re.MULTILINE)
        foreign = [name for name in names if not _is_ours(name)]
    if foreign:
        gin.clear_config()
        raise TrainerError(
            f"{path} uses {foreign[0]}, which is not the trainer's own code; if you trust that "
            f"file, name it: --gin_file={path}"
        )


def _is_ours(selector: str) -> bool:
    configurable = inspect.unwrap(gin.get_configurable(selector.rsplit("/", 1)[-1]))
    return configurable.__module__.split(".")[0] == "trainer"


def load(files: Sequence[str], params: Sequence[str]) -> None:
    """Reads gin files, then `name=value` bindings over them, and locks the result.

    Raises:
      TrainerError: one line naming the file, name or value at fault and the closest valid ones.
    """
    paths = [find(name) for name in files]
    gin.clear_config()
    gin.config.register_file_reader(tf.io.gfile.GFile, tf.io.gfile.exists)
    gin.add_config_file_search_path(str(CONFIG_DIR))  # for include
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)  # gin logs an error for each place where a file is not
    try:
        gin.parse_config_files_and_bindings(paths, params, print_includes_and_imports=False)
    except _READING_ERRORS as error:
        raise TrainerError(_explain(error)) from error
    finally:
        logging.set_verbosity(verbosity)


def saved_in(model_dir: str | None) -> str:
    """The config file of the run in `model_dir`.

    Raises:
      TrainerError: if there is none.
    """
    if model_dir is None:
        raise TrainerError(
            f"name a config with --gin_file, or a run with --model_dir; {_closest('', available())}"
        )
    path = f"{model_dir}/{SAVED_NAME}"
    if not tf.io.gfile.exists(path):
        raise TrainerError(
            f"--model_dir={model_dir} holds no {SAVED_NAME}, so there is no run to take up; name a "
            f"config with --gin_file; {_closest('', available())}"
        )
    return path


def call(name: str, **arguments: object) -> int:
    """Calls the configurable `name` with its bindings, and with `arguments` that gin does not know.

    Raises:
      TrainerError: if the config does not name it, or leaves a required parameter out.
    """
    try:
        function = gin.get_configurable(name)
    except ValueError as error:
        raise TrainerError(
            f"the config binds nothing of {name}: add a base config, such as --gin_file=mnist.gin, "
            "before any overlay"
        ) from error
    signature = inspect.signature(inspect.unwrap(function))
    bound = gin.get_bindings(name).keys() | arguments.keys()
    missing = [p.name for p in signature.parameters.values() if p.default is p.empty]
    missing = [parameter for parameter in missing if parameter not in bound]
    if missing:
        raise TrainerError(
            f"the config leaves {', '.join(f'{name}.{m}' for m in missing)} open: add a base "
            "config, such as --gin_file=mnist.gin, before any overlay"
        )
    try:
        return function(**arguments)
    except TrainerError as error:  # to which gin has added lines of its own
        plain = TrainerError(str(error).splitlines()[0])
        plain.exit_code = error.exit_code
        raise plain from error


def bound(parameter: str) -> Callable[..., Any]:
    """The configurable that the config gives to `parameter`, such as "train.dataset".

    Raises:
      TrainerError: if the config gives it none.
    """
    try:
        return gin.query_parameter(parameter).scoped_configurable_fn
    except ValueError as error:
        raise TrainerError(
            f"the config leaves {parameter} open: add a base config, such as "
            "--gin_file=mnist.gin, before any overlay"
        ) from error


def text() -> str:
    """The full configuration in force, as gin text that can be read again."""
    return gin.config_str(max_line_length=100)


def settings(without: Sequence[str] = ()) -> dict[str, bool | int | float | str]:
    """What the functions called so far were given, defaults too, as plain values.

    Named as --gin_param takes them, without "train." before the experiment's own. A constructor
    goes by its name, several are joined by commas, and None and an empty list are "none".

    Args:
      without: Modules whose functions are left out.
    """
    parser = config_parser.ConfigParser(gin.operative_config_str(), _Names())
    modules: dict[str, str] = {}
    found = {}
    for statement in parser:
        if isinstance(statement, config_parser.ImportStatement):
            modules[statement.bound_name()] = statement.module
        elif not isinstance(statement, config_parser.BindingStatement) or not statement.arg_name:
            continue  # a macro stands where it is used
        elif modules.get(statement.selector.split(".")[0]) not in without:
            scope = f"{statement.scope}/" if statement.scope else ""
            name = f"{scope}{_short(statement.selector, modules)}.{statement.arg_name}"
            found[name.removeprefix("train.")] = _plain(statement.value, modules)
    return found


class _Names(config_parser.ParserDelegate):
    """Leaves references as names."""

    def configurable_reference(self, name: str, evaluate: bool) -> _Reference:
        return _Reference(f"{name}()" if evaluate else name)

    def macro(self, name: str) -> object:
        return gin.query_parameter(f"{name}/gin.macro.value")


class _Reference(str):
    """The name of a constructor, as the config has it."""


def _plain(value: object, modules: Mapping[str, str]) -> bool | int | float | str:
    if isinstance(value, _Reference):
        scope, slash, selector = value.rpartition("/")
        return f"{scope}{slash}{_short(selector, modules)}"
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(part, modules)) for part in value) or "none"
    if value is None:
        return "none"
    return value if isinstance(value, bool | int | float | str) else str(value)


def _short(selector: str, modules: Mapping[str, str]) -> str:
    """Without the module, unless it is within one of the package's rooms, or not the package's."""
    module, _, rest = selector.partition(".")
    return rest if modules.get(module) == f"{_PACKAGE.name}.{module}" else selector


def save(model_dir: str) -> None:
    """Writes the configuration in force to `model_dir/config.gin`, logging what changes there."""
    path = f"{model_dir}/{SAVED_NAME}"
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            for line in changed_lines(file.read(), text()):
                logging.warning("config differs from the run's last start: %s", line)
    storage.write_file(path, text())


def changed_lines(before: str, after: str) -> list[str]:
    """Bindings that differ between two config texts, as '- old' and '+ new' lines."""
    old, new = (
        [line for line in t.splitlines() if line and not line.startswith("#")]
        for t in (before, after)
    )
    return [line for line in difflib.ndiff(old, new) if line[0] in "-+"]


def _explain(error: Exception) -> str:
    """gin's message in one line, with the closest valid names."""
    lines = str(error).replace("\\n", "\n").splitlines()  # a KeyError's text escapes its line ends
    message = " ".join(line.strip() for line in lines if line.strip())
    if match := re.search(r"No configurable matching '([^']+)'", message):
        return f"{message}; {_closest(match[1], _configurables())}"
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
        return f"{message}; {_closest(match[2], _parameters(match[1]))}"
    if "gin.macro" in message:
        names = re.findall(r"'([^']+)/gin.macro'", message)
        return f"macro %{', %'.join(names)} is used in the config but never given a value"
    return f"config error: {message}"


def _configurables() -> list[str]:
    names = re.findall(r"^(?:.*/)?([\w.]+)\.\w+ =", gin.config_str(), re.MULTILINE)
    return sorted({"train"} | {name.rsplit(".", 1)[-1] for name in names})


def _parameters(configurable: str) -> list[str]:
    signature = inspect.signature(inspect.unwrap(gin.get_configurable(configurable)))
    return list(signature.parameters)


def _closest(name: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from: {', '.join(valid)}"
