"""Trains with several worker processes on this machine, over loopback.

  python scripts/launch_workers.py --num_workers=2 -- --gin_file=digits.gin

Arguments after `--` go to each `python -m trainer.main`, with
hardware/multi_worker.gin over them. The workers share out the cores, their
numbers precede their lines, and if one dies, all are restarted from the last
checkpoint. For several machines: scripts/launch/.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import signal
import subprocess
import sys

from absl import flags

from trainer.distributed.cluster import cores, free_ports, tf_config
from trainer.tools import command_line
from trainer.tools.launch import command, supervisor

NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "Number of processes.", lower_bound=1)
PEER_TIMEOUT = flags.DEFINE_float(
    "peer_timeout", 120, "Seconds to wait for all workers to appear.", lower_bound=1
)
flags.adopt_module_key_flags(command)

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def _launch(arguments: list[str]) -> int:
    """Returns 0, the code of a worker that refused its command, or 128 + the signal's number."""
    words = [
        sys.executable,
        "-m",
        "trainer.main",
        *command.trainer_arguments(arguments, remote=False),
        command.MULTI_WORKER,
        f"--gin_param=multi_worker.peer_timeout={PEER_TIMEOUT.value}",
    ]
    if command.DRY_RUN.value:
        command.say(f"+ {shlex.join(words)}, {NUM_WORKERS.value} times, each with its TF_CONFIG")
        return 0
    return supervisor.supervise(lambda: _start_all(words))


def _start_all(words: list[str]) -> list[subprocess.Popen]:
    addresses = [f"localhost:{port}" for port in free_ports(NUM_WORKERS.value)]
    return [
        subprocess.Popen(
            words,
            env=os.environ | {"TF_CONFIG": tf_config(addresses, index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=functools.partial(_settle, index),
        )
        for index in range(NUM_WORKERS.value)
    ]


def _settle(index: int) -> None:
    """In the new process: takes its share of the cores, and ends when this script ends."""
    os.sched_setaffinity(0, cores(index, NUM_WORKERS.value))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
