from __future__ import annotations

import pytest

from trainer.errors import TrainerError
from trainer.tools.explorer.explorer import LatentPoint
from trainer.tools.explorer.parameters import Parameters

READ = Parameters(num_classes=10, num_directions=3)
AT = {"seed": "4", "index": "24", "coordinates": "1,-3,2.5e0", "label": "9", "truncation": "0.7"}


def test_what_is_given_is_read():
    assert READ.point(AT) == LatentPoint(4, 24, (1.0, -3.0, 2.5), 9, 0.7)
    assert READ.point({"seed": "4294967295"}) == LatentPoint(2**32 - 1)
    assert READ.samples({"seed": "0", "label": "0"}) == LatentPoint(0, label=0)


def test_two_points_share_label_and_truncation():
    given = {"a_seed": "1", "b_seed": "2", "b_coordinates": "0,0,0", "label": "3"}
    assert READ.endpoints(given) == [LatentPoint(1, label=3), LatentPoint(2, 0, (0.0, 0.0, 0.0), 3)]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("seed", "4294967296", "is not a whole number in [0, 4294967296)"),
        ("seed", "-1", "is not a whole number"),
        ("seed", "1.5", "is not a whole number"),
        ("seed", "9" * 5000, "is not a whole number"),
        ("seed", "\N{ARABIC-INDIC DIGIT ONE}", r"seed=\u0661 is not a whole number"),
        ("seed", "1\nHost: x", r"seed=1\nHost: x is not"),
        ("index", "25", "is not a whole number in [0, 25)"),
        ("label", "10", "label=10 is not a whole number in [0, 10)"),
        ("label", "", "is not a whole number"),
        ("coordinates", "1,2", "has 2 numbers; give 3"),
        ("coordinates", "", "has 1 numbers; give 3"),
        ("coordinates", "1," * 99_999, "has 100000 numbers; give 3"),
        ("coordinates", "1,nan,3", "nan is not a finite number"),
        ("coordinates", "1,2,-inf", "-inf is not a finite number"),
        ("coordinates", "1,two,3", "two is not a finite number"),
        ("coordinates", "1,2,3.1", "3.1 is not in [-3, 3]"),
        ("truncation", "0", "is not in [0.01, 10]"),
        ("truncation", "1e999", "is not a finite number"),
        ("count", "1000000", "unknown parameter count"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, value, reason):
    with pytest.raises(TrainerError) as caught:
        READ.point(AT | {name: value})
    message = str(caught.value)
    assert name in message and reason in message
    assert "\n" not in message and message.isascii() and len(message) < 150


def test_labels_are_refused_by_an_unconditional_generator():
    with pytest.raises(TrainerError, match="takes no labels"):
        Parameters(None, 3).samples({"seed": "0", "label": "0"})


def test_a_seed_is_needed():
    with pytest.raises(TrainerError, match="seed is missing"):
        READ.point({})
    with pytest.raises(TrainerError, match="b_seed is missing"):
        READ.endpoints({"a_seed": "0"})
    with pytest.raises(TrainerError, match="unknown parameter seed"):
        READ.endpoints({"seed": "0"})
