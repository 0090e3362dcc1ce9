from __future__ import annotations

import pytest

from trainer import experiment
from trainer.data.digits import digits
from trainer.errors import TrainerError
from trainer.gan import augment, losses
from trainer.models import dcgan


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", losses.hinge(), "train.loss holds a GanLoss, but must name a function"),
        ("generator", "article.generator", "train.generator holds a str"),
        ("strategy", None, "train.strategy holds a NoneType"),
        ("augmentations", [augment.DiffAugment, "cutout"], "train.augmentations holds a str"),
        ("dataset", lambda: None, "does not take data_dir; the trainer calls it with data_dir"),
        ("penalties", losses.hinge, "train.penalties=.* must be a list"),
    ],
)
def test_what_is_to_be_called_must_be_a_function(tmp_path, name, value, message):
    settings = {"dataset": digits, "generator": dcgan.generator}
    settings |= {"discriminator": dcgan.discriminator, name: value}
    with pytest.raises(TrainerError, match=message):
        experiment.train(**settings, model_dir=str(tmp_path), task=None)
