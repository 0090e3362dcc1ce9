"""The page, served to this machine until Ctrl-C."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

import waitress

from trainer.errors import TrainerError
from trainer.runs.run import Run
from trainer.tools.explorer.app import application
from trainer.tools.explorer.explorer import Explorer

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Takes the port, of this machine alone, before anything slow; 0 for any that is free.

    Raises:
      TrainerError: if it cannot be had.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # create_server adds a sentence to its own
        raise TrainerError(
            f"--port={port} cannot be had ({reason}); choose another, or --port=0 for any that is "
            "free"
        ) from error


def serve(run: Run, *, listener: socket.socket, flags: Sequence[str]) -> int:
    """Answers at `listener` until Ctrl-C; `flags` are those of the trainer's commands, to show.

    Raises:
      TrainerError: if the run has no checkpoint.
    """
    print(f"Looking for directions in {run.model_dir}, step {run.step:,} ...", flush=True)
    app = application(Explorer(run), flags)
    # A page asks for several things at once, and they wait for each other: no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = waitress.create_server(app, sockets=[listener], ident=None)
    print(f"Open http://{HOST}:{listener.getsockname()[1]}  (Ctrl-C stops)", flush=True)
    server.run()  # which returns at Ctrl-C
    return 0
