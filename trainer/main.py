"""Flags -> config -> experiment. `python -m trainer.main --gin_file=mnist.gin`."""

from __future__ import annotations

import functools
import sys
from pathlib import PurePath, PurePosixPath

from absl import app, flags, logging

import trainer as _package  # noqa: F401  sets Keras's backend before it is imported

_WARNING = logging.converter.absl_to_standard(logging.WARNING)  # type: ignore[attr-defined]
_FLAVOURS = (
    "TensorFlow is not installed; choose its flavour: pip install 'gan-trainer[cpu]', "
    "'gan-trainer[gpu]' or 'gan-trainer[tpu]' (in a checkout: pip install -e '.[cpu]')"
)

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file: a path, or a name within configs/. Repeat it to overlay."
)
GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'A binding over the files, such as "train.num_epochs=5". Repeatable.'
)
MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Where the run is or will be. Default: runs/ and the gin files' names."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate", "generate"], "What to do.")
OUTPUT = flags.DEFINE_string("output", None, "What to write, for --mode=generate: a PNG file.")
INTERPOLATE = flags.DEFINE_bool(
    "interpolate", False, "For --mode=generate: each row goes from one latent to another (slerp)."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Build everything, print the plan and stop.")


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
        from trainer import config, storage, tasks, training
        from trainer.errors import TrainerError
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        print(f"error: {_FLAVOURS}", file=sys.stderr)
        return 1

    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_worth_reading)
    try:
        gin_files = GIN_FILE.value
        model_dir = MODEL_DIR.value or default_model_dir(gin_files)
        for path in (model_dir, DATA_DIR.value, OUTPUT.value, *gin_files):
            storage.check(path or "")
        if gin_files:
            config.load(gin_files, GIN_PARAM.value)
        else:
            config.load_saved(MODEL_DIR.value, GIN_PARAM.value)
        task = training.run_training
        if DRY_RUN.value:
            task = tasks.print_plan
        elif MODE.value == "evaluate":
            task = tasks.evaluate
        elif MODE.value == "generate":
            output = OUTPUT.value or f"{model_dir}/generated.png"
            task = functools.partial(tasks.generate, output=output, interpolate=INTERPOLATE.value)
        return config.call("train", model_dir=model_dir, data_dir=DATA_DIR.value, task=task)
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
