from __future__ import annotations

from pathlib import Path

import pytest
from support.cards import make_card

from trainer.errors import TrainerError
from trainer.tools.compare import results
from trainer.tools.compare.results import Result
from trainer.tools.compare.variants import Variant, model_dir, variants


def result(name, *fids):
    return Result(Variant(name, (f"{name}.gin",)), tuple(make_card(fid) for fid in fids))


def test_a_clear_difference_names_the_better():
    """Welch's test by hand: the difference is 32/3, and its variance 1/3 + 7/9 = 10/9.

    So there are (10/9)^2 / ((1/3)^2 / 2 + (7/9)^2 / 2) = 3.448 degrees of freedom, where 95 % of
    Student's distribution lie within 2.961; the equal variances of Student's own test would leave
    four, and 7.74 to 13.6.
    """
    base, other = result("dcgan", 50, 51, 52), result("chatgpt", 60, 62, 63)
    assert results.conclusion(base, other) == (
        "dcgan is better: chatgpt's FID is 10.7 higher than dcgan's (95 % interval of the "
        "difference 7.55 to 13.8, Welch's t-test over 3 seeds each, p = 0.0011)."
    )
    swapped = results.conclusion(other, base)
    assert swapped.startswith("dcgan is better: dcgan's FID is 10.7 lower than chatgpt's")
    assert "-13.8 to -7.55" in swapped


def test_seeds_that_cannot_tell_say_so():
    text = results.conclusion(result("a", 50, 60, 70), result("b", 45, 62, 66))
    assert "2.33 lower than a's, but 3 seeds cannot tell them apart" in text
    alone = results.conclusion(result("a", 50), result("b", 5))
    assert alone.startswith("b's FID is 45 lower than a's with one seed, which does not show")


def test_the_table_has_mean_deviation_and_real_images():
    lines = results.as_markdown([result("a", 1, 2, 4), result("b", 5, 5, 5)]).splitlines()
    assert lines[0] == "|  | a | b | real images |"
    # Deviations from the mean 7/3: squares add up to 14/3, over two degrees of freedom 7/3.
    assert lines[2] == "| FID ↓ | 2.33 ± 1.53 | 5 ± 0 | 0.1 |"


def test_one_seed_has_no_deviation():
    assert "| FID ↓ | 2 | 5 | 0.1 |" in results.as_markdown([result("a", 2), result("b", 5)])


def test_more_than_a_few_configs_have_a_row_each_the_best_first():
    fids = {"a": (4, 5, 6), "b": (7, 7, 8), "c": (1, 2, 3), "d": (9, 9, 9.5), "e": (4, 4, 5)}
    found = [result(name, *values) for name, values in fids.items()]
    header, rows = results.table(found)
    assert header[1] == "FID ↓" and {len(row) for row in rows} == {len(header)}
    assert [row[0] for row in rows] == ["c", "e", "a (baseline)", "b", "d", "real images"]
    assert rows[2][-2:] == ["1.00", ""]
    # t = 3 / sqrt(2/3) = 3.674 with four degrees of freedom, beyond which there are 2 x 1.07 %:
    # Student's distribution function is then 1/2 + 3/8 t/s (1 - t^2 / (12 s^2)), s^2 = 1 + t^2/4.
    assert rows[0][-2:] == ["0.40", "0.021"]
    assert results.as_markdown(found).count("\n") == len(rows) + 1


def write(output, variant, seed, card):
    directory = Path(model_dir(output, variant, seed))
    directory.mkdir(parents=True)
    (directory / "evaluation.json").write_text(card.to_json())


def test_cards_measured_in_different_ways_are_not_compared(tmp_path):
    found = variants(["a.gin"], ["b.gin"])
    write(tmp_path, found[0], 0, make_card())
    with pytest.raises(TrainerError, match="b lacks an evaluation"):
        results.collect(found, [0], tmp_path)
    write(tmp_path, found[1], 0, make_card(extractor_sha256="cd" * 32))
    with pytest.raises(TrainerError, match="were made with different features"):
        results.collect(found, [0], tmp_path)
