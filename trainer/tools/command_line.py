"""What every command shares: --help, misspelt flags, one line an error, exit codes, start-up."""

from __future__ import annotations

import atexit
import contextlib
import errno
import faulthandler
import gc
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NoReturn

from absl import app, flags, logging

import trainer
from trainer.errors import TrainerError, did_you_mean

Groups = Mapping[str, Sequence[str]]
"""Title of a group of flags -> their names, for --help."""

_COLUMNS = 80
_HELP = {"-h", "-help", "--help", "-helpshort", "--helpshort", "-helpfull", "--helpfull"}
_OF_THE_DISK = (
    *(errno.EACCES, errno.EDQUOT, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOSPC),
    *(errno.ENOTDIR, errno.EPERM, errno.EROFS),
)
"""Operating system errors that come from the user's disk or path."""
_WARNING = logging.converter.absl_to_standard(logging.WARNING)  # type: ignore[attr-defined]
# TensorFlow and Keras import these where they are installed, for parts that no command uses. That
# would take a third of the start.
_UNUSED = ("IPython", "jax", "matplotlib", "sklearn")
# What TensorFlow's libraries print while they are loaded, whatever TF_CPP_MIN_LOG_LEVEL says.
_CHATTER = re.compile(
    "oneDNN custom operations are on|To turn them off, set the environment variable|"
    "All log messages before absl::InitializeLog|cpu_feature_guard|TensorRT|"
    "To enable the following instructions|Could not find cuda drivers|computation_placer already"
)


def run(
    work: Callable[..., int | None],
    *,
    doc: str,
    interrupted: str,
    groups: Groups | None = None,
    passes_on: bool = False,
) -> NoReturn:
    """Parses the flags, does a command's work, and ends the process.

    Args:
      work: Returns the exit code, or None for 0. A TrainerError becomes one line on standard error
        and the error's exit code.
      doc: Text that --help prints before the flags: usually the script's docstring.
      interrupted: Line to print on Ctrl-C; the exit code is then 130, as in a shell.
      groups: Flags that --help lists; default: the script's own, and those that it adopts.
      passes_on: Whether `work` takes the arguments after `--`, as a list; otherwise arguments that
        are not flags are refused.
    """

    def main(argv: list[str]) -> int:
        rest = argv[1:]
        return exit_code(lambda: work(rest) if passes_on else _alone(work, rest), interrupted)

    app.run(main, flags_parser=lambda argv: _parse(argv, doc, groups, passes_on))
    raise AssertionError("app.run does not return")


