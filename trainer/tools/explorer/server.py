"""Serves the page to this machine until Ctrl-C."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

import waitress

from trainer.errors import TrainerError
from trainer.runs.run import Run
from trainer.tools.explorer.explorer import Explorer
from trainer.tools.explorer.responses import application

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Opens a port of the loopback interface, before anything slow.

    Args:
      port: The port; 0 for any free port.

    Raises:
      TrainerError: if the port cannot be opened.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # create_server's own text adds a sentence
        raise TrainerError(
            f"--port={port} cannot be opened ({reason}); choose another, or --port=0 for any "
            "that is free"
        ) from error


def serve(run: Run, *, listener: socket.socket, flags: Sequence[str]) -> int:
    """Serves the page until Ctrl-C.

    Args:
      run: The run, trained or restored.
      listener: The socket that `listen` returned.
      flags: Flags of the trainer's commands for this run, which the page shows.

    Returns:
      The exit code.
    """
    print(f"Looking for directions in {run.model_dir}, step {run.step:,} ...", flush=True)
    app = application(Explorer(run), flags)
    # A page sends several requests at once, which wait for each other; that is no warning.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = waitress.create_server(app, sockets=[listener], ident=None)
    print(f"Open http://{HOST}:{listener.getsockname()[1]}  (Ctrl-C stops)", flush=True)
    server.run()  # returns on Ctrl-C
    return 0
