from __future__ import annotations

import pytest

from trainer.reporting.markdown import table


def test_a_table_and_its_bars():
    assert table(["a", "b|c"], [["1", "x | y"], ["", r"\|z"]]).splitlines() == [
        r"| a | b\|c |",
        "| --- | --- |",
        r"| 1 | x \| y |",
        r"|  | \|z |",
    ]


def test_a_table_without_rows():
    assert table(["a"], []) == "| a |\n| --- |"


def test_rows_are_as_long_as_the_header():
    with pytest.raises(ValueError, match="1 cells in .* 2 columns"):
        table(["a", "b"], [["1"]])
