"""Keeps a cluster's worker processes running, and restarts them all when one dies."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from trainer.errors import LOST_PEER
from trainer.tools.launch.command import GRACE, MAX_RESTARTS, say, say_error

_STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}
# Codes after which another start would end the same: the trainer's, its flags', and a shell's for a
# command that cannot be run.
_REFUSED = {1, 2, 126, 127}


def supervise(start: Callable[[], list[subprocess.Popen]], pause: float = 0) -> int:
    """Runs workers until all end well; after a death, restarts all, up to --max_restarts times.

    Args:
      start: Starts the workers with `stdout=PIPE, text=True`, each in a session of its own, so that
        a terminal's Ctrl-C reaches only this process.
      pause: Seconds before each new start.

    Returns:
      0, the code of a worker that refused its command, or 128 + the signal's number.
    """
    stopping: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, frame: stopping.append(signal.Signals(n)))
    for attempt in range(MAX_RESTARTS.value + 1):
        code = _run_once(start(), stopping)
        if code in {0} | _REFUSED | _STOPPED:
            return code
        if attempt < MAX_RESTARTS.value:
            say(f"a worker ended with code {code}: starting all again from the last checkpoint")
            time.sleep(pause)
    say_error(f"gave up after {MAX_RESTARTS.value} restarts; see the lines above for the reason")
    return code


def _run_once(workers: list[subprocess.Popen], stopping: list[signal.Signals]) -> int:
    """Watches workers until all have ended; returns the code that explains it best."""
    printers = [threading.Thread(target=_print_lines, args=(i, w)) for i, w in enumerate(workers)]
    for printer in printers:
        printer.start()
    deadline = None
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.1)
            ended_badly = any(worker.returncode for worker in workers)
            if deadline is None and (stopping or ended_badly):
                # The others save and stop, or notice within about ten seconds that one is lost.
                deadline = time.monotonic() + GRACE.value
                if stopping:
                    _tell_all(workers, lambda worker: worker.send_signal(stopping[0]))
            if deadline is not None and time.monotonic() > deadline:
                break
    finally:
        _tell_all(workers, lambda worker: worker.kill())
        for worker in workers:
            worker.wait()
        for printer in printers:
            printer.join()
    if stopping:
        return 128 + stopping[0]
    # A worker that failed by itself says more than those that lost it.
    codes = [worker.returncode for worker in workers]
    return next((c for c in codes if c not in (0, LOST_PEER)), max(codes))


def _tell_all(workers: list[subprocess.Popen], tell: Callable[[subprocess.Popen], None]) -> None:
    alive = [worker for worker in workers if worker.poll() is None]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(tell, alive))


def _print_lines(index: int, worker: subprocess.Popen) -> None:
    assert worker.stdout
    for line in worker.stdout:
        say(f"[worker {index}] {line.rstrip()}")
