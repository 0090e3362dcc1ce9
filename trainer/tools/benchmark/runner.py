"""Runs the loops in turns, since a shared machine's speed drifts and only ratios are reliable."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.distributed import cluster
from trainer.errors import TrainerError
from trainer.tools.benchmark.cases import CASES, REFERENCE
from trainer.tools.benchmark.problem import Problem

_WARM_UP = 3


@dataclass
class Result:
    """Measurements of one loop."""

    losses: list[float]
    """Losses of the discriminator and the generator in the first step, without dropout."""
    seconds_per_step: list[float] = field(default_factory=list)
    """One number for each round."""
    peak_bytes: int = 0
    """Peak resident memory of all its processes together."""


class _Running:
    """The processes of a case."""

    def __init__(self, name: str, problem: str, errors: Path, stack: contextlib.ExitStack) -> None:
        self.name = name
        self._errors = errors
        count = CASES[name].num_processes
        ports = cluster.free_ports(count) if count > 1 else []
        self.processes = [
            stack.enter_context(self._start(problem, index, ports)) for index in range(count)
        ]
        for process in self.processes:
            stack.callback(process.kill)

    def _start(self, problem: str, index: int, ports: Sequence[int]) -> subprocess.Popen:
        environment = dict(os.environ)
        cores = cluster.cores(index, len(ports) or 1)
        if ports:
            workers = [f"localhost:{port}" for port in ports]
            environment["TF_CONFIG"] = cluster.tf_config(workers, index)
        with self._errors.open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "trainer.tools.benchmark.process", self.name, problem],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )

    def read(self) -> list[dict]:
        """The next line of each process."""
        lines = [process.stdout.readline() for process in self.processes if process.stdout]
        if not all(lines):
            last = self._errors.read_text().strip().splitlines()[-1:] or ["no message"]
            raise TrainerError(f"{CASES[self.name].title} failed: {last[0]}")
        return [json.loads(line) for line in lines]

    def train(self, num_steps: int) -> list[dict]:
        for process in self.processes:
            assert process.stdin
            process.stdin.write(f"{num_steps}\n")
            process.stdin.flush()
        return self.read()


def run(
    problem: Problem,
    names: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    between: Callable[[], None] = lambda: None,
    report: Callable[[str], None] = print,
) -> dict[str, Result]:
    """Lets each loop train for about `seconds`, in turn, `rounds` times.

    Args:
      problem: The start of all loops.
      names: Names in CASES.
      rounds: Number of turns of each loop, at least 1.
      seconds: Length of a turn.
      between: Called once a round, while all loops wait.
      report: Called with a line of progress.

    Raises:
      TrainerError: if a loop fails, or does not compute the same first step.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = str(directory / "problem.npz")
        problem.save(path)
        running, results, steps = [], {}, {}
        for name in names:  # one after the other, so that none compiles while another is timed
            one = _Running(name, path, directory / f"{name}.log", stack)
            running.append(one)
            results[name] = Result(one.read()[0]["losses"])
            seconds_per_step = [one.train(_WARM_UP) for _ in range(2)][-1][0]["seconds"] / _WARM_UP
            steps[name] = max(1, round(seconds / seconds_per_step))
            report(f"{CASES[name].title}: ready, {steps[name]} steps a turn")
        check_losses(results)
        for number in range(rounds):
            for one in running:
                measured = one.train(steps[one.name])
                slowest = max(each["seconds"] for each in measured)
                results[one.name].seconds_per_step.append(slowest / steps[one.name])
                results[one.name].peak_bytes = sum(each["peak_bytes"] for each in measured)
            between()
            report(f"round {number + 1} of {rounds} done")
        return results


def check_losses(results: Mapping[str, Result]) -> None:
    """Refuses loops whose first losses differ from the trainer's in float32.

    Raises:
      TrainerError: naming the loop.
    """
    expected = results.get(REFERENCE) or next(iter(results.values()))
    for name, result in results.items():
        case = CASES[name]
        for found, wanted in zip(result.losses, expected.losses, strict=True):
            if abs(found - wanted) > case.rounding * abs(wanted):
                raise TrainerError(
                    f"{case.title} does not compute the same step: its first losses are "
                    f"{result.losses}, not {expected.losses}"
                )
