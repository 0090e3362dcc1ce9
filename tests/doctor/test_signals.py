"""Signals in closed form, on images and logits that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.doctor.signals import SIGNALS, Observation, measure


def observe(**changes):
    images = np.linspace(-0.9, 0.9, 4 * 2 * 2).reshape(4, 2, 2, 1)
    logits = np.array([1.0, 2.0, 3.0, 2.0])
    defaults = {"samples": images, "real": images, "logits_samples": -logits}
    return measure(Observation(**(defaults | {"logits_train": logits} | changes)))


def test_samples_like_the_real_images():
    signals = observe()
    assert tuple(signals) == SIGNALS
    assert (signals["diversity"], signals["midtones"], signals["flat"]) == (1.0, 1.0, 0.0)
    assert (signals["logits/samples"], signals["logits/train"]) == (-2.0, 2.0)
    unknown = {name for name, value in signals.items() if np.isnan(value)}
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
    signals = observe(samples=samples, real=real)
    assert signals["midtones"] == pytest.approx((7 / 16) / (3 / 4))
    assert signals["flat"] == 0.25


@pytest.mark.parametrize(("held_out", "expected"), [(2.0, 0.0), (0.0, 0.5), (-2.0, 1.0)])
def test_overfitting_is_adas_equation_1(held_out, expected):
    """Training images at 2, samples at -2: r_v is how far held-out images are on the way down."""
    signals = observe(logits_held_out=held_out + np.array([-1.0, 1.0, 1.0, -1.0]))
    assert signals["overfitting"] == pytest.approx(expected)
    # Variances 1/2 and 1 of four images each.
    assert signals["overfitting_errors"] == pytest.approx((2 - held_out) / np.sqrt(1.5 / 4))


def test_overfitting_of_a_discriminator_that_sees_no_gap_is_unknown():
    logits = np.array([1.0, 2.0, 3.0, 2.0])
    assert np.isnan(observe(logits_samples=logits, logits_held_out=logits)["overfitting"])


def test_class_entropy_is_a_share_of_the_real():
    counts = np.array([8, 8, 0, 0]), np.array([5, 5, 5, 5])
    assert observe(class_counts=counts)["class_entropy"] == pytest.approx(0.5)
