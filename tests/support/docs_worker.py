"""Runs what test_docs.py finds in the pages, in one process and its working directory.

    python docs_worker.py ITEMS RESULTS

ITEMS is JSON, a list of [kind, value]:

- "python" and [page, source], where the sources of a page share one namespace, as in a notebook;
- "file" and [name, content];
- "trainer" and the arguments of `python -m trainer.main`;
- "saved" and the name of a config, for a run in runs/ that has it.

RESULTS will be a list of [exit code, standard output, standard error].
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import sys
import traceback
from pathlib import Path

from support import inprocess
from trainer.config import gin_reader

import tensorflow as tf  # isort: skip

NAMESPACES = collections.defaultdict(lambda: {"__name__": "__main__"})
NUM_DEVICES = 4  # as many as the pages ask for, since a process can be cut once only


def run_python(value):
    page, source = value
    exec(compile(source, page, "exec"), NAMESPACES[page])
    return 0


def write_file(value):
    name, content = value
    Path(name).write_text(content)
    return 0


def run_trainer(arguments):
    out, _ = inprocess.run(*arguments)
    print(out, end="")
    return 0


def save_config(name):
    Path("runs", name).mkdir(parents=True)
    gin_reader.save(f"runs/{name}", gin_reader.load([f"{name}.gin"]).text)
    return 0


RUN = {
    "python": run_python,
    "file": write_file,
    "trainer": run_trainer,
    "saved": save_config,
}


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
