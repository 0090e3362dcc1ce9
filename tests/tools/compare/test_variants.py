from __future__ import annotations

import pytest

from trainer.errors import TrainerError
from trainer.tools.compare.variants import Variant, variants


def test_variants_are_the_base_under_their_overlays():
    found = variants(
        ["mnist.gin", "hardware/one_device.gin"], ["models/chatgpt.gin", "a/x.gin,a/y.gin"]
    )
    assert [v.name for v in found] == ["mnist", "chatgpt", "x-y"]
    assert found[2].gin_files == ("mnist.gin", "hardware/one_device.gin", "a/x.gin", "a/y.gin")


def test_a_hardware_overlay_alone_names_a_variant():
    (_, hardware) = variants(["mnist.gin"], ["hardware/bfloat16.gin"])
    assert hardware.name == "bfloat16"


def test_a_variant_may_have_settings_of_its_own():
    (_, variant) = variants(["a.gin"], ["b/c.gin,train.seed=7,r1.gamma=2"])
    assert variant == Variant("c", ("a.gin", "b/c.gin"), ("train.seed=7", "r1.gamma=2"))


@pytest.mark.parametrize(
    ("files", "overlays", "message"),
    [
        ([], ["a.gin"], "--gin_file"),
        (["a.gin"], [], "--vs"),
        (["a.gin"], ["b/c.gin", "d/c.gin"], "two configs are named c"),
        (["a.gin"], ["train.seed=7"], "--vs=train.seed=7 names no .gin file"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, overlays, message):
    with pytest.raises(TrainerError, match=message):
        variants(files, overlays)
