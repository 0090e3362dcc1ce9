"""The signs and rules in closed form, on observations that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import config
from trainer.doctor import rules
from trainer.doctor.rules import SIGNALS, Observation, measure
from trainer.gan.step import METRICS

HEALTHY = {
    **dict.fromkeys(METRICS, 0.7),
    **{"diversity": 0.9, "midtones": 0.8, "flat": 0.0, "overfitting": 0.1},
    **{"overfitting_errors": 1.0, "class_entropy": 0.98},
}


def observe(**changes):
    images = np.linspace(-0.9, 0.9, 4 * 2 * 2).reshape(4, 2, 2, 1)
    logits = np.array([1.0, 2.0, 3.0, 2.0])
    defaults = {"samples": images, "real": images, "logits_samples": -logits}
    return measure(Observation(**(defaults | {"logits_train": logits} | changes)))


def test_samples_like_the_real_images():
    signs = observe()
    assert tuple(signs) == SIGNALS
    assert (signs["diversity"], signs["midtones"], signs["flat"]) == (1.0, 1.0, 0.0)
    assert (signs["logits/samples"], signs["logits/train"]) == (-2.0, 2.0)
    unknown = {name for name, value in signs.items() if np.isnan(value)}
    assert unknown == {"overfitting", "overfitting_errors", "class_entropy", "logits/held_out"}


def test_diversity_is_the_mean_distance_as_a_share_of_the_real():
    samples = np.zeros((3, 2, 2, 1))
    samples[2] = 0.5  # distances 0, 1 and 1
    real = np.zeros((3, 2, 2, 1))
    real[1:] = 1.0  # distances 2, 2 and 0
    assert observe(samples=samples, real=real)["diversity"] == pytest.approx(0.5)


def test_midtones_and_flat_samples():
    samples = np.array([-1.0, -1.0, -0.999, 0.0] * 3 + [0.5, 0.5, 0.5, 0.51]).reshape(4, 2, 2, 1)
    real = np.array([-1.0, 0.0, 0.0, 0.0] * 4).reshape(4, 2, 2, 1)
    signs = observe(samples=samples, real=real)
    assert signs["midtones"] == pytest.approx((7 / 16) / (3 / 4))
    assert signs["flat"] == 0.25


@pytest.mark.parametrize(("held_out", "expected"), [(2.0, 0.0), (0.0, 0.5), (-2.0, 1.0)])
def test_overfitting_is_adas_equation_1(held_out, expected):
    """Training images at 2, samples at -2: r_v is how far held-out images are on the way down."""
    signs = observe(logits_held_out=held_out + np.array([-1.0, 1.0, 1.0, -1.0]))
    assert signs["overfitting"] == pytest.approx(expected)
    # Variances 1/2 and 1 of four images each.
    assert signs["overfitting_errors"] == pytest.approx((2 - held_out) / np.sqrt(1.5 / 4))


def test_overfitting_of_a_discriminator_that_sees_no_gap_is_unknown():
    logits = np.array([1.0, 2.0, 3.0, 2.0])
    assert np.isnan(observe(logits_samples=logits, logits_held_out=logits)["overfitting"])


def test_class_entropy_is_a_share_of_the_real():
    counts = np.array([8, 8, 0, 0]), np.array([5, 5, 5, 5])
    assert observe(class_counts=counts)["class_entropy"] == pytest.approx(0.5)


def complaint(rule, memory=None, **signs):
    return rule.check(HEALTHY | signs, {} if memory is None else memory)


@pytest.mark.parametrize("make", rules.ALL)
def test_a_rule_is_silent_on_a_healthy_run_and_on_what_is_not_known(make):
    assert complaint(make()) is None
    assert complaint(make(), **dict.fromkeys(SIGNALS, np.nan)) is None


@pytest.mark.parametrize(
    ("rule", "sick", "healthy"),
    [
        (
            rules.discriminator_wins(loss=0.1, accuracy=0.9),
            {"loss/discriminator": -0.09, "accuracy/real": 0.9, "accuracy/fake": 1.0},
            [{"loss/discriminator": 0.11}, {"accuracy/real": 0.89}, {"accuracy/fake": 0.89}],
        ),
        (
            rules.gradient_explodes(limit=10.0),
            {"gradient_norm/generator": 10.1},
            [{"gradient_norm/generator": 9.9}],
        ),
        (
            rules.gradient_explodes(limit=10.0),
            {"gradient_norm/discriminator": np.inf},
            [{"gradient_norm/discriminator": 9.9}],
        ),
        (rules.collapse(least=0.2), {"diversity": 0.19}, [{"diversity": 0.21}]),
        (rules.class_entropy(share=0.5), {"class_entropy": 0.4}, [{"class_entropy": 0.6}]),
        (rules.dead_output(share=0.5), {"flat": 0.6}, [{"flat": 0.4}]),
        (rules.saturated(share=0.2), {"midtones": 0.1}, [{"midtones": 0.3}]),
        (
            rules.memorising(limit=0.5, errors=2.0),
            {"overfitting": 0.6, "overfitting_errors": 2.1},
            [{"overfitting": 0.4}, {"overfitting_errors": 1.9}],
        ),
    ],
)
def test_limits(rule, sick, healthy):
    found = complaint(rule, **sick)
    assert found.measured and np.isfinite(found.limit) and found.value in map(abs, sick.values())
    for change in healthy:
        assert complaint(rule, **(sick | change)) is None, change


def test_a_collapse_is_a_fall_of_diversity_that_the_generator_gains_by():
    rule, memory = rules.collapse(share=0.5, least=0.1), {}
    rises = [complaint(rule, memory, **{"diversity": d, "loss/generator": 2.0}) for d in (0.4, 0.8)]
    assert rises == [None, None] and memory == {"diversity": 0.8, "loss": 2.0}
    fallen = {"diversity": 0.39}
    assert complaint(rule, memory, **fallen, **{"loss/generator": 2.1}) is None
    found = complaint(rule, memory, **fallen, **{"loss/generator": 1.9})
    assert (found.value, found.limit) == (0.39, 0.4)
    assert complaint(rule, memory, diversity=0.41, **{"loss/generator": 1.9}) is None


def test_noise_more_diverse_than_real_images_is_no_standard():
    rule, memory = rules.collapse(share=0.5), {}
    complaint(rule, memory, diversity=3.0)
    assert memory["diversity"] == 1.0


def test_every_remedy_ships():
    made = [make() for make in rules.ALL]
    assert len({rule.name for rule in made}) == len(made)
    for rule in made:
        assert rule.remedies and set(rule.remedies) <= set(config.available()), rule.name
