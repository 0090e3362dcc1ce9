from __future__ import annotations

import json

import pytest
from support.disk import full_after

from trainer.data.dataset import DatasetSpec
from trainer.errors import TrainerError
from trainer.models import chatgpt, dcgan
from trainer.runs import compatibility

SHAPE = (28, 28, 1)


def describe(name="mnist", size=60_000, latent_dim=50, g=dcgan.generator, **dropout):
    generator = g(latent_dim=latent_dim, image_shape=SHAPE)
    discriminator = dcgan.discriminator(image_shape=SHAPE, **dropout)
    spec = DatasetSpec(name, image_shape=SHAPE, num_classes=10)
    return compatibility.describe(spec, size, latent_dim, False, generator, discriminator)


def test_the_same_run_is_accepted(tmp_path):
    compatibility.check(str(tmp_path), describe())
    compatibility.check(str(tmp_path), describe())  # built again: Keras's own names differ


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"name": "digits"}, "another dataset: mnist there, digits now"),
        ({"size": 100}, "another dataset size: 60000 there, 100 now"),
        ({"latent_dim": 64}, "another train.latent_dim: 50 there, 64 now"),
        ({"dropout": 0.3}, r"another discriminator layer 1 \(Dropout\) rate: 0.4 there, 0.3 now"),
        ({"g": chatgpt.generator}, "another generator layers: Dense, Reshape, BatchNormalization"),
    ],
)
def test_the_difference_is_named(tmp_path, change, difference):
    compatibility.check(str(tmp_path), describe())
    with pytest.raises(TrainerError, match=f"{difference}.*choose another --model_dir"):
        compatibility.check(str(tmp_path), describe(**change))


def test_facts_that_only_one_side_has_are_not_compared(tmp_path):
    compatibility.check(str(tmp_path), describe())
    saved = json.loads((tmp_path / compatibility.FILE_NAME).read_text())
    saved["generator layer 0 (Dense) attribute of another Keras release"] = 1
    del saved["discriminator layer 1 (Dropout) rate"]
    (tmp_path / compatibility.FILE_NAME).write_text(json.dumps(saved))
    compatibility.check(str(tmp_path), describe())


def test_a_full_disk_leaves_no_facts_behind(tmp_path):
    """A run could not be resumed beside half of a file."""
    with full_after(100), pytest.raises(OSError):
        compatibility.check(str(tmp_path), describe())
    assert not (tmp_path / compatibility.FILE_NAME).exists()
    compatibility.check(str(tmp_path), describe())
    compatibility.check(str(tmp_path), describe())


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000],
    ids=lambda content: repr(content[:6]),
)
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / compatibility.FILE_NAME).write_bytes(content)
    with pytest.raises(TrainerError, match=r"compatibility\.json is damaged \(.+\); remove it to"):
        compatibility.check(str(tmp_path), describe())
