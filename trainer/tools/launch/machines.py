"""Machines that cost money: created for a run, prepared, and deleted after it."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.errors import TrainerError
from trainer.tools.launch import command

INSTALLED_PYTHON = "gan/bin/python"
"""Python on a machine that `install_line` prepared, from its home directory."""

_READY_TRIALS = 60
_READY_PAUSE = 10  # seconds


@contextlib.contextmanager
def rented(create: Sequence[str], delete: Sequence[str]) -> Iterator[None]:
    """Creates machines, and deletes them at the end, also after an error, Ctrl-C or SIGTERM.

    Args:
      create: Command that creates them; if it fails, nothing is deleted, since machines of that
        name may have been there before.
      delete: Command that deletes them.

    Raises:
      TrainerError: if `create` fails.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    command.say(f"What is created now is paid for until: {shlex.join(delete)}")
    ours = True
    try:
        if command.run(create):
            ours = False
            raise TrainerError(
                f"nothing was created, or in part. To give back what is there: {shlex.join(delete)}"
            )
        yield
    finally:
        if ours and command.run(delete):
            command.say_error(f"STILL PAID FOR, since that failed. Run: {shlex.join(delete)}")


def until_ready(probe: Sequence[str]) -> None:
    """Runs a command every ten seconds until it succeeds: a machine takes minutes to start.

    Raises:
      TrainerError: if it does not succeed within ten minutes.
    """
    for _ in range(_READY_TRIALS):
        if command.run(probe) == 0:
            return
        time.sleep(_READY_PAUSE)
    raise TrainerError("the machine did not become ready within ten minutes")


def install_line(wheel: str, flavour: str) -> str:
    """A line for a remote shell that installs a wheel in the home directory into ~/gan.

    It installs with uv, which brings Python 3.11: machine images have different versions.

    Args:
      wheel: Path of the wheel on this machine; only its file name is used.
      flavour: Extra that chooses TensorFlow: "gpu" or "tpu".
    """
    requirement = f"./{Path(wheel).name}[{flavour}]"
    return (
        "curl -LsSf https://astral.sh/uv/install.sh | sh && "
        "~/.local/bin/uv venv --allow-existing --python=3.11 gan && "
        f"~/.local/bin/uv pip install --python=gan/bin/python {shlex.quote(requirement)}"
    )
