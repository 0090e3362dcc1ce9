"""Trainers on other machines, each behind a command such as ssh; they do not outlive it."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cluster

from trainer.distributed.cluster import tf_config

_GUARD = Path(__file__).with_name("guard.sh")
_GUARD_SECONDS = 40  # somewhat more than it gives to the trainer
_PAUSE = 10  # seconds before a new start: a host that reboots needs them, and a guard that ends


def guarded(
    python: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: str = ".",
) -> str:
    """A line for a remote shell: the trainer, under guard.sh."""
    lines = [line for line in _GUARD.read_text().splitlines() if not line.startswith("#")]
    pairs = [f"{name}={value}" for name, value in environment.items()]
    trainer = ["env", *pairs, python, "-m", "trainer.main", *arguments]
    return shlex.join(["bash", "-c", "\n".join(lines), "guard", directory, *trainer])


def train(
    connect: Callable[[int, str], list[str]],
    addresses: Sequence[str],
    python: str,
    arguments: Sequence[str],
    directory: str = ".",
) -> int:
    """One trainer on each machine, with a cluster where they are several; returns the exit code.

    Args:
      connect: The command that runs a shell's line on a machine, given its index.
      addresses: "host:port" of each, as the others reach it.
      python: Python on the machines, from `directory`.
      arguments: Of the trainer.
      directory: Where to start, from the home directory.
    """
    several = len(addresses) > 1
    arguments = [*arguments, *([cluster.MULTI_WORKER] if several else [])]
    commands = []
    for index in range(len(addresses)):
        environment = {"TF_CONFIG": tf_config(addresses, index)} if several else {}
        commands.append(connect(index, guarded(python, arguments, environment, directory)))
    return supervise(commands)


def supervise(commands: Sequence[Sequence[str]]) -> int:
    """Runs commands that end in `guarded` lines, all together; returns the exit code."""
    for command in commands:
        cluster.say(f"+ {shlex.join(command)}")
    if cluster.DRY_RUN.value:
        return 0
    return cluster.supervise(lambda: [Worker(command) for command in commands], _PAUSE)


class Worker(subprocess.Popen):
    """A local command, such as ssh, that runs a guarded one elsewhere."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            super().__init__(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            cluster.fail(f"{command[0]} is not installed here, or not in PATH")
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def send_signal(self, sig: int) -> None:
        """Asks the trainer to save and stop; which signal it was stays here."""
        self._write("stop\n")

    def kill(self) -> None:
        """Has the guard end the trainer, or at least ends the connection."""
        self.send_signal(signal.SIGTERM)
        try:
            self.wait(timeout=_GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            super().send_signal(signal.SIGKILL)

    def _keep_alive(self) -> None:
        while self.poll() is None:
            self._write("\n")
            time.sleep(1)

    def _write(self, line: str) -> None:
        assert self.stdin
        with contextlib.suppress(BrokenPipeError):  # it has just ended
            self.stdin.write(line)
            self.stdin.flush()
