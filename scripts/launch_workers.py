"""Trains with several worker processes on this machine, over loopback.

    python scripts/launch_workers.py --num_workers=2 -- --gin_file=digits.gin

What follows `--` goes to each `python -m trainer.main`, with hardware/multi_worker.gin over it. The
cores are shared out, each worker's lines carry its number, and if a worker dies all are started
again from the last checkpoint. For several machines there is scripts/launch/.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import signal
import subprocess
import sys

from absl import app, flags
from launch import cluster

from trainer.distributed.cluster import cores, free_ports, tf_config

NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "How many processes.", lower_bound=1)
PEER_TIMEOUT = flags.DEFINE_float(
    "peer_timeout", 120, "Seconds to wait for all workers to appear.", lower_bound=1
)

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def main(argv: list[str]) -> int:
    """Returns 0, the code of a worker that refused its command, or 128 + the signal's number."""
    command = [
        *(sys.executable, "-m", "trainer.main"),
        *cluster.trainer_arguments(argv, remote=False),
        cluster.MULTI_WORKER,
        f"--gin_param=multi_worker.peer_timeout={PEER_TIMEOUT.value}",
    ]
    if cluster.DRY_RUN.value:
        cluster.say(f"+ {shlex.join(command)}, {NUM_WORKERS.value} times, each with its TF_CONFIG")
        return 0
    return cluster.supervise(lambda: _start_all(command))


def _start_all(command: list[str]) -> list[subprocess.Popen]:
    addresses = [f"localhost:{port}" for port in free_ports(NUM_WORKERS.value)]
    return [
        subprocess.Popen(
            command,
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
    """In the new process: its share of the cores, and no life after this script's."""
    os.sched_setaffinity(0, cores(index, NUM_WORKERS.value))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    app.run(main)
