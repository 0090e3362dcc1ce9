"""Serves a page to play with a run's generator, to this machine's browser alone.

    python scripts/explore.py --model_dir=runs/mnist

It needs Flask and waitress: pip install 'gan-trainer[explore]'.
"""

from __future__ import annotations

import functools

from absl import app, flags

import trainer  # noqa: F401  sets Keras's backend
from trainer import config, errors, storage

MODEL_DIR = flags.DEFINE_string("model_dir", None, "The run.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A binding over the run's. Repeatable.")
PORT = flags.DEFINE_integer("port", 8080, "Of 127.0.0.1; 0 for any.", 0, 65535)


def main(argv: list[str]) -> int:
    """Returns 0 once Ctrl-C ended it, 1 for a refused command, 130 for Ctrl-C before."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]}; every setting has a --flag")
    return errors.exit_code(_explore, "Stopped.")


def _explore() -> int:
    try:
        from trainer.explore import server
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "waitress", "werkzeug"):
            raise
        missing = "Flask is not installed: pip install 'gan-trainer[explore]'"
        raise errors.TrainerError(missing) from error
    for path in (MODEL_DIR.value, DATA_DIR.value or ""):
        storage.check(path)
    config.load_saved(MODEL_DIR.value, GIN_PARAM.value)
    with server.listen(PORT.value) as listener:
        task = functools.partial(server.serve, listener=listener, flags=_flags())
        place = {"model_dir": MODEL_DIR.value, "data_dir": DATA_DIR.value}
        return config.call("train", **place, task=task)


def _flags() -> list[str]:
    """This run's, for any command of the trainer."""
    given = [f"--model_dir={MODEL_DIR.value}"]
    if DATA_DIR.value:
        given.append(f"--data_dir={DATA_DIR.value}")
    return given + [f"--gin_param={binding}" for binding in GIN_PARAM.value]


if __name__ == "__main__":
    app.run(main)
