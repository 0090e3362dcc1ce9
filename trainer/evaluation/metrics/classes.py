"""Metrics from the logits of a classifier of the dataset's own classes."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, rel_entr

CONFIDENT = 0.95
"""Probability of the most probable class from which a sample counts as confidently classified."""


def classifier_score(logits: np.ndarray) -> float:
    """exp(mean KL(p(y|x) || p(y))) of logits [N, K], in [1, K].

    The formula of the Inception Score (Salimans et al., 2016, section 4), with a classifier of the
    dataset's own classes instead of Inception.
    """
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    marginal = np.exp(log_p).mean(axis=0)
    return float(np.exp(rel_entr(np.exp(log_p), marginal).sum(axis=1).mean()))


def histogram(logits: np.ndarray) -> np.ndarray:
    """Logits [N, K] -> int [K]: the number of samples of each class, the most probable one."""
    return np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])


def modes(counts: np.ndarray) -> int:
    """Number of classes with at least one sample, from a `histogram` [K] (Metz et al., 2017)."""
    return int(np.count_nonzero(counts))


def divergence(counts: np.ndarray, reference: np.ndarray) -> float:
    """KL(counts || reference) in nats, at least 0, of two class histograms [K].

    One is added to each reference count, so that the result is finite. With generated counts and
    real reference counts it is the "reverse KL" of the literature on mode collapse (Metz et al.,
    2017; Srivastava et al., 2017).
    """
    p, q = counts / counts.sum(), (reference + 1) / (reference + 1).sum()
    return float(rel_entr(p, q).sum())


def confidence(logits: np.ndarray) -> np.ndarray:
    """Logits [N, K] -> [N] in [1 / K, 1]: the probability of the most probable class."""
    return np.exp(log_softmax(logits.astype(np.float64), axis=1).max(axis=1))


def confidence_histogram(logits: np.ndarray) -> np.ndarray:
    """Logits [N, K] -> int [20]: samples by confidence, in [0, 0.05), [0.05, 0.1) ... [0.95, 1]."""
    return np.histogram(confidence(logits), bins=20, range=(0, 1))[0]
