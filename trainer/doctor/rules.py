"""What a GAN's failures look like: signs measured of a run, and rules over them.

A rule's constructor takes its limits and returns a `Rule`; `trainer.doctor.doctor` examines with them. The
rules judge numbers alone, so that every process of a run can judge the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from scipy.special import entr

_EXTREME = 0.99
"""From which absolute value a pixel is black or white."""
_FLAT = 0.05
"""The span of pixels, of at most 2, that still looks like a single one."""

Signals = Mapping[str, float]
"""The metrics of a step by name, and SIGNALS; NaN, which no rule complains of, where unknown."""
Memory = dict[str, float]
"""What a rule remembers of earlier examinations; it is saved with the run."""

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
    """What there is to look at; images are [N, H, W, C] in [-1, 1], logits [N]."""

    samples: np.ndarray
    """From latents that are the same at every step."""
    real: np.ndarray
    """Training images."""
    logits_samples: np.ndarray
    logits_train: np.ndarray
    """Of `real`; these and the others are the discriminator's in inference mode."""
    logits_held_out: np.ndarray | None = None
    """Of images of the test split, where there is one."""
    class_counts: tuple[ArrayLike, ArrayLike] | None = None
    """[K] each, of samples and of real images in the newest evaluation, if there was one."""


def measure(seen: Observation) -> dict[str, float]:
    """The SIGNALS of an observation.

    - diversity: mean distance between two samples, as a share of that between two real images.
    - midtones: the share of pixels that are neither black nor white, over that of real images.
    - flat: the share of samples whose pixels are all the same.
    - overfitting: r_v of Karras et al. (2020), equation 1: how much of the discriminator's gap
      between training images and samples it does not see between held-out images and samples.
    - overfitting_errors: the numerator of that, in standard errors of itself.
    - class_entropy: entropy of the samples' classes, as a share of that of real images.
    - logits/...: means.
    """
    spans = np.ptp(seen.samples.reshape(len(seen.samples), -1), axis=1)
    values = {
        "diversity": _ratio(_spread(seen.samples), _spread(seen.real)),
        "midtones": _ratio(_midtones(seen.samples), _midtones(seen.real)),
        "flat": float((spans < _FLAT).mean()),
        "logits/samples": float(seen.logits_samples.mean(dtype=np.float64)),
        "logits/train": float(seen.logits_train.mean(dtype=np.float64)),
    }
    if (held_out := seen.logits_held_out) is not None:
        mean = float(held_out.mean(dtype=np.float64))
        unseen = values["logits/train"] - mean
        parts = (seen.logits_train, held_out)
        error = np.sqrt(sum(part.var(dtype=np.float64) / len(part) for part in parts))
        values["logits/held_out"] = mean
        values["overfitting"] = _ratio(unseen, values["logits/train"] - values["logits/samples"])
        values["overfitting_errors"] = _ratio(unseen, float(error))
    if seen.class_counts is not None:
        values["class_entropy"] = _ratio(*(_entropy(counts) for counts in seen.class_counts))
    return {name: values.get(name, np.nan) for name in SIGNALS}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def _spread(images: np.ndarray) -> float:
    return float(pdist(images.reshape(len(images), -1).astype(np.float64)).mean())


def _midtones(images: np.ndarray) -> float:
    return float((np.abs(images) < _EXTREME).mean())


def _entropy(counts: ArrayLike) -> float:
    counts = np.asarray(counts)
    return float(entr(counts / counts.sum()).sum())


class Violation(NamedTuple):
    """What a rule has against a run."""

    measured: str
    """In words, with its numbers."""
    value: float
    limit: float


@dataclass(frozen=True)
class Rule:
    """A failure that can be seen in the signs."""

    name: str
    check: Callable[[Signals, Memory], Violation | None]
    remedies: tuple[str, ...]
    """Overlays in configs/ that are likely to help, the likeliest first."""


