"""What a classifier of the dataset's own classes says of samples."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, rel_entr

CONFIDENT = 0.95
"""The probability from which a sample counts as confidently of its class."""


def classifier_score(logits: np.ndarray) -> float:
    """exp(mean KL(p(y|x) || p(y))), from 1 to the number of classes (Salimans et al., 2016).

    It is the Inception Score's formula, with a classifier of the dataset's own classes.
    """
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    marginal = np.exp(log_p).mean(axis=0)
    return float(np.exp(rel_entr(np.exp(log_p), marginal).sum(axis=1).mean()))


def histogram(logits: np.ndarray) -> np.ndarray:
    """Logits [N, K] -> int [K]: how many samples each class is the most probable for."""
    return np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])


def modes(counts: np.ndarray) -> int:
    """How many classes have a sample that they are the most probable for (Metz et al., 2017)."""
    return int(np.count_nonzero(counts))


def divergence(counts: np.ndarray, reference: np.ndarray) -> float:
    """KL(counts || reference), in nats; one is added to each reference count to keep it finite.

    Of generated counts against real ones it is the "reverse KL" of the literature on mode collapse
    (Metz et al., 2017; Srivastava et al., 2017).
    """
    p, q = counts / counts.sum(), (reference + 1) / (reference + 1).sum()
    return float(rel_entr(p, q).sum())


def confidence(logits: np.ndarray) -> np.ndarray:
    """Logits [N, K] -> [N]: the probability of the most probable class."""
    return np.exp(log_softmax(logits.astype(np.float64), axis=1).max(axis=1))


def confidence_histogram(logits: np.ndarray) -> np.ndarray:
    """int [20]: how many samples have a confidence in [0, 0.05), [0.05, 0.1), ... [0.95, 1]."""
    return np.histogram(confidence(logits), bins=20, range=(0, 1))[0]
