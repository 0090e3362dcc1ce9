"""Trains and evaluates the runs of a comparison, in processes of their own."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from trainer import files
from trainer.distributed import cluster
from trainer.evaluation.card import Card
from trainer.tools.compare.variants import Variant, model_dir

DONE = "compared.json"
"""The flags of a run, written to its directory when it is trained and evaluated."""


class Runner:
    """Trains and evaluates runs, `parallel` at a time.

    Args:
      output: Directory of the comparison, local or gs://.
      flags: Flags of trainer.main for every run.
      parallel: Number of runs at a time, at least 1; each gets its own share of the cores.
    """

    def __init__(self, output: str, flags: Sequence[str], parallel: int = 1) -> None:
        self._output = output
        self._flags = flags
        self._parallel = parallel
        self._processes: set[subprocess.Popen] = set()
        self._stopped: int | None = None

    def run(self, pairs: Sequence[tuple[Variant, int]]) -> int:
        """Trains (or resumes) and evaluates each variant with each seed, unless that was done.

        SIGINT and SIGTERM are passed on to the running processes, which save; no others start then.

        Returns:
          0, or the exit code of the first process that failed.
        """
        waiting = collections.deque(pairs)
        failed: list[int] = []

        def work(slot: int) -> None:
            while waiting and not failed and self._stopped is None:
                if code := self._run(*waiting.popleft(), slot):
                    failed.append(code)

        previous = {
            number: signal.signal(number, self._pass_on)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with concurrent.futures.ThreadPoolExecutor(self._parallel) as pool:
                list(pool.map(work, range(self._parallel)))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return failed[0] if failed else 0

    def _run(self, variant: Variant, seed: int, slot: int) -> int:
        directory = model_dir(self._output, variant, seed)
        flags = [f"--gin_file={name}" for name in variant.gin_files]
        flags += [*self._flags, f"--gin_param=train.seed={seed}"]
        flags += [f"--gin_param={setting}" for setting in variant.gin_params]
        done = f"{directory}/{DONE}"
        same = files.is_file(done) and json.loads(files.read_text(done)) == flags
        if same and Card.load(directory):
            print(f"{directory} is trained and evaluated already", flush=True)
            return 0
        for mode in ("train", "evaluate"):
            print(f"{variant.name}, seed {seed}: {mode}", flush=True)
            command = [sys.executable, "-m", "trainer.main", f"--mode={mode}", *flags]
            if code := self._wait([*command, f"--model_dir={directory}"], slot):
                return code
        files.write_file(done, json.dumps(flags))
        return 0

    def _wait(self, command: Sequence[str], slot: int) -> int:
        """Runs a command, and returns its exit code."""
        # In a session of its own: otherwise a terminal's Ctrl-C would reach it twice.
        process = subprocess.Popen(command, start_new_session=True)
        if self._parallel > 1:
            os.sched_setaffinity(process.pid, cluster.cores(slot, self._parallel))
        self._processes.add(process)
        if self._stopped is not None:  # a signal that came while the process started
            process.send_signal(self._stopped)
        code = process.wait()
        self._processes.discard(process)
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: int, frame: object) -> None:
        self._stopped = number
        for process in tuple(self._processes):
            process.send_signal(number)