def discriminator_wins(*, loss: float = 0.02, accuracy: float = 0.99) -> Rule:
    """The discriminator tells all images apart, and leaves the generator nothing to learn from.

    Args:
      loss: What the absolute value of its loss is under.
      accuracy: What both of its accuracies are at least.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        value = abs(signs["loss/discriminator"])
        least = min(signs["accuracy/real"], signs["accuracy/fake"])
        if not (value < loss and least >= accuracy):
            return None
        text = f"loss/discriminator {value:.2g} is under {loss:g} and both accuracies are at least "
        return Violation(f"{text}{least:.3g}", value, loss)

    remedies = ("hacks/instance_noise.gin", "hacks/soft_noisy_labels.gin", "hacks/r1.gin")
    return Rule("discriminator_wins", check, remedies)


def gradient_explodes(*, limit: float = 1000.0) -> Rule:
    """The gradient of either player is too large.

    Args:
      limit: What its norm is over.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        names = ("gradient_norm/discriminator", "gradient_norm/generator")
        name = max(names, key=signs.__getitem__)
        if not signs[name] > limit:
            return None
        return Violation(f"{name} {signs[name]:.3g} is over {limit:g}", signs[name], limit)

    return Rule("gradient_explodes", check, ("hacks/spectral_norm.gin", "hacks/r1.gin"))


def collapse(*, share: float = 0.3, least: float = 0.1) -> Rule:
    """The samples become alike, and the generator's loss gains by it.

    Args:
      share: Of the run's best diversity (at most that of real images) that it fell under, while
        the generator's loss is lower than it was then.
      least: Diversity, as a share of real images', under which losses do not matter.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        diversity, loss = signs["diversity"], signs["loss/generator"]
        if min(diversity, 1.0) > memory.get("diversity", 0.0):
            memory.update(diversity=min(diversity, 1.0), loss=loss)
        if diversity < least:
            text = f"diversity {diversity:.2g} of real images' is under {least:g}"
            return Violation(text, diversity, least)
        limit = share * memory.get("diversity", 0.0)
        if not (diversity < limit and loss < memory["loss"]):
            return None
        text = f"diversity {diversity:.2g} is under {share:g} of its best, "
        text += f"{memory['diversity']:.2g}, and loss/generator {loss:.3g} is lower than then"
        return Violation(text, diversity, limit)

    remedies = ("hacks/minibatch_deviation.gin", "losses/relativistic.gin")
    return Rule("collapse", check, remedies)


def class_entropy(*, share: float = 0.7) -> Rule:
    """Some classes are hardly generated; it needs train.evaluate_every.

    Args:
      share: Of the entropy of real images' classes that the samples' is under.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        value = signs["class_entropy"]
        if not value < share:
            return None
        text = f"entropy of generated classes {value:.2g} of real images' is under {share:g}"
        return Violation(text, value, share)

    remedies = ("hacks/minibatch_deviation.gin", "hacks/auxiliary_classifier.gin")
    return Rule("class_entropy", check, remedies)


def dead_output(*, share: float = 0.5) -> Rule:
    """Many samples are one flat tone.

    Args:
      share: Of the samples that more are.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        value = signs["flat"]
        if not value > share:
            return None
        return Violation(f"a share of {value:.2g} of samples is one flat tone", value, share)

    return Rule("dead_output", check, ("losses/relativistic.gin", "hacks/r1.gin"))


def saturated(*, share: float = 0.1) -> Rule:
    """Black and white are all that is left of the samples: a tanh without gradient.

    Args:
      share: Of real images' midtones that the samples' are under.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        value = signs["midtones"]
        if not value < share:
            return None
        text = f"pixels that are neither black nor white, {value:.2g} of real images', are under "
        return Violation(f"{text}{share:g}", value, share)

    remedies = ("hacks/weight_decay.gin", "hacks/spectral_norm.gin")
    return Rule("saturated", check, remedies)


def memorising(*, limit: float = 0.6, errors: float = 3.0) -> Rule:
    """The discriminator knows the training images by heart (Karras et al., 2020).

    Args:
      limit: What r_v, 0 for none and 1 for all by heart, is over.
      errors: How many standard errors the difference behind it is over: there are few images.
    """

    def check(signs: Signals, memory: Memory) -> Violation | None:
        value = signs["overfitting"]
        if not (value > limit and signs["overfitting_errors"] > errors):
            return None
        text = f"the discriminator's overfitting r_v {value:.2g} is over {limit:g}"
        return Violation(text, value, limit)

    remedies = ("hacks/adaptive_augment.gin", "hacks/diffaugment.gin")
    return Rule("memorising", check, remedies)


ALL = (
    *(discriminator_wins, gradient_explodes, collapse, class_entropy),
    *(dead_output, saturated, memorising),
)
"""The constructors of all rules."""
