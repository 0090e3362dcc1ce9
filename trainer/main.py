"""Flags -> config -> experiment. `python -m trainer.main --gin_file=mnist.gin`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from absl import app, logging

import trainer as _package  # noqa: F401  sets Keras's backend before it is imported
from trainer import command_line as flags
from trainer.errors import TrainerError, exit_code

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
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_worth_reading)
    # Ctrl-C before training, or again while it saves.
    return exit_code(_run, "Stopped at once. What was saved stays; the same command resumes.")


def _run() -> int:
    try:
        from trainer import config, storage
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise TrainerError(_FLAVOURS) from error
    gin_files = flags.GIN_FILE.value
    model_dir = flags.MODEL_DIR.value or default_model_dir(gin_files)
    for path in (model_dir, flags.DATA_DIR.value, flags.OUTPUT.value, *gin_files):
        storage.check(path or "")
    if gin_files:
        config.load(gin_files, flags.GIN_PARAM.value)
    else:
        config.load_saved(flags.MODEL_DIR.value, flags.GIN_PARAM.value)
    task = _task(model_dir)
    return config.call("train", model_dir=model_dir, data_dir=flags.DATA_DIR.value, task=task)


def _task(model_dir: str) -> Callable[[Run], int]:
    """What the flags ask to be done with the run."""
    from trainer import export, generation, tasks, training

    if flags.DRY_RUN.value:
        return tasks.print_plan
    if flags.MODE.value == "evaluate":
        return tasks.evaluate
    if flags.MODE.value == "generate":
        output = flags.OUTPUT.value or f"{model_dir}/generated.png"
        wishes: dict[str, Any] = {name: flag.value for name, flag in flags.SAMPLES.items()}
        return functools.partial(generation.generate, output=output, **wishes)
    if flags.MODE.value == "export":
        return functools.partial(export.export, output=flags.OUTPUT.value or f"{model_dir}/export")
    return functools.partial(training.run_training, profile=flags.PROFILE.value)


def run() -> None:
    """The console script `gan-trainer`."""
    app.run(main)


if __name__ == "__main__":
    run()
