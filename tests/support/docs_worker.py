"""Runs what test_docs.py finds in the pages, in one process and its working directory.

    python docs_worker.py ITEMS RESULTS

ITEMS is JSON, a list of [kind, value]: "python" and its source, all in one namespace; "trainer" and
the arguments of `python -m trainer.main`; "saved" and the name of a config, for a run in runs/ that
has it. RESULTS will be a list of [exit code, standard output, standard error].
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path

from absl import flags

import trainer.main

import tensorflow as tf  # isort: skip

from trainer import config

NAMESPACE = {}
NUM_DEVICES = 4  # as many as the pages ask for, since a process can be cut once only


def run_python(source):
    exec(compile(source, "tutorial", "exec"), NAMESPACE)
    return 0


def run_trainer(arguments):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["trainer.main", *arguments])
    return trainer.main.main(["trainer.main"])


def save_config(name):
    config.load([f"{name}.gin"], [])
    Path("runs", name).mkdir(parents=True)
    config.save(f"runs/{name}")
    return 0


RUN = {"python": run_python, "trainer": run_trainer, "saved": save_config}


def attempt(kind, value):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = RUN[kind](value)
        except Exception:
            code = 1
            traceback.print_exc()
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES,
    )
    items, results = sys.argv[1:]
    found = [attempt(kind, value) for kind, value in json.loads(Path(items).read_text())]
    Path(results).write_text(json.dumps(found))
