"""Trainers on other machines, each behind a command such as ssh, which they do not outlive."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainer.distributed.cluster import tf_config
from trainer.tools.launch import command, supervisor

_GUARD = Path(__file__).with_name("guard.sh")
_GUARD_SECONDS = 40  # somewhat longer than guard.sh waits for the trainer
_PAUSE = 10  # seconds before a restart: for a host to reboot, or for the old guard to end


def guarded(
    python: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: str = ".",
) -> str:
    """A line for a remote shell that runs the trainer under guard.sh.

    Args:
      python: Python on the remote machine, as a path from `directory`.
      arguments: Arguments of trainer.main.
      environment: Variables to set for it.
      directory: Directory to start in, as a path from the home directory.
    """
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
    """Runs one trainer on each machine, as a cluster if there are several.

    Args:
      connect: (index of a machine, line) -> the command that runs that line in its shell.
      addresses: "host:port" of each machine, as the others reach it.
      python: Python on the machines, as a path from `directory`.
      arguments: Arguments of trainer.main.
      directory: Directory to start in, as a path from the home directory.

    Returns:
      The exit code, as `trainer.tools.launch.supervisor.supervise` returns it.
    """
    several = len(addresses) > 1
    arguments = [*arguments, *([command.MULTI_WORKER] if several else [])]
    commands = []
    for index in range(len(addresses)):
        environment = {"TF_CONFIG": tf_config(addresses, index)} if several else {}
        commands.append(connect(index, guarded(python, arguments, environment, directory)))
    return supervise(commands)


def supervise(commands: Sequence[Sequence[str]]) -> int:
    """Prints commands that end in `guarded` lines and, unless --dry_run is given, runs them all.

    Returns:
      The exit code; 0 with --dry_run.
    """
    for words in commands:
        command.say(f"+ {shlex.join(words)}")
    if command.DRY_RUN.value:
        return 0
    return supervisor.supervise(lambda: [Worker(words) for words in commands], _PAUSE)


class Worker(subprocess.Popen):
    """A local command, such as ssh, that runs a `guarded` line elsewhere.

    Args:
      words: The command.

    Raises:
      TrainerError: if there is no such program.
    """

    def __init__(self, words: Sequence[str]) -> None:
        try:
            super().__init__(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise command.missing_tool(words[0]) from error
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def send_signal(self, sig: int) -> None:
        """Asks the trainer to save and stop, whatever the signal."""
        self._write("stop\n")

    def kill(self) -> None:
        """Lets the guard end the trainer; if that takes too long, ends the connection."""
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
