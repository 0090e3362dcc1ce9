"""Trains GANs on any number of CPUs, GPUs or TPU chips, with the same result.

In a notebook:

    import trainer
    run = trainer.load_run("runs/mnist")
    images = run.sample(16, seed=0)
"""

from __future__ import annotations

import importlib
import os
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.experiment import Experiment, load_run
    from trainer.gan.trainer import GanConfig, GanTrainer

__version__ = "0.1.0"
__all__ = ["Experiment", "GanConfig", "GanTrainer", "__version__", "load_run"]

_PUBLIC = {
    "Experiment": "trainer.experiment",
    "GanConfig": "trainer.gan.trainer",
    "GanTrainer": "trainer.gan.trainer",
    "load_run": "trainer.experiment",
}
NO_TENSORFLOW = (
    "TensorFlow is not installed; choose its flavour: pip install 'gan-trainer[cpu]', "
    "'gan-trainer[gpu]' or 'gan-trainer[tpu]' (in a checkout: pip install -e '.[cpu]')"
)

# Keras picks its backend when it is first imported, from a file in the user's home directory
# unless this variable is set; the trainer is written for TensorFlow's.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's own start-up notices (CUDA not found, oneDNN in use) hide the trainer's lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On processors without AVX512_VNNI TensorFlow leaves oneDNN's convolutions off, though they are the
# faster ones there too: docs/performance.md.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def __getattr__(name: str) -> Any:
    """Imports the public names on first use: they need TensorFlow, which takes seconds."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'trainer' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise ImportError(NO_TENSORFLOW) from None
