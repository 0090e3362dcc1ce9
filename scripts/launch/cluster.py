"""What the launchers share: a cluster's processes, and the checks of a command line.

Every launcher is run as `python scripts/launch/PLACE.py --flags -- arguments of trainer.main`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from absl import flags

from trainer.errors import LOST_PEER

DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the exact commands and start nothing.")
MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts", 3, "How often to start all again after one died.", lower_bound=0
)
GRACE = flags.DEFINE_float(
    "grace", 30, "Seconds that workers have to save and stop on Ctrl-C or SIGTERM.", lower_bound=0
)

INSTALLED_PYTHON = "gan/bin/python"  # where `install` puts it
MULTI_WORKER = "--gin_file=hardware/multi_worker.gin"
_STOPS = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}
_REFUSALS = {1, 2, 126, 127}  # of the trainer, of its flags, and of a shell without such a command


def trainer_arguments(
    argv: Sequence[str], *, remote: bool = True, bucket: bool = False
) -> list[str]:
    """What follows `--`; ends the program where a run could not be found again.

    Args:
      argv: As absl passes it to main.
      remote: Whether the trainer runs elsewhere, and --model_dir must therefore be named.
      bucket: Whether it must be in a bucket, since the machines' disks go with them.
    """
    arguments = list(argv[1:])
    named = [a.partition("=")[2] for a in arguments if a.startswith("--model_dir=")]
    if remote and not named:
        fail("no --model_dir=DIR after `--`: name one that all machines see, so that it can resume")
    if bucket and not named[-1].startswith("gs://"):
        fail(f"--model_dir={named[-1]} must be in a bucket, gs://..., which outlives the machines")
    return arguments


def fail(message: str) -> NoReturn:
    """Ends the program with one line and code 1."""
    say(f"error: {message}")
    sys.exit(1)


def say(line: str) -> None:
    """Prints a line in one piece, since several threads write."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(command: Sequence[str]) -> int:
    """Says what it runs, and runs it unless --dry_run; returns its exit code."""
    say(f"+ {shlex.join(command)}")
    if DRY_RUN.value:
        return 0
    try:
        return subprocess.run(command).returncode
    except FileNotFoundError:
        fail(f"{command[0]} is not installed here, or not in PATH")


@contextlib.contextmanager
def rented(create: Sequence[str], delete: Sequence[str]) -> Iterator[None]:
    """Machines that cost money: made here, and given back at the end, however it comes."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    say(f"What is created now is paid for until: {shlex.join(delete)}")
    ours = True
    try:
        if run(create):
            ours = False  # perhaps it was there before
            fail(
                f"nothing was created, or in part. To give back what is there: {shlex.join(delete)}"
            )
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if ours and run(delete):
            say(f"error: STILL PAID FOR, since that failed. Run: {shlex.join(delete)}")


def until_ready(command: Sequence[str]) -> None:
    """Runs a command every ten seconds until it succeeds: a machine that starts takes minutes."""
    for _ in range(60):
        if run(command) == 0:
            return
        time.sleep(10)
    fail("the machine did not become ready within ten minutes")


def install(wheel: str, flavour: str) -> str:
    """A line for a remote shell: the wheel, copied to the home directory, into ~/gan.

    With uv, since the trainer needs Python 3.11 and machine images have what they have.
    """
    requirement = f"./{Path(wheel).name}[{flavour}]"
    return (
        "curl -LsSf https://astral.sh/uv/install.sh | sh && "
        "~/.local/bin/uv venv --allow-existing --python=3.11 gan && "
        f"~/.local/bin/uv pip install --python=gan/bin/python {shlex.quote(requirement)}"
    )


def require(**flags_given: str | None) -> None:
    """Ends the program where one of these flags was not given."""
    for name, value in flags_given.items():
        if not value:
            fail(f"no --{name}=... given; --help says what it is")


def require_file(flag: str, path: str) -> None:
    """Ends the program where a flag names no file."""
    if not Path(path).is_file():
        fail(f"--{flag}={path} is no file; make it with: pip wheel --no-deps --wheel-dir=dist .")


def run_or_fail(command: Sequence[str]) -> None:
    """Runs a command, and ends the program with one line where it fails."""
    if code := run(command):
        fail(f"{shlex.join(command[:5])} ... ended with code {code}; its own lines say why")


def supervise(start: Callable[[], list[subprocess.Popen]], pause: float = 0) -> int:
    """Runs workers until all end well; after a death, starts all again up to --max_restarts times.

    Args:
      start: Starts the workers with `stdout=PIPE, text=True`, in a session of their own, so that
        Ctrl-C reaches only this process.
      pause: Seconds before each new start.

    Returns:
      0, the code of a worker that refused its command, or 128 + the signal's number.
    """
    stopping: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, frame: stopping.append(signal.Signals(n)))
    for attempt in range(MAX_RESTARTS.value + 1):
        code = _one_life(start(), stopping)
        if code in {0} | _REFUSALS | _STOPS:
            return code
        if attempt < MAX_RESTARTS.value:
            say(f"a worker ended with code {code}: starting all again from the last checkpoint")
            time.sleep(pause)
    say(f"error: gave up after {MAX_RESTARTS.value} restarts; see the lines above for the reason")
    return code


def _one_life(workers: list[subprocess.Popen], stopping: list[signal.Signals]) -> int:
    """From start to end of all: returns the code that says most of how it ended."""
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
    # A worker's own verdict says more than what its end did to the others.
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
