"""Measures the trainer against the tutorial's loop, plain TensorFlow and PyTorch.

  python scripts/benchmark.py --output=benchmark
  python scripts/benchmark.py --loop=float32 --rounds=3

Every loop trains the tutorial's GAN on 28x28 noise in its own process. They are
checked to compute the same first step, and then train in turns, since a shared
machine's speed drifts and only ratios are reliable. Results are
OUTPUT/benchmark.md, .json and .png. PyTorch takes part if it is installed.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shlex
import sys

from absl import flags

from trainer import files
from trainer.tools import command_line
from trainer.tools.benchmark.cases import BASELINE, CASES, REFERENCE

LOOPS = flags.DEFINE_multi_enum(
    "loop",
    [],
    list(CASES),
    "A loop to measure besides the notebook's. Repeatable. Default: all.",
)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Number of turns of each loop.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 3.0, "Length of a turn in seconds.", lower_bound=0.01)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Global batch size.", lower_bound=4)
NUM_IMAGES = flags.DEFINE_integer("num_images", 60_000, "Size of the dataset.", lower_bound=4)
OUTPUT = flags.DEFINE_string("output", "benchmark", "Directory for the results.")


def _measure() -> None:
    command_line.import_tensorflow()
    import tensorflow as tf

    from trainer.distributed import strategy
    from trainer.tools.benchmark import problem, report, runner
    from trainer.tools.benchmark.kernel_time import KernelTime

    names = [name for name in CASES if name == BASELINE or name in (LOOPS.value or CASES)]
    if "pytorch" in names and importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed and takes no part: pip install torch")
        names.remove("pytorch")
    make = functools.partial(problem.trainer, strategy=strategy.one_device())
    work = problem.problem(BATCH_SIZE.value, make, NUM_IMAGES.value)
    precisions = {REFERENCE: "float32", "bfloat16": "mixed_bfloat16"}
    kernel_times = {
        name: KernelTime(make(work.images, BATCH_SIZE.value, precision=precision))
        for name, precision in precisions.items()
        if name in names
    }

    def measure_kernels() -> None:
        for kernel_time in kernel_times.values():
            kernel_time.measure()

    results = runner.run(
        work, names, rounds=ROUNDS.value, seconds=SECONDS.value, between=measure_kernels
    )
    seconds = {name: each.seconds_per_step for name, each in kernel_times.items()}
    command = shlex.join(["python", *sys.argv])
    figures = report.summary(results, seconds, BATCH_SIZE.value, command)
    text = report.as_markdown(figures)
    tf.io.gfile.makedirs(OUTPUT.value)
    files.write_file(f"{OUTPUT.value}/benchmark.json", json.dumps(figures, indent=1))
    files.write_file(f"{OUTPUT.value}/benchmark.md", text + "\n")
    report.chart(figures, f"{OUTPUT.value}/benchmark.png")
    print(f"\n{text}\n\nTable, figures and chart: {OUTPUT.value}/benchmark.md, .json and .png")


if __name__ == "__main__":
    command_line.run(_measure, doc=__doc__, interrupted="Stopped; nothing was written.")
