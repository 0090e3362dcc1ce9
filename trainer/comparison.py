"""Which of several configs is better: each is trained and evaluated with several seeds."""

from __future__ import annotations

import json
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

from trainer import storage
from trainer.card import TITLES, Card, number
from trainer.errors import TrainerError

_DONE = "compared.json"


@dataclass(frozen=True)
class Variant:
    """A config under comparison; the first one is the baseline."""

    name: str
    gin_files: tuple[str, ...]


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
    """The baseline, and the baseline with each rival's overlays (comma-separated) over it.

    Raises:
      TrainerError: if two would have the same name.
    """
    if not gin_files or not rivals:
        raise TrainerError("name a base config with --gin_file, and its rivals' overlays with --vs")
    found = [Variant(_name(gin_files), tuple(gin_files))]
    for rival in rivals:
        overlays = rival.split(",")
        found.append(Variant(_name(overlays), (*gin_files, *overlays)))
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


def run(variant: Variant, seed: int, output: str, extra: Sequence[str]) -> int:
    """Trains (or resumes) and evaluates one run, unless that was done already.

    Args:
      variant: Its config.
      seed: The run's seed.
      output: Local or gs:// directory of the comparison.
      extra: Further flags of trainer.main.

    Returns:
      The exit code of the first of the trainer's processes that failed, or 0.
    """
    directory = model_dir(output, variant, seed)
    flags = [f"--gin_file={name}" for name in variant.gin_files]
    flags += [*extra, f"--gin_param=train.seed={seed}"]
    done = f"{directory}/{_DONE}"
    if _read_json(done) == flags and Card.load(directory):
        print(f"{directory} is trained and evaluated already", flush=True)
        return 0
    for mode in ("train", "evaluate"):
        print(f"{variant.name}, seed {seed}: {mode}", flush=True)
        command = [sys.executable, "-m", "trainer.main", f"--mode={mode}", *flags]
        if code := _supervise([*command, f"--model_dir={directory}"]):
            return code
    storage.write_file(done, json.dumps(flags))
    return 0


def _read_json(path: str) -> object:
    """The content of a file; None if there is none."""
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)


def _supervise(command: Sequence[str]) -> int:
    """The exit code of a command to which SIGINT and SIGTERM are passed on, so that it can save."""
    # In a session of its own: otherwise a terminal's Ctrl-C would reach it twice.
    process = subprocess.Popen(command, start_new_session=True)
    previous = {
        number: signal.signal(number, lambda number, frame: process.send_signal(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


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
        results.append(Result(variant, tuple(cards)))
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


class Row(NamedTuple):
    """One metric of a comparison, as text."""

    title: str
    values: list[str]
    """Mean and standard deviation over the seeds, of each result."""
    real: str
    """What real images read."""


def rows(results: Sequence[Result]) -> list[Row]:
    """The table of all metrics."""
    real = results[0].cards[0].metrics
    return [
        Row(
            f"{title} {reading}",
            [result.mean_and_deviation(metric) for result in results],
            number(real[metric].real),
        )
        for metric, (title, reading) in TITLES.items()
    ]


def markdown(results: Sequence[Result]) -> str:
    """The table of all metrics as Markdown."""
    names = [result.variant.name for result in results]
    lines = [f"| | {' | '.join(names)} | real images |", "| --- |" + " --- |" * (len(names) + 1)]
    lines += [f"| {row.title} | {' | '.join(row.values)} | {row.real} |" for row in rows(results)]
    return "\n".join(lines)
