"""Every rule at its limits, on signals that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.config import gin_reader
from trainer.doctor import rules
from trainer.doctor.signals import SIGNALS
from trainer.gan.replica_step import METRICS

HEALTHY = {
    **dict.fromkeys(METRICS, 0.7),
    **{"diversity": 0.9, "midtones": 0.8, "flat": 0.0, "overfitting": 0.1},
    **{"overfitting_errors": 1.0, "class_entropy": 0.98},
}


def violation(rule, memory=None, **signals):
    return rule.check(HEALTHY | signals, {} if memory is None else memory)


@pytest.mark.parametrize("make", rules.ALL)
def test_a_healthy_run_and_unknown_signals_violate_no_rule(make):
    assert violation(make()) is None
    assert violation(make(), **dict.fromkeys(SIGNALS, np.nan)) is None


@pytest.mark.parametrize(
    ("rule", "violating", "passing"),
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
def test_a_rule_is_violated_beyond_its_limit_only(rule, violating, passing):
    found = violation(rule, **violating)
    assert (
        found.measured and np.isfinite(found.limit) and found.value in map(abs, violating.values())
    )
    for change in passing:
        assert violation(rule, **(violating | change)) is None, change


def test_a_collapse_is_a_fall_of_diversity_that_lowers_the_generators_loss():
    rule, memory = rules.collapse(share=0.5, least=0.1), {}
    rises = [violation(rule, memory, **{"diversity": d, "loss/generator": 2.0}) for d in (0.4, 0.8)]
    assert rises == [None, None] and memory == {"diversity": 0.8, "loss": 2.0}
    fallen = {"diversity": 0.39}
    assert violation(rule, memory, **fallen, **{"loss/generator": 2.1}) is None
    found = violation(rule, memory, **fallen, **{"loss/generator": 1.9})
    assert (found.value, found.limit) == (0.39, 0.4)
    assert violation(rule, memory, diversity=0.41, **{"loss/generator": 1.9}) is None


def test_diversity_counts_as_at_most_that_of_real_images():
    rule, memory = rules.collapse(share=0.5), {}
    violation(rule, memory, diversity=3.0)
    assert memory["diversity"] == 1.0


def test_every_remedy_ships():
    made = [make() for make in rules.ALL]
    assert len({rule.name for rule in made}) == len(made)
    for rule in made:
        assert rule.remedies and set(rule.remedies) <= set(gin_reader.available()), rule.name
