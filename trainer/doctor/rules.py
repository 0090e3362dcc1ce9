"""Rules that recognise a GAN's failures in the signals of its health.

A rule's constructor takes its thresholds and returns a `Rule`. `trainer.doctor.doctor` applies a
list of them. They see only numbers, so that all processes of a run can apply them to the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from trainer.config.registry import configurable
from trainer.doctor.signals import Signals

Memory = dict[str, float]
"""What a rule keeps between checks; it is saved in the run's checkpoints."""


class Violation(NamedTuple):
    """What a rule found wrong."""

    measured: str
    """In words, such as "loss/discriminator 0.01 is under 0.02"."""
    value: float
    """The number that was measured."""
    limit: float
    """The threshold that it crossed."""


@dataclass(frozen=True)
class Rule:
    """A failure, and how it shows in the signals."""

    name: str
    check: Callable[[Signals, Memory], Violation | None]
    """Returns the violation, or None; it may update the memory."""
    remedies: tuple[str, ...]
    """Overlays in configs/ to try, the most likely to help first."""


@configurable
def discriminator_wins(*, loss: float = 0.02, accuracy: float = 0.99) -> Rule:
    """The discriminator is always right, which leaves the generator no gradient to learn from.

    The rule is violated by a low loss together with high accuracies.

    Args:
      loss: Alert when the absolute loss of the discriminator is below this.
      accuracy: Alert when its accuracies on real images and on fakes are at least this, in [0, 1].
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        value = abs(signals["loss/discriminator"])
        least = min(signals["accuracy/real"], signals["accuracy/fake"])
        if not (value < loss and least >= accuracy):
            return None
        text = f"loss/discriminator {value:.2g} is under {loss:g} and both accuracies are at least "
        return Violation(f"{text}{least:.3g}", value, loss)

    remedies = ("hacks/instance_noise.gin", "hacks/soft_noisy_labels.gin", "hacks/r1.gin")
    return Rule("discriminator_wins", check, remedies)


@configurable
def gradient_explodes(*, limit: float = 1000.0) -> Rule:
    """The gradient of the generator or the discriminator is too large.

    Args:
      limit: Alert when either gradient norm is above this.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        names = ("gradient_norm/discriminator", "gradient_norm/generator")
        name = max(names, key=signals.__getitem__)
        if not signals[name] > limit:
            return None
        return Violation(f"{name} {signals[name]:.3g} is over {limit:g}", signals[name], limit)

    return Rule("gradient_explodes", check, ("hacks/spectral_norm.gin", "hacks/r1.gin"))


@configurable
def collapse(*, share: float = 0.3, least: float = 0.1) -> Rule:
    """Mode collapse: the samples become alike, while the generator's loss falls.

    Diversity is relative to that of real images. Values above 1 count as 1.

    Args:
      share: Alert when diversity is below this fraction of its highest value so far, while the
        generator's loss is lower than it was at that point.
      least: Alert when diversity is below this, whatever the loss.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        diversity, loss = signals["diversity"], signals["loss/generator"]
        if min(diversity, 1.0) > memory.get("diversity", 0.0):
            memory.update(diversity=min(diversity, 1.0), loss=loss)
        if diversity < least:
            text = f"diversity {diversity:.2g}, relative to real images, is under {least:g}"
            return Violation(text, diversity, least)
        limit = share * memory.get("diversity", 0.0)
        if not (diversity < limit and loss < memory["loss"]):
            return None
        text = f"diversity {diversity:.2g} is under {share:g} of its best, "
        text += f"{memory['diversity']:.2g}, while loss/generator {loss:.3g} is lower than then"
        return Violation(text, diversity, limit)

    remedies = ("hacks/minibatch_deviation.gin", "losses/relativistic.gin")
    return Rule("collapse", check, remedies)


@configurable
def class_entropy(*, share: float = 0.7) -> Rule:
    """Some classes are hardly generated, as measured in the run's scheduled evaluations.

    Args:
      share: Alert when the entropy of the samples' classes is below this fraction of that of the
        real images' classes.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        value = signals["class_entropy"]
        if not value < share:
            return None
        text = (
            f"entropy of generated classes {value:.2g}, relative to real images, is under {share:g}"
        )
        return Violation(text, value, share)

    remedies = ("hacks/minibatch_deviation.gin", "hacks/auxiliary_classifier.gin")
    return Rule("class_entropy", check, remedies)


@configurable
def dead_output(*, share: float = 0.5) -> Rule:
    """Many samples are uniform: all of their pixels look the same.

    Args:
      share: Alert above this fraction of uniform samples.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        value = signals["flat"]
        if not value > share:
            return None
        text = f"the fraction {value:.2g} of uniform samples is over {share:g}"
        return Violation(text, value, share)

    return Rule("dead_output", check, ("losses/relativistic.gin", "hacks/r1.gin"))


@configurable
def saturated(*, share: float = 0.1) -> Rule:
    """Samples are almost only black and white, where the gradient of tanh vanishes.

    Args:
      share: Alert when the fraction of pixels that are neither black nor white is below this
        fraction of that in real images.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        value = signals["midtones"]
        if not value < share:
            return None
        text = f"midtones {value:.2g}, relative to real images, are under {share:g}"
        return Violation(text, value, share)

    remedies = ("hacks/weight_decay.gin", "hacks/spectral_norm.gin")
    return Rule("saturated", check, remedies)


@configurable
def memorising(*, limit: float = 0.6, errors: float = 3.0) -> Rule:
    """The discriminator memorises the training images, as r_v of Karras et al. (2020) shows.

    The rule is violated by an r_v that is high and also significant, since few images are checked.

    Args:
      limit: Alert when r_v is above this. It is 0 without overfitting, and 1 when all training
        images are memorised.
      errors: Alert when the difference in r_v's numerator exceeds this many standard errors.
    """

    def check(signals: Signals, memory: Memory) -> Violation | None:
        value = signals["overfitting"]
        if not (value > limit and signals["overfitting_errors"] > errors):
            return None
        text = f"the discriminator's overfitting r_v {value:.2g} is over {limit:g}"
        return Violation(text, value, limit)

    remedies = ("hacks/adaptive_augment.gin", "hacks/diffaugment.gin")
    return Rule("memorising", check, remedies)


ALL = (
    discriminator_wins,
    gradient_explodes,
    collapse,
    class_entropy,
    dead_output,
    saturated,
    memorising,
)
"""The constructors of all rules."""
