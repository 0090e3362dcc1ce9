"""Four virtual CPU devices for every test process, and the real archives where they are at hand."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NUM_DEVICES = 4

# A shell starts what it puts in the background with Ctrl-C ignored, and the programs that tests
# start, and interrupt, would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Sets TensorFlow up in each process that runs tests, unlike the one that hands them out."""
    if config.getoption("numprocesses", None):
        return
    from trainer.tools import command_line

    command_line.import_tensorflow()
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws its weights from the same seed, before its fixtures, wherever it runs."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def archives() -> Path:
    """Directory with mnist/ and fashion_mnist/, each holding the four IDX archives."""
    if "GAN_TRAINER_ARCHIVES" not in os.environ:
        pytest.skip("GAN_TRAINER_ARCHIVES names no directory with the real archives")
    return Path(os.environ["GAN_TRAINER_ARCHIVES"])


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The package's wheel, built from a copy so that the checkout stays as it is."""
    root = Path(__file__).parents[1]
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    for name in ("trainer", "configs"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", built, source),
        ],
        check=True,
    )
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="session")
def make_strategy():
    """(1 or NUM_DEVICES) -> a strategy of that many replicas.

    No other number, and the same strategy each time: TensorFlow's collectives allow one group size
    in a process, and every MirroredStrategy numbers its operations from the same start.
    """
    import tensorflow as tf

    @functools.cache
    def make(num_replicas: int):
        if num_replicas == 1:
            return tf.distribute.OneDeviceStrategy("CPU:0")
        assert num_replicas == NUM_DEVICES
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(num_replicas)])

    return make
