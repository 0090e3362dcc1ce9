from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.cards import make_card

from trainer.errors import TrainerError
from trainer.tools.compare import compare
from trainer.tools.compare.compare import Result, Variant


def result(name, *fids):
    return Result(Variant(name, (f"{name}.gin",)), tuple(make_card(fid) for fid in fids))


def test_rivals_are_the_base_and_their_overlays():
    found = compare.variants(
        ["mnist.gin", "hardware/one_device.gin"], ["models/chatgpt.gin", "a/x.gin,a/y.gin"]
    )
    assert [v.name for v in found] == ["mnist", "chatgpt", "x-y"]
    (_, hardware) = compare.variants(["mnist.gin"], ["hardware/bfloat16.gin"])
    assert hardware.name == "bfloat16"
    assert found[2].gin_files == ("mnist.gin", "hardware/one_device.gin", "a/x.gin", "a/y.gin")


def test_a_rival_may_have_bindings_of_its_own():
    (_, rival) = compare.variants(["a.gin"], ["b/c.gin,train.seed=7,r1.gamma=2"])
    assert rival == Variant("c", ("a.gin", "b/c.gin"), ("train.seed=7", "r1.gamma=2"))


@pytest.mark.parametrize(
    ("files", "rivals", "message"),
    [
        ([], ["a.gin"], "--gin_file"),
        (["a.gin"], [], "--vs"),
        (["a.gin"], ["b/c.gin", "d/c.gin"], "two configs are named c"),
        (["a.gin"], ["train.seed=7"], "--vs=train.seed=7 names no .gin file"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, rivals, message):
    with pytest.raises(TrainerError, match=message):
        compare.variants(files, rivals)


def test_a_clear_difference_names_the_better():
    ours, theirs = result("article", 50, 51, 52), result("chatgpt", 60, 62, 63)
    text = compare.verdict(ours, theirs)
    assert text.startswith("article is better: chatgpt's FID is 10.7 higher than article's")
    interval = stats.ttest_ind([60, 62, 63], [50, 51, 52], equal_var=False).confidence_interval()
    assert f"{interval.low:.3g} to {interval.high:.3g}" in text
    assert compare.verdict(theirs, ours).startswith("article is better: article's FID is 10.7 l")


def test_seeds_that_cannot_tell_say_so():
    text = compare.verdict(result("a", 50, 60, 70), result("b", 45, 62, 66))
    assert "2.33 lower than a's, but 3 seeds cannot tell them apart" in text
    assert "one seed, which says nothing" in compare.verdict(result("a", 50), result("b", 5))


def test_the_table_has_mean_deviation_and_floor():
    table = compare.markdown([result("a", 1, 2, 3), result("b", 5, 5, 5)]).splitlines()
    assert table[0] == "|  | a | b | real images |"
    assert table[2] == f"| FID ↓ | 2 ± {np.std([1, 2, 3], ddof=1):.3g} | 5 ± 0 | 0.1 |"


def test_more_than_a_few_configs_have_a_row_each_the_best_first():
    found = [result(name, *fids) for name, *fids in (("a", 4, 5, 6), *_RIVALS)]
    header, rows = compare.table(found)
    assert header[1] == "FID ↓" and {len(row) for row in rows} == {len(header)}
    assert [row[0] for row in rows] == ["c", "e", "a (baseline)", "b", "d", "real images"]
    assert rows[0][-2] == "0.40" and rows[2][-2:] == ["1.00", ""]
    expected = stats.ttest_ind([1, 2, 3], [4, 5, 6], equal_var=False).pvalue
    assert rows[0][-1] == f"{expected:.2g}"
    assert compare.markdown(found).count("\n") == len(rows) + 1


_RIVALS = (("b", 7, 7, 8), ("c", 1, 2, 3), ("d", 9, 9, 9.5), ("e", 4, 4, 5))


def write(output, variant, seed, card):
    directory = Path(compare.model_dir(output, variant, seed))
    directory.mkdir(parents=True)
    (directory / "evaluation.json").write_text(card.to_json())


def test_cards_measured_in_different_ways_are_not_compared(tmp_path):
    found = compare.variants(["a.gin"], ["b.gin"])
    write(tmp_path, found[0], 0, make_card())
    with pytest.raises(TrainerError, match="b lacks an evaluation"):
        compare.collect(found, [0], tmp_path)
    write(tmp_path, found[1], 0, make_card(extractor_sha256="cd" * 32))
    with pytest.raises(TrainerError, match="were made with different features"):
        compare.collect(found, [0], tmp_path)