def exit_code(work: Callable[[], int | None], interrupted: str) -> int:
    """The exit code of `work`; errors and Ctrl-C are printed as one line on standard error."""
    try:
        return work() or 0
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.filename is None or error.errno not in _OF_THE_DISK:
            raise
        print(
            f"error: {error.filename} cannot be written or read ({error.strerror}); free space, "
            "permit it, or name another path",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


def _alone(work: Callable[[], int | None], rest: list[str]) -> int | None:
    if rest:
        raise TrainerError(f"unexpected argument {rest[0]}; every setting has a --flag")
    return work()


def log_own_lines() -> None:
    """Logs the trainer's own lines, and other libraries' warnings alone."""
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(
        lambda record: record.levelno >= _WARNING or "trainer" in PurePath(record.pathname).parts
    )


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages; its warnings are printed.

    Raises:
      TrainerError: if no flavour of TensorFlow is installed.
    """
    if sys.modules.get("tensorflow"):
        return
    try:
        with _without_chatter(), _without_garbage_collection(), _without(_UNUSED):
            import tensorflow  # noqa: F401, I001  without it, Keras fails less clearly
            import keras  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise TrainerError(trainer.NO_TENSORFLOW) from error


@contextlib.contextmanager
def _without(packages: Sequence[str]) -> Iterator[None]:
    """Makes an import of any of `packages` in the block fail, as if it was not installed."""
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # so Python marks what must not be found
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Exempts the objects that are made in the block from garbage collection, then and later.

    Libraries make a million that live as long as the process. To look for garbage among them takes
    half a second during the import, and more than one when the process ends.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.freeze()
    atexit.register(gc.freeze)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what is written to standard error, and prints it afterwards but for _CHATTER."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held, os.fdopen(terminal, "w") as real:
        faulthandler.enable(real)  # a library that aborts is still heard of
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            faulthandler.disable()
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not _CHATTER.search(line):
                    print(line, file=sys.stderr)


def _parse(argv: list[str], doc: str, groups: Groups | None, passes_on: bool) -> list[str]:
    given = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    if groups is None:
        key_flags = flags.FLAGS.get_key_flags_for_module(argv[0])
        groups = {"Flags": [flag.name for flag in key_flags]}
    if _HELP & set(given):
        print(help_text(doc, groups))
        sys.exit(0)
    if "--version" in given and "version" not in flags.FLAGS:
        print(f"gan-trainer {trainer.__version__}")
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        hint = " (flags of the trainer follow `--`)" if passes_on else ""
        own = [name for names in groups.values() for name in names]
        print(f"error: {_explain(error, own, hint)}", file=sys.stderr)
        sys.exit(1)


def _explain(error: flags.Error, own: Sequence[str], hint: str) -> str:
    """absl's message in one line, with the closest valid name.

    Args:
      error: What absl refuses.
      own: Names of the command's own flags.
      hint: Text to put after the name of an unknown flag.
    """
    if isinstance(error, flags.UnrecognizedFlagError):
        given = f"--{error.flagname}"
        return f"unknown flag {given}{hint}; {did_you_mean(given, [f'--{name}' for name in own])}"
    if match := re.match(r"flag --(\w+)=None: Flag --\w+ must have a value", str(error)):
        return f"--{match[1]} is missing; --help explains it"
    if match := re.match(r"flag --(\w+)=(.*?): ", str(error)):
        return f"--{match[1]}={match[2]} {_rule(flags.FLAGS[match[1]], match[2])}"
    return " ".join(str(error).split())


def _rule(flag: flags.Flag, value: str) -> str:
    """The rule of a flag that `value` breaks, as the end of a sentence."""
    kind, parser = flag.flag_type(), flag.parser
    if "enum" in kind:
        return f"is not known; {did_you_mean(value, getattr(parser, 'enum_values', []))}"
    if "bool" in kind:
        return "must be true or false"
    try:
        int(value) if "int" in kind else float(value)
    except ValueError:
        return f"must be a {'whole ' * ('int' in kind)}number"
    low, high = (getattr(parser, name, None) for name in ("lower_bound", "upper_bound"))
    return f"must be at least {low}" if high is None else f"must be in [{low}, {high}]"


def help_text(doc: str, groups: Groups) -> str:
    """What --help prints, in 80 columns.

    Args:
      doc: Text to begin with.
      groups: The flags, by the title of their group.
    """
    lines = [doc.strip()]
    for title, names in groups.items():
        lines += ["", f"{title}:"]
        for name in names:
            lines += _flag_lines(flags.FLAGS[name])
    lines += ["", "Also: --help." if "version" in flags.FLAGS else "Also: --help, --version."]
    return "\n".join(lines)


def _flag_lines(flag: flags.Flag) -> list[str]:
    values = getattr(flag.parser, "enum_values", [])
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}={_value_name(flag)}"
    # absl adds a sentence about repetition to a list's help, and the choices to an enum's.
    text = re.sub(r"^<[^>]*>: |;\s+repeat this option to specify a list of values$", "", flag.help)
    if len(name) > _COLUMNS - 2:
        name = f"--{flag.name}=VALUE"
        text += f" Choose from: {', '.join(values)}."
    if flag.default not in (None, [], "", False, 0):
        text += f" Default: {_default(flag)}."
    meaning = textwrap.wrap(text, _COLUMNS - 6, break_on_hyphens=False)
    return [f"  {name}", *(f"      {line}" for line in meaning)]


def _default(flag: flags.Flag) -> str:
    values = flag.default if isinstance(flag.default, list) else [flag.default]
    return ", ".join(f"{value:g}" if isinstance(value, float) else repr(value) for value in values)


def _value_name(flag: flags.Flag) -> str:
    kind = flag.flag_type()
    if "enum" in kind:
        return "|".join(getattr(flag.parser, "enum_values", []))
    return "NUMBER" if "int" in kind or "float" in kind else "VALUE"
