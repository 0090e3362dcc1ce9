"""What a comparison found: means over the seeds, Welch's t-test, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from trainer.errors import TrainerError
from trainer.evaluation.card import TITLES, Card, number
from trainer.reporting import hparams, markdown
from trainer.tools.compare.runner import DONE
from trainer.tools.compare.variants import Variant, model_dir

MAX_COLUMNS = 4
"""Up to so many configs, a table has a column for each; otherwise a row for each."""

_ROW_METRICS = ("fid", "precision", "recall", "coverage", "confident", "class_kl")
"""The metrics of a table with a row for each config."""


@dataclass(frozen=True)
class Result:
    """A variant, and the evaluation card of its run with each seed."""

    variant: Variant
    cards: tuple[Card, ...]

    def values(self, metric: str) -> np.ndarray:
        """A metric's value for each seed, [S]."""
        return np.array([card.metrics[metric].value for card in self.cards])

    def mean_and_deviation(self, metric: str) -> str:
        """Mean and standard deviation over the seeds, as text."""
        values = self.values(metric)
        if len(values) == 1:
            return number(values[0])
        return f"{number(values.mean())} ± {number(values.std(ddof=1))}"


def collect(variants: Sequence[Variant], seeds: Sequence[int], output: str) -> list[Result]:
    """Reads the cards of all runs.

    Raises:
      TrainerError: if one is missing, or was measured in another way than the others.
    """
    results = []
    for variant in variants:
        cards = [Card.load(model_dir(output, variant, seed)) for seed in seeds]
        if None in cards:
            raise TrainerError(f"{output}/{variant.name} lacks an evaluation; compare again")
        results.append(Result(variant, tuple(card for card in cards if card)))
    measurements = {
        (card.dataset, card.num_samples, card.num_test, card.extractor_sha256)
        for result in results
        for card in result.cards
    }
    if len(measurements) > 1:
        raise TrainerError(
            f"the evaluations in {output} were made with different features, numbers of samples or "
            f"datasets; remove every {DONE} there and compare again"
        )
    return results


def conclusion(baseline: Result, variant: Result, metric: str = "fid") -> str:
    """A sentence: which mean is lower, and whether the seeds can tell (Welch's t-test).

    Welch, "The generalization of 'Student's' problem when several different population variances
    are involved", 1947.

    Args:
      baseline: The baseline's result.
      variant: Another one's, with the same seeds.
      metric: Name of a metric whose lower value is better.
    """
    title = TITLES[metric][0]
    base, other = baseline.values(metric), variant.values(metric)
    difference = other.mean() - base.mean()
    names = f"{variant.variant.name}'s {title} is {number(abs(difference))} "
    names += f"{'higher' if difference > 0 else 'lower'} than {baseline.variant.name}'s"
    if len(base) < 2:
        return f"{names} with one seed, which does not show how much other seeds would differ."
    test = stats.ttest_ind(other, base, equal_var=False)
    interval = test.confidence_interval(0.95)
    shown = f"95 % interval of the difference {number(interval.low)} to {number(interval.high)}, "
    shown += f"Welch's t-test over {len(base)} seeds each, p = {test.pvalue:.2g}"
    if interval.low <= 0 <= interval.high:
        return f"{names}, but {len(base)} seeds cannot tell them apart ({shown})."
    better = variant if difference < 0 else baseline
    return f"{better.variant.name} is better: {names} ({shown})."


class Table(NamedTuple):
    """A comparison as text."""

    header: list[str]
    rows: list[list[str]]


def table(results: Sequence[Result]) -> Table:
    """The metrics as means and standard deviations over the seeds.

    Args:
      results: The baseline's first. Up to MAX_COLUMNS make a column each, with all metrics; more
        make a row each, the lowest FID first.
    """
    return _by_metric(results) if len(results) <= MAX_COLUMNS else _by_config(results)


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
    base = baseline.values("fid")
    rows = []
    for result in sorted(results, key=lambda result: result.values("fid").mean()):
        fids = result.values("fid")
        name, p_value = result.variant.name, ""
        if result is baseline:
            name += " (baseline)"
        elif len(base) > 1:
            p_value = f"{stats.ttest_ind(fids, base, equal_var=False).pvalue:.2g}"
        values = [result.mean_and_deviation(metric) for metric in _ROW_METRICS]
        rows.append([name, *values, f"{fids.mean() / base.mean():.2f}", p_value])
    real = [number(baseline.cards[0].metrics[metric].real) for metric in _ROW_METRICS]
    titles = [" ".join(TITLES[metric]) for metric in _ROW_METRICS]
    header = ["", *titles, "FID, share of the baseline's", "p (Welch's t-test of FID)"]
    return Table(header, [*rows, ["real images", *real, "", ""]])


def as_markdown(results: Sequence[Result]) -> str:
    """`table` in Markdown."""
    return markdown.table(*table(results))


def write_columns(output: str, model_dirs: Sequence[str]) -> None:
    """Writes to `output` which settings and metrics TensorBoard shows for the runs below it."""
    titles = {f"evaluation/{name}": " ".join(title) for name, title in TITLES.items()}
    hparams.write_columns(output, model_dirs, titles)
