"""Trains with several worker processes on this machine, over loopback.

    python scripts/launch_workers.py --num_workers=2 -- --gin_file=digits.gin

What follows `--` goes to each `python -m trainer.main`, with hardware/multi_worker.gin over it. The
cores are shared out, each worker's lines carry its number, and if a worker dies all are started
again from the last checkpoint. On several machines, set TF_CONFIG there instead of using this.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from absl import app, flags

from trainer.errors import LOST_PEER

NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "How many processes.", lower_bound=1)
MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts", 3, "How often to start all again after one died.", lower_bound=0
)
PEER_TIMEOUT = flags.DEFINE_float(
    "peer_timeout", 120, "Seconds to wait for all workers to appear.", lower_bound=1
)
GRACE = flags.DEFINE_float(
    "grace", 30, "Seconds that workers have to save and stop on Ctrl-C or SIGTERM.", lower_bound=0
)

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
_STOPS = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}


def main(argv: list[str]) -> int:
    """Returns 0, the code of a worker that refused its command, or 128 + the signal's number."""
    stopping: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, frame: stopping.append(signal.Signals(n)))
    for attempt in range(MAX_RESTARTS.value + 1):
        code = _run_once(argv[1:], stopping)
        if code in {0, 1, 2} | _STOPS:
            return code
        if attempt < MAX_RESTARTS.value:
            _say(f"a worker ended with code {code}: starting all again from the last checkpoint")
    _say(f"error: gave up after {MAX_RESTARTS.value} restarts; see the lines above for the reason")
    return code


def _run_once(arguments: list[str], stopping: list[signal.Signals]) -> int:
    """One life of all workers: returns the code that says most of how it ended."""
    cluster = {"worker": [f"localhost:{port}" for port in _free_ports(NUM_WORKERS.value)]}
    workers = [_start(index, cluster, arguments) for index in range(NUM_WORKERS.value)]
    printers = [threading.Thread(target=_print_lines, args=(i, w)) for i, w in enumerate(workers)]
    for printer in printers:
        printer.start()
    deadline = None
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.1)
            ended_badly = any(worker.returncode for worker in workers)
            if deadline is None and (stopping or ended_badly):
                # The others save and stop, or find out in about ten seconds that one is lost.
                deadline = time.monotonic() + GRACE.value
                if stopping:
                    _signal_all(workers, stopping[0])
            if deadline is not None and time.monotonic() > deadline:
                break
    finally:
        _signal_all(workers, signal.SIGKILL)
        for worker in workers:
            worker.wait()
        for printer in printers:
            printer.join()
    if stopping:
        return 128 + stopping[0]
    # A worker's own verdict says more than what its end did to the others.
    codes = [worker.returncode for worker in workers]
    return next((c for c in codes if c not in (0, LOST_PEER)), max(codes))


def _start(index: int, cluster: dict[str, list[str]], arguments: list[str]) -> subprocess.Popen:
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "trainer.main", *arguments),
            "--gin_file=hardware/multi_worker.gin",
            f"--gin_param=multi_worker.peer_timeout={PEER_TIMEOUT.value}",
        ],
        env=os.environ | {"TF_CONFIG": json.dumps(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that Ctrl-C reaches the workers only once, from here
        preexec_fn=lambda: _settle(index),
    )


def _settle(index: int) -> None:
    """In the new process: its share of the cores, and no life after this script's."""
    cores = sorted(os.sched_getaffinity(0))
    share = cores[index :: NUM_WORKERS.value] or [cores[index % len(cores)]]
    os.sched_setaffinity(0, share)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _print_lines(index: int, worker: subprocess.Popen) -> None:
    for line in worker.stdout:
        _say(f"[worker {index}] {line.rstrip()}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece: several threads write
    sys.stdout.flush()


def _signal_all(workers: list[subprocess.Popen], number: signal.Signals) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


if __name__ == "__main__":
    app.run(main)
