"""A run that several modules here draw from."""

from __future__ import annotations

import pytest
from support.process import SMALL

from trainer.experiment import Experiment


@pytest.fixture(scope="package")
def conditional(tmp_path_factory):
    """A Run of a conditional generator that was trained for six steps."""
    files = ["digits.gin", "hacks/projection.gin", "hardware/one_device.gin"]
    settings = [setting.removeprefix("--gin_param=") for setting in SMALL]
    run = Experiment.from_gin(files, settings).build(str(tmp_path_factory.mktemp("conditional")))
    run.train()
    return run
