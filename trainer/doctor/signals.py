"""Signals of a GAN's health, measured from images and from the discriminator's logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

_BLACK_OR_WHITE = 0.99
"""Absolute value from which a pixel counts as black or white."""
_UNIFORM = 0.05
"""Pixel values, in [-1, 1], that span less than this look like a single one."""

Signals = Mapping[str, float]
"""By name: the metrics of a training step, and SIGNALS. NaN if unknown, which violates no rule."""

SIGNALS = (
    "diversity",
    "midtones",
    "flat",
    "overfitting",
    "overfitting_errors",
    "class_entropy",
    "logits/samples",
    "logits/train",
    "logits/held_out",
)


@dataclass(frozen=True)
class Observation:
    """Images and logits of one check: what signals are measured from.

    Images are [N, H, W, C] in [-1, 1]. Logits are [N], by the discriminator in inference mode.
    """

    samples: np.ndarray
    """Generated from latents that are the same in every check."""
    real: np.ndarray
    """Training images."""
    logits_samples: np.ndarray
    logits_train: np.ndarray
    """Logits of `real`."""
    logits_held_out: np.ndarray | None = None
    """Logits of images of the test split; None without one."""
    class_counts: tuple[ArrayLike, ArrayLike] | None = None
    """Samples and real images of each class, [K] each, in the last evaluation; None without one."""


def measure(observation: Observation) -> dict[str, float]:
    """Returns SIGNALS by name; those that cannot be measured are NaN.

    - diversity: mean distance between two samples, divided by that between two real images.
    - midtones: fraction of pixels that are neither black nor white, divided by that in real images.
    - flat: fraction of samples whose pixels all look the same.
    - overfitting: r_v of "Training Generative Adversarial Networks with Limited Data" (Karras et
      al., 2020), equation 1: 0 if the discriminator scores held-out images like training images, 1
      if it scores them like samples.
    - overfitting_errors: the numerator of r_v, divided by its standard error.
    - class_entropy: entropy of the samples' classes, divided by that of the real images' classes.
    - logits/samples, logits/train, logits/held_out: mean logits.
    """
    spans = np.ptp(observation.samples.reshape(len(observation.samples), -1), axis=1)
    logits_samples, logits_train = observation.logits_samples, observation.logits_train
    values = {
        "diversity": _ratio(_mean_distance(observation.samples), _mean_distance(observation.real)),
        "midtones": _ratio(_midtones(observation.samples), _midtones(observation.real)),
        "flat": float((spans < _UNIFORM).mean()),
        "logits/samples": _mean(logits_samples),
        "logits/train": _mean(logits_train),
    }
    if (logits_held_out := observation.logits_held_out) is not None:
        values["logits/held_out"] = _mean(logits_held_out)
        gap = values["logits/train"] - values["logits/held_out"]
        whole_gap = values["logits/train"] - values["logits/samples"]
        error = np.hypot(_standard_error(logits_train), _standard_error(logits_held_out))
        values["overfitting"] = _ratio(gap, whole_gap)
        values["overfitting_errors"] = _ratio(gap, float(error))
    if observation.class_counts is not None:
        of_samples, of_real = observation.class_counts
        values["class_entropy"] = _ratio(_entropy(of_samples), _entropy(of_real))
    return {name: values.get(name, np.nan) for name in SIGNALS}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def _mean(logits: np.ndarray) -> float:
    return float(logits.mean(dtype=np.float64))


def _standard_error(logits: np.ndarray) -> float:
    return float(np.sqrt(logits.var(dtype=np.float64) / len(logits)))


def _mean_distance(images: np.ndarray) -> float:
    from scipy.spatial.distance import pdist

    return float(pdist(images.reshape(len(images), -1).astype(np.float64)).mean())


def _midtones(images: np.ndarray) -> float:
    return float((np.abs(images) < _BLACK_OR_WHITE).mean())


def _entropy(counts: ArrayLike) -> float:
    counts = np.asarray(counts)
    return float(entr(counts / counts.sum()).sum())
