"""Trains on hosts that ssh reaches, one worker process on each.

  python scripts/launch/ssh.py --hosts=alice@a,alice@b --directory=gan-trainer \\
      --python=.venv/bin/python -- \\
      --gin_file=mnist.gin --model_dir=/shared/runs/mnist

The trainer must be installed on every host, in the same version. The hosts
depend on this process: Ctrl-C here lets all save and stop, and if it ends or
loses its connection, they save and stop by themselves. Start it in tmux, on a
machine that stays.
"""

from __future__ import annotations

import shlex

from absl import flags

from trainer.errors import TrainerError
from trainer.tools import command_line
from trainer.tools.launch import command, remote

HOSTS = flags.DEFINE_list(
    "hosts",
    None,
    "ssh destinations, comma-separated; DESTINATION=ADDRESS if the other hosts reach one by "
    "another name.",
)
PORT = flags.DEFINE_integer(
    "port", 2222, "Port on which workers listen.", lower_bound=1, upper_bound=65535
)
DIRECTORY = flags.DEFINE_string(
    "directory", ".", "Directory to start in, as a path from the home directory."
)
PYTHON = flags.DEFINE_string(
    "python", "python3", "Python of every host, as a path from --directory."
)
SSH = flags.DEFINE_string("ssh", "ssh", "The ssh command, with options for all hosts.")
flags.adopt_module_key_flags(command)

# Dead connections are noticed in 20 seconds, and nobody is asked for a password.
_OPTIONS = ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=4"]


def _launch(arguments: list[str]) -> int:
    """Returns 0, the code of a worker that refused its command, or 128 + the signal's number."""
    arguments = command.trainer_arguments(arguments)
    pairs = [host.partition("=")[::2] for host in HOSTS.value or []]
    addresses = [f"{b or a.rpartition('@')[2]}:{PORT.value}" for a, b in pairs]
    if not pairs or not all(a for a, _ in pairs) or len(set(addresses)) < len(pairs):
        raise TrainerError(
            f"--hosts={','.join(HOSTS.value or [])} must name hosts, each of them once"
        )
    options = [word for option in _OPTIONS for word in ("-o", option)]

    def connect(index: int, line: str) -> list[str]:
        return [*shlex.split(SSH.value), *options, pairs[index][0], line]

    return remote.train(connect, addresses, PYTHON.value, arguments, DIRECTORY.value)


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
