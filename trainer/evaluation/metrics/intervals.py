"""Confidence intervals by the jackknife: how much an estimate changes when a group is left out.

The bootstrap would draw some samples twice, which FID and KID take for a loss of diversity and
which raises them. Leaving groups out does not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

NUM_GROUPS = 20


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def groups(count: int) -> np.ndarray:
    """int [count]: the group of each sample; min(NUM_GROUPS, count) groups of nearly equal size."""
    return np.arange(count) % min(NUM_GROUPS, count)


def jackknife(value: float, *left_out: np.ndarray) -> Estimate:
    """The 95 % confidence interval of an estimate from one or more independent samples.

    Args:
      value: The estimate from all data.
      *left_out: For each sample an array [G]: the estimates without each of its G >= 2 groups.

    Returns:
      value -/+ t * se. se**2 is the sum over the samples of (G - 1) / G * sum((x - mean(x))**2), x
      being that sample's array (Efron and Stein, "The Jackknife Estimate of Variance", 1981). t is
      the 97.5 % quantile of Student's distribution with G - 1 degrees of freedom, for the smallest
      G.
    """
    variance = sum((len(x) - 1) * np.var(x) for x in left_out)
    freedom = min(len(x) for x in left_out) - 1
    margin = float(special.stdtrit(freedom, 0.975) * np.sqrt(variance))
    return Estimate(float(value), float(value) - margin, float(value) + margin)
