"""Which of several configs is better: each is trained and evaluated with several seeds."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from trainer import files
from trainer.distributed import cluster
from trainer.errors import TrainerError
from trainer.evaluation.card import TITLES, Card, number

_DONE = "compared.json"
FEW = 4  # configs that a table has a column each for
_RANKED = ("fid", "precision", "recall", "coverage", "confident", "class_kl")
"""What a table says of more configs than that."""


@dataclass(frozen=True)
class Variant:
    """A config under comparison; the first one is the baseline."""

    name: str
    gin_files: tuple[str, ...]
    gin_params: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A variant and the cards of its runs, by seed."""

    variant: Variant
    cards: tuple[Card, ...]

    def values(self, metric: str) -> np.ndarray:
        """[seeds]."""
        return np.array([card.metrics[metric].value for card in self.cards])

    def mean_and_deviation(self, metric: str) -> str:
        """Mean and standard deviation over the seeds, as text."""
        values = self.values(metric)
        if len(values) == 1:
            return number(values[0])
        return f"{number(values.mean())} ± {number(values.std(ddof=1))}"


def variants(gin_files: Sequence[str], rivals: Sequence[str]) -> list[Variant]:
    """The baseline, and the baseline with each rival's overlays and bindings over it.

    Args:
      gin_files: The baseline.
      rivals: Overlays and bindings (NAME=VALUE without a comma in it) in one text, with commas
        between them.

    Raises:
      TrainerError: if two would have the same name, or a rival has no overlay to be named by.
    """
    if not gin_files or not rivals:
        raise TrainerError("name a base config with --gin_file, and its rivals' overlays with --vs")
    found = [Variant(_name(gin_files), tuple(gin_files))]
    for rival in rivals:
        parts = rival.split(",")
        bindings = tuple(part for part in parts if "=" in part)
        overlays = [part for part in parts if part not in bindings]
        if not overlays:
            raise TrainerError(f"--vs={rival} names no .gin file; put the bindings into one")
        found.append(Variant(_name(overlays), (*gin_files, *overlays), bindings))
    names = [variant.name for variant in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TrainerError(f"two configs are named {twice.pop()}; copy one to another file name")
    return found


def _name(gin_files: Sequence[str]) -> str:
    paths = [PurePosixPath(name) for name in gin_files]
    deciding = [path for path in paths if path.parent.name != "hardware"]
    return "-".join(path.stem for path in deciding or paths)


def model_dir(output: str, variant: Variant, seed: int) -> str:
    """Where the run of a variant and seed is."""
    return f"{output}/{variant.name}/seed_{seed}"


class Runs:
    """Trains and evaluates the runs of a comparison, some of them at the same time.

    Args:
      output: Local or gs:// directory of the comparison.
      extra: Further flags of trainer.main.
      parallel: How many runs at a time, at least 1; each has its own share of the cores.
    """

    def __init__(self, output: str, extra: Sequence[str], parallel: int = 1) -> None:
        self._output = output
        self._extra = extra
        self._parallel = parallel
        self._processes: set[subprocess.Popen] = set()
        self._stopped: int | None = None

    def __call__(self, pairs: Sequence[tuple[Variant, int]]) -> int:
        """Trains (or resumes) and evaluates each variant with each seed, unless that was done.

        SIGINT and SIGTERM are passed on to what runs, so that it can save; then nothing more is
        begun.

        Returns:
          The exit code of the first of the trainer's processes that failed, or 0.
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
        flags += [*self._extra, f"--gin_param=train.seed={seed}"]
        flags += [f"--gin_param={binding}" for binding in variant.gin_params]
        done = f"{directory}/{_DONE}"
        if _read_json(done) == flags and Card.load(directory):
            print(f"{directory} is trained and evaluated already", flush=True)
            return 0
        for mode in ("train", "evaluate"):
            print(f"{variant.name}, seed {seed}: {mode}", flush=True)
            command = [sys.executable, "-m", "trainer.main", f"--mode={mode}", *flags]
            if code := self._supervise([*command, f"--model_dir={directory}"], slot):
                return code
        files.write_file(done, json.dumps(flags))
        return 0

    def _supervise(self, command: Sequence[str], slot: int) -> int:
        """The exit code of a command."""
        # In a session of its own: otherwise a terminal's Ctrl-C would reach it twice.
        process = subprocess.Popen(command, start_new_session=True)
        if self._parallel > 1:
            os.sched_setaffinity(process.pid, cluster.cores(slot, self._parallel))
        self._processes.add(process)
        if self._stopped is not None:  # while it was being started
            process.send_signal(self._stopped)
        code = process.wait()
        self._processes.discard(process)
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: int, frame: object) -> None:
        self._stopped = number
        for process in tuple(self._processes):
            process.send_signal(number)


def _read_json(path: str) -> object:
    """The content of a file; None if there is none."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)


def collect(found: Sequence[Variant], seeds: Sequence[int], output: str) -> list[Result]:
    """The cards of all runs.

    Raises:
      TrainerError: if one is missing, or was measured in another way than the others.
    """
    results = []
    for variant in found:
        cards = [Card.load(model_dir(output, variant, seed)) for seed in seeds]
        if None in cards:
            raise TrainerError(f"{output}/{variant.name} lacks an evaluation; compare again")
        results.append(Result(variant, tuple(card for card in cards if card)))
    ways = {
        (card.dataset, card.num_samples, card.num_test, card.extractor_sha256)
        for result in results
        for card in result.cards
    }
    if len(ways) > 1:
        raise TrainerError(
            f"the evaluations in {output} were made with different features, numbers of samples or "
            f"datasets; remove every {_DONE} there and compare again"
        )
    return results


def verdict(baseline: Result, rival: Result, metric: str = "fid") -> str:
    """In words, which has the lower mean, and whether the seeds can tell (Welch's t-test)."""
    title = TITLES[metric][0]
    ours, theirs = baseline.values(metric), rival.values(metric)
    difference = theirs.mean() - ours.mean()
    names = f"{rival.variant.name}'s {title} is {number(abs(difference))} "
    names += f"{'higher' if difference > 0 else 'lower'} than {baseline.variant.name}'s"
    if len(ours) < 2:
        return f"{names} with one seed, which says nothing of how much other seeds would differ."
    test = stats.ttest_ind(theirs, ours, equal_var=False)
    interval = test.confidence_interval(0.95)
    shown = f"95 % interval of the difference {number(interval.low)} to {number(interval.high)}, "
    shown += f"Welch's t-test over {len(ours)} seeds each, p = {test.pvalue:.2g}"
    if interval.low <= 0 <= interval.high:
        return f"{names}, but {len(ours)} seeds cannot tell them apart ({shown})."
    better = rival if difference < 0 else baseline
    return f"{better.variant.name} is better: {names} ({shown})."


class Table(NamedTuple):
    """A comparison as text."""

    header: list[str]
    rows: list[list[str]]


def table(results: Sequence[Result]) -> Table:
    """All metrics, a column a config; of more than a few configs a row each, the best first.

    Values are means and standard deviations over the seeds.
    """
    return _by_metric(results) if len(results) <= FEW else _by_config(results)


def _by_metric(results: Sequence[Result]) -> Table:
    real = results[0].cards[0].metrics
    return Table(
        ["", *(result.variant.name for result in results), "real images"],
        [
            [
                f"{title} {reading}",
                *(result.mean_and_deviation(metric) for result in results),
                number(real[metric].real),
            ]
            for metric, (title, reading) in TITLES.items()
        ],
    )


def _by_config(results: Sequence[Result]) -> Table:
    baseline = results[0]
    ours = baseline.values("fid")
    rows = []
    for result in sorted(results, key=lambda result: result.values("fid").mean()):
        theirs = result.values("fid")
        chance = ""
        if result is not baseline and len(ours) > 1:
            chance = f"{stats.ttest_ind(theirs, ours, equal_var=False).pvalue:.2g}"
        name = f"{result.variant.name} (baseline)" if result is baseline else result.variant.name
        values = [result.mean_and_deviation(metric) for metric in _RANKED]
        rows.append([name, *values, f"{theirs.mean() / ours.mean():.2f}", chance])
    real = [number(baseline.cards[0].metrics[metric].real) for metric in _RANKED]
    titles = [" ".join(TITLES[metric]) for metric in _RANKED]
    header = ["", *titles, "FID, share of the baseline's", "p (Welch's t-test of FID)"]
    return Table(header, [*rows, ["real images", *real, "", ""]])


def markdown(results: Sequence[Result]) -> str:
    """The table as Markdown."""
    header, rows = table(results)
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], "| --- " * len(header) + "|", *lines[1:]])
