"""Serves a page to explore a run's generator, to this machine's browser alone.

  python scripts/explore.py --model_dir=runs/mnist

It needs Flask and waitress: pip install 'gan-trainer[explore]'.
"""

from __future__ import annotations

from absl import flags

from trainer import errors, files
from trainer.config import gin_reader
from trainer.tools import command_line

MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Directory of the run, local or gs://. Required.", required=True
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory of prepared datasets. Default: TensorFlow Datasets' own."
)
GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "A setting over the run's own config. Repeatable."
)
PORT = flags.DEFINE_integer("port", 8080, "Port on 127.0.0.1; 0 for any free port.", 0, 65535)


def _explore() -> int:
    gin_reader.find_saved(MODEL_DIR.value)  # before TensorFlow is imported, which takes seconds
    command_line.import_tensorflow()
    try:
        from trainer.tools.explorer import server
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "waitress", "werkzeug"):
            raise
        missing = "Flask is not installed: pip install 'gan-trainer[explore]'"
        raise errors.TrainerError(missing) from error
    from trainer.experiment import load_run

    for path in (MODEL_DIR.value, DATA_DIR.value or ""):
        files.check(path)
    with server.listen(PORT.value) as listener:
        run = load_run(MODEL_DIR.value, data_dir=DATA_DIR.value, gin_params=GIN_PARAM.value)
        return server.serve(run, listener=listener, flags=_flags())


def _flags() -> list[str]:
    """This run's flags, which every command of the trainer takes."""
    given = [f"--model_dir={MODEL_DIR.value}"]
    if DATA_DIR.value:
        given.append(f"--data_dir={DATA_DIR.value}")
    return given + [f"--gin_param={binding}" for binding in GIN_PARAM.value]


if __name__ == "__main__":
    command_line.run(_explore, doc=__doc__, interrupted="Stopped.")
