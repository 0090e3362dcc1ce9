"""The files that an evaluation writes; its numbers are tested with the evaluator."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
from support.cards import make_card
from support.disk import full_after

from trainer.evaluation import card
from trainer.evaluation.evaluator import Evaluation
from trainer.reporting import tensorboard
from trainer.runs import evaluate

IMAGES = np.zeros([4, 8, 8, 1], np.uint8)


def write(model_dir, writer, **changes):
    run = types.SimpleNamespace(model_dir=str(model_dir))
    evaluate.write_evaluation(run, writer, Evaluation(make_card(**changes), IMAGES), IMAGES)


class NoWriter:
    """Stands in for TensorBoard's files, which are appended to and may end anywhere."""

    def scalars(self, step, values): ...

    def text(self, step, name, markdown): ...

    def flush(self): ...


def test_an_evaluation_is_written_as_json_scalars_and_a_page(tmp_path):
    writer = tensorboard.EventWriter(str(tmp_path))
    write(tmp_path, writer, fid=1.25)
    assert json.loads((tmp_path / card.FILE_NAME).read_text())["metrics"]["fid"]["value"] == 1.25
    assert tensorboard.read_scalars(str(tmp_path))["evaluation/fid"] == ([7], [1.25])
    page = (tmp_path / evaluate.PAGE_NAME).read_text()
    assert "1.25" in page and page.rstrip().endswith("</html>")
    writer.close()


def test_on_a_full_disk_the_earlier_evaluation_stays_whole(tmp_path):
    write(tmp_path, NoWriter(), fid=1.25)
    names = (card.FILE_NAME, evaluate.PAGE_NAME)
    before = [(tmp_path / name).read_text() for name in names]
    for size in (100, len(before[0]) + 1000):  # too small for either file, or for the page alone
        with full_after(size), pytest.raises(OSError):
            write(tmp_path, NoWriter(), fid=2.5)
        assert (tmp_path / evaluate.PAGE_NAME).read_text() == before[1]
        if size == 100:
            assert (tmp_path / card.FILE_NAME).read_text() == before[0]
