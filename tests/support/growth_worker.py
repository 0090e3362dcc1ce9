"""Measures this process's resident memory for test_growth.py and prints it as JSON.

python growth_worker.py calls MODEL_DIR    after 20 calls of the loop, and after 2,000 more
python growth_worker.py dataset            what each byte of images costs at the peak
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

import trainer  # noqa: F401  sets Keras's backend

import tensorflow as tf  # isort: skip

from trainer.gan.trainer import GanTrainer
from trainer.reporting import tensorboard
from trainer.tools.benchmark import problem
from trainer.training import loop
from trainer.training.callbacks import Progress, Scalars
from trainer.training.loop import PeriodicCallback
from trainer.training.timing import Throughput

BATCH_SIZE = 8


def make(images: np.ndarray) -> GanTrainer:
    return problem.trainer(images, BATCH_SIZE, strategy=tf.distribute.OneDeviceStrategy("CPU:0"))


def resident() -> int:
    """Bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def calls(model_dir: str) -> list[int]:
    """Resident bytes after 20 calls of train, each with its callbacks, and after 2,000 more."""
    gan = make(np.zeros([64, 8, 8, 1], np.uint8))
    throughput = Throughput(BATCH_SIZE, 2020)
    writer = tensorboard.EventWriter(model_dir)
    functions = [throughput, Scalars(writer, throughput), Progress(throughput, 0, 2020)]
    callbacks = [PeriodicCallback(function, every_call=True) for function in functions]
    measured, step = [], 0
    for last_step in (20, 2020):
        step = loop.run(
            gan.train,
            step=step,
            last_step=last_step,
            steps_per_loop=1,
            callbacks=callbacks,
        )
        measured.append(resident())
    return measured


def dataset() -> float:
    """How much the peak grows with the dataset, as a multiple of its size."""
    sizes = (1_000, 1_000, 1_000, 1_200_000)
    peaks = []
    for size in sizes:
        gan = make(np.full([size, 28, 28, 1], 1, np.uint8))
        gan.train(2)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    each = peaks[-2] - peaks[-3]  # what one more trainer takes, whatever its dataset
    return (peaks[-1] - peaks[-2] - each) / ((sizes[-1] - sizes[-2]) * 784)


if __name__ == "__main__":
    print(json.dumps({"calls": calls, "dataset": dataset}[sys.argv[1]](*sys.argv[2:])))
