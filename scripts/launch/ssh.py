"""Trains on hosts that ssh reaches, one worker process on each.

    python scripts/launch/ssh.py --hosts=alice@a,alice@b --directory=gan-trainer \\
        --python=.venv/bin/python -- --gin_file=mnist.gin --model_dir=/shared/runs/mnist

The trainer must be installed on every host, in the same version. This process is the run's
lifeline: Ctrl-C here lets all save and stop, and where it goes, or its connection, they do so by
themselves. Start it in tmux, on a machine that stays.
"""

from __future__ import annotations

import shlex

import cluster
import remote
from absl import app, flags

HOSTS = flags.DEFINE_list(
    "hosts",
    None,
    "ssh destinations; DESTINATION=ADDRESS where the others reach it by another name.",
)
PORT = flags.DEFINE_integer("port", 2222, "Where workers listen.", lower_bound=1, upper_bound=65535)
DIRECTORY = flags.DEFINE_string("directory", ".", "Where to start, from the home directory.")
PYTHON = flags.DEFINE_string("python", "python3", "Python of every host, from --directory.")
SSH = flags.DEFINE_string("ssh", "ssh", "The ssh command, with options for all hosts.")

# Dead connections are noticed in 20 seconds, and nobody is asked for a password.
_OPTIONS = ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=4"]


def main(argv: list[str]) -> int:
    """Returns 0, the code of a worker that refused its command, or 128 + the signal's number."""
    arguments = cluster.trainer_arguments(argv)
    pairs = [host.partition("=")[::2] for host in HOSTS.value or []]
    addresses = [f"{b or a.rpartition('@')[2]}:{PORT.value}" for a, b in pairs]
    if not pairs or not all(a for a, _ in pairs) or len(set(addresses)) < len(pairs):
        cluster.fail(f"--hosts={','.join(HOSTS.value or [])} must name hosts, each of them once")
    options = [word for option in _OPTIONS for word in ("-o", option)]

    def connect(index: int, line: str) -> list[str]:
        return [*shlex.split(SSH.value), *options, pairs[index][0], line]

    return remote.train(connect, addresses, PYTHON.value, arguments, DIRECTORY.value)


if __name__ == "__main__":
    app.run(main)
