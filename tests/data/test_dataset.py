from __future__ import annotations

import numpy as np
import pytest

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.errors import TrainerError

SPEC = DatasetSpec("mine", image_shape=(4, 4, 1), num_classes=2)
IMAGES = np.zeros((3, 4, 4, 1), np.uint8)
LABELS = np.array([0, 1, 1], np.int32)


def test_what_a_spec_says_is_taken_as_it_is():
    examples = Examples(IMAGES, LABELS)
    assert Dataset(SPEC, {"test": examples}.get).load("test") is examples


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, r"images float32 .* needs uint8 \(3, 4, 4, 1\)"),
        (IMAGES[..., 0], LABELS, r"images uint8 \(3, 4, 4\), where"),
        (IMAGES, LABELS.astype(np.int64), r"labels int64 .* needs int32 \(3,\)"),
        (IMAGES, LABELS[:2], r"labels int32 \(2,\), where"),
        (IMAGES, LABELS + 1, r"labels from 1 to 2, which are not in \[0, 2\)"),
    ],
)
def test_anything_else_is_refused(images, labels, message):
    with pytest.raises(TrainerError, match=f"dataset mine .*{message}"):
        Dataset(SPEC, lambda split: Examples(images, labels)).load("train")
