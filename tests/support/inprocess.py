"""The trainer's command line within the test process, which has imported TensorFlow already.

A process of its own takes some ten seconds of CPU time, of which this saves seven. It cannot be
given other devices, environment variables or signals: `support.process` is for those.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

from absl import flags, logging

import trainer.main


def run(*arguments, code=0, cwd=None):
    """Runs the trainer to its end.

    Returns its standard output and its standard error, after checking the exit code.
    """
    out, err = io.StringIO(), io.StringIO()
    flags.FLAGS.unparse_flags()
    with (
        mock.patch.object(sys, "argv", ["trainer.main", *arguments]),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _logged_to(err),
    ):
        try:
            trainer.main.run()
        except SystemExit as ended:
            status = ended.code or 0
    assert status == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def error_line(*arguments, code=1, cwd=None):
    """The one line that a refused command prints."""
    _, log = run(*arguments, code=code, cwd=cwd)
    line = log.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@contextlib.contextmanager
def _logged_to(stream):
    handler = logging.get_absl_handler().python_handler
    before = handler.stream
    handler.setStream(stream)
    try:
        yield
    finally:
        handler.setStream(before)
