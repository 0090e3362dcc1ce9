"""Flags -> config -> experiment. `python -m trainer.main --gin_file=mnist.gin`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from absl import app, logging

import trainer as _package  # noqa: F401  sets Keras's backend before it is imported
from trainer import command_line as flags

if TYPE_CHECKING:
    from trainer.run import Run

_WARNING = logging.converter.absl_to_standard(logging.WARNING)  # type: ignore[attr-defined]
_FLAVOURS = (
    "TensorFlow is not installed; choose its flavour: pip install 'gan-trainer[cpu]', "
    "'gan-trainer[gpu]' or 'gan-trainer[tpu]' (in a checkout: pip install -e '.[cpu]')"
)


def default_model_dir(gin_files: list[str]) -> str:
    """runs/ and the names of the files that decide the answer: hardware overlays do not."""
    paths = [PurePosixPath(name) for name in gin_files]
    names = [path.stem for path in paths if path.parent.name != "hardware"]
    return f"runs/{'-'.join(names)}"


def _worth_reading(record: logging.ABSLLogRecord) -> bool:  # type: ignore[name-defined]
    """Our own lines, and other libraries' warnings: TensorFlow reports each save's sharding."""
    return record.levelno >= _WARNING or "trainer" in PurePath(record.pathname).parts


def main(argv: list[str]) -> int:
    """Returns the exit code; a TrainerError becomes one line and the code that it names."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]}; every setting has a --flag")
    try:
        from trainer import config, export, generation, storage, tasks, training
        from trainer.errors import TrainerError
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        print(f"error: {_FLAVOURS}", file=sys.stderr)
        return 1

    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_worth_reading)
    try:
        gin_files = flags.GIN_FILE.value
        model_dir = flags.MODEL_DIR.value or default_model_dir(gin_files)
        for path in (model_dir, flags.DATA_DIR.value, flags.OUTPUT.value, *gin_files):
            storage.check(path or "")
        if gin_files:
            config.load(gin_files, flags.GIN_PARAM.value)
        else:
            config.load_saved(flags.MODEL_DIR.value, flags.GIN_PARAM.value)
        task: Callable[[Run], int]
        task = functools.partial(training.run_training, profile=flags.PROFILE.value)
        if flags.DRY_RUN.value:
            task = tasks.print_plan
        elif flags.MODE.value == "evaluate":
            task = tasks.evaluate
        elif flags.MODE.value == "generate":
            output = flags.OUTPUT.value or f"{model_dir}/generated.png"
            wishes: dict[str, Any] = {name: flag.value for name, flag in flags.SAMPLES.items()}
            task = functools.partial(generation.generate, output=output, **wishes)
        elif flags.MODE.value == "export":
            task = functools.partial(
                export.export, output=flags.OUTPUT.value or f"{model_dir}/export"
            )
        return config.call("train", model_dir=model_dir, data_dir=flags.DATA_DIR.value, task=task)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before training, or again while it saves
        print("Stopped at once. What was saved stays; the same command resumes.", file=sys.stderr)
        return 130


def run() -> None:
    """The console script `gan-trainer`."""
    app.run(main)


if __name__ == "__main__":
    run()
