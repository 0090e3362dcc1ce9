from __future__ import annotations

import numpy as np
import pytest
from support.cards import make_card

from trainer.reporting import card_page, charts


def page(**changes):
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    return card_page.render(make_card(**changes), "runs/x", pictures, pictures, {})


@pytest.mark.parametrize(("num_classes", "ranked"), [(10, False), (50, False), (1000, True)])
def test_a_page_ranks_classes_that_are_too_many_for_bars(num_classes, ranked):
    counts = list(range(num_classes))
    text = page(class_counts=counts, class_counts_real=counts[::-1])
    assert ("most frequent first" in text) == ranked
    assert text.count("<svg") == 2
    assert len(text) < 250_000


def test_a_ranking_does_not_depend_on_the_order_of_classes():
    counts = np.arange(100)
    shuffled = np.random.default_rng(0).permutation(counts)
    first, second, other = (
        outlines(charts.ranked({"samples": c, "test": counts}, "class"))
        for c in (counts, shuffled, counts**2)
    )
    assert first == second != other


def outlines(svg):
    """The paths of the chart, without matplotlib's random identifiers."""
    return [line for line in svg.splitlines() if line.startswith(("L ", "M "))]
