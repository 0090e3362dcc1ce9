"""Serves a page to play with a run's generator, to this machine's browser alone.

    python scripts/explore.py --model_dir=runs/mnist

It needs Flask and waitress: pip install 'gan-trainer[explore]'.
"""

from __future__ import annotations

from absl import flags

from trainer import errors, files
from trainer.tools import command_line

MODEL_DIR = flags.DEFINE_string("model_dir", None, "The run.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A binding over the run's. Repeatable.")
PORT = flags.DEFINE_integer("port", 8080, "Of 127.0.0.1; 0 for any.", 0, 65535)


def _explore() -> int:
    command_line.import_tensorflow()
    try:
        from trainer.tools.explorer import server
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "waitress", "werkzeug"):
            raise
        missing = "Flask is not installed: pip install 'gan-trainer[explore]'"
        raise errors.TrainerError(missing) from error
    from trainer.experiment import Experiment

    for path in (MODEL_DIR.value, DATA_DIR.value or ""):
        files.check(path)
    experiment = Experiment.from_run(MODEL_DIR.value, GIN_PARAM.value)
    with server.listen(PORT.value) as listener:
        run = experiment.build(MODEL_DIR.value, data_dir=DATA_DIR.value)
        run.restore()
        return server.serve(run, listener=listener, flags=_flags())


def _flags() -> list[str]:
    """This run's, for any command of the trainer."""
    given = [f"--model_dir={MODEL_DIR.value}"]
    if DATA_DIR.value:
        given.append(f"--data_dir={DATA_DIR.value}")
    return given + [f"--gin_param={binding}" for binding in GIN_PARAM.value]


if __name__ == "__main__":
    command_line.run(_explore, doc=__doc__, interrupted="Stopped.")
