"""Runs the loops in turns, since a shared machine's speed drifts and only ratios hold."""

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
from trainer.tools.benchmark.entrants import ENTRANTS, REFERENCE
from trainer.tools.benchmark.problem import Problem

_WARM_UP = 3


@dataclass
class Result:
    """What one loop did."""

    losses: list[float]
    """The discriminator's and the generator's in the first step, dropout off."""
    seconds_per_step: list[float] = field(default_factory=list)
    """One number a round."""
    peak_bytes: int = 0
    """Of resident memory, all its processes together."""


class _Running:
    """An entrant's processes."""

    def __init__(self, name: str, problem: str, errors: Path, stack: contextlib.ExitStack) -> None:
        self.name = name
        self._errors = errors
        count = ENTRANTS[name].num_processes
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

    def hear(self) -> list[dict]:
        """The next line of each process."""
        lines = [process.stdout.readline() for process in self.processes if process.stdout]
        if not all(lines):
            last = self._errors.read_text().strip().splitlines()[-1:] or ["no message"]
            raise TrainerError(f"{ENTRANTS[self.name].title} failed: {last[0]}")
        return [json.loads(line) for line in lines]

    def train(self, num_steps: int) -> list[dict]:
        for process in self.processes:
            assert process.stdin
            process.stdin.write(f"{num_steps}\n")
            process.stdin.flush()
        return self.hear()


def race(
    problem: Problem,
    names: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    between: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = print,
) -> dict[str, Result]:
    """Lets each loop train for about `seconds`, in turn, `rounds` times.

    Args:
      problem: Where they all begin.
      names: Of ENTRANTS.
      rounds: At least 1.
      seconds: Of each turn.
      between: Called once a round, while all of them wait.
      say: Told what happens.

    Raises:
      TrainerError: if a loop fails, or does not compute what the others do.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = str(directory / "problem.npz")
        problem.save(path)
        running, results, steps = [], {}, {}
        for name in names:  # one after the other: none is slowed down by another's compiler
            one = _Running(name, path, directory / f"{name}.log", stack)
            running.append(one)
            results[name] = Result(one.hear()[0]["losses"])
            seconds_a_step = [one.train(_WARM_UP) for _ in range(2)][-1][0]["seconds"] / _WARM_UP
            steps[name] = max(1, round(seconds / seconds_a_step))
            say(f"{ENTRANTS[name].title}: ready, {steps[name]} steps a turn")
        check_losses(results)
        for number in range(rounds):
            for one in running:
                said = one.train(steps[one.name])
                slowest = max(answer["seconds"] for answer in said)
                results[one.name].seconds_per_step.append(slowest / steps[one.name])
                results[one.name].peak_bytes = sum(answer["peak_bytes"] for answer in said)
            between()
            say(f"round {number + 1} of {rounds} done")
        return results


def check_losses(results: Mapping[str, Result]) -> None:
    """Refuses loops whose first losses differ from the trainer's in float32.

    Raises:
      TrainerError: naming the loop.
    """
    expected = results.get(REFERENCE) or next(iter(results.values()))
    for name, result in results.items():
        entrant = ENTRANTS[name]
        for ours, theirs in zip(result.losses, expected.losses, strict=True):
            if abs(ours - theirs) > entrant.rounding * abs(theirs):
                raise TrainerError(
                    f"{entrant.title} does not compute the same step: its first losses are "
                    f"{result.losses}, not {expected.losses}"
                )
