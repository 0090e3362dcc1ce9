from __future__ import annotations

import pytest

from trainer import errors
from trainer.errors import TrainerError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("the reason", "the reason"),
        ("", "no reason given"),
        (
            "Graph execution error:\n\nDetected at node a defined at (most recent call last):\n"
            "<stack traces unavailable>\nthe reason\n\t [[{{node a}}]]",
            "the reason",
        ),
        ("{{function_node __wrapped__Read}} the reason\nmore", "the reason"),
        ("long " * 100, "long " * 60),
    ],
)
def test_the_first_line_of_an_error_says_what_happened(text, line):
    assert errors.first_line(RuntimeError(text)) == line


def test_an_unknown_name_is_answered_by_the_closest_or_by_all():
    assert errors.did_you_mean("minst", ["mnist", "digits"]) == "did you mean mnist?"
    assert errors.did_you_mean("", ["mnist", "digits"]) == "choose from: mnist, digits"


def test_a_function_must_take_what_it_is_called_with():
    def mine(real, fake):
        pass

    errors.check_takes(mine, ["real", "fake"])
    errors.check_takes(lambda **anything: None, ["real", "fake"])
    with pytest.raises(TrainerError, match=r"mine does not take seed; .* with real, seed by keyw"):
        errors.check_takes(mine, ["real", "seed"])
