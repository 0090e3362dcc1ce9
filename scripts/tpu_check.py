"""Compiles the train step for a TPU, without a TPU, and estimates its speed.

  python scripts/tpu_check.py --gin_file=mnist.gin --gin_file=hardware/tpu.gin
  python scripts/tpu_check.py --all --gin_file=hardware/tpu.gin \\
      --topology=v6e:2x4

It needs pip install 'gan-trainer[tpu-check]': the compiler is libtpu's own. A
step of the compiled program also runs on this machine's CPU, and must make the
trainer's own update. The exit code is 1 if it does not, or if a TPU cannot run
an operation; the error names the line that made it.
"""

from __future__ import annotations

import sys

from absl import flags, logging

from trainer import errors
from trainer.config import gin_reader
from trainer.tools import command_line

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file, as the trainer takes it. Repeatable."
)
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A setting over the files. Repeatable.")
TOPOLOGY = flags.DEFINE_multi_string(
    "topology",
    ["v5e:2x4"],
    "TPU generation and shape of the slice, such as v6e:2x4 or v4:2x2x1. Repeatable.",
)
ALL = flags.DEFINE_bool("all", False, "Check every shipped config, with --gin_file over each.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory of prepared datasets. Default: TensorFlow Datasets' own."
)


def _check_all() -> int:
    logging.set_verbosity(logging.WARNING)
    if not GIN_FILE.value and not ALL.value:
        raise errors.TrainerError("name a config with --gin_file, or check every one with --all")
    gin_reader.find_all(GIN_FILE.value)
    command_line.import_tensorflow()
    from trainer.reporting import markdown

    rows = []
    code = 0
    for files in gin_reader.experiments() if ALL.value else [[]]:
        gin_files = [*files, *GIN_FILE.value]
        try:
            rows += _check(gin_files)
        except errors.TrainerError as error:  # the other experiments may compile
            print(f"error: {error} ({' '.join(gin_files)})", file=sys.stderr)
            code = error.exit_code
    if len(rows) > 1:
        print(markdown.table(list(rows[0]), [list(row.values()) for row in rows]))
    return code


def _check(gin_files: list[str]) -> list[dict[str, str]]:
    """Checks a config on each topology, prints the results as they come, and returns them."""
    from trainer.experiment import Experiment
    from trainer.tools.tpu_check import check, compiler
    from trainer.tools.tpu_check.program import XlaReplicas, lower
    from trainer.tools.tpu_check.topology import MAX_CPU_REPLICAS, devices

    rows = []
    programs = {}
    for topology in TOPOLOGY.value:
        count = len(devices(topology))
        if count not in programs:
            experiment = Experiment.from_gin(gin_files, GIN_PARAM.value)
            replicas = check.build(experiment, XlaReplicas(count), data_dir=DATA_DIR.value)
            program = lower(replicas)
            distance = None
            if count <= MAX_CPU_REPLICAS:
                distance = check.update_distance(program, replicas, experiment, DATA_DIR.value)
            programs[count] = program, distance
        program, distance = programs[count]
        compiled = compiler.compile_for(topology, program)
        row = {"config": " ".join(gin_files), "topology": topology}
        rows.append(row | check.report(program, compiled, distance))
        print("\n".join(f"{name:34} {value}" for name, value in rows[-1].items()))
        print(check.assumptions(compiled.device_kind), end="\n\n", flush=True)
    return rows


if __name__ == "__main__":
    command_line.run(_check_all, doc=__doc__, interrupted="Stopped.")
