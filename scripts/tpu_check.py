"""Compiles the train step for a TPU that need not be there, and says how it would do.

    python scripts/tpu_check.py --gin_file=mnist.gin --gin_file=hardware/tpu.gin --topology=v5e:2x4
    python scripts/tpu_check.py --all --gin_file=hardware/tpu.gin --topology=v6e:2x4

It needs pip install 'gan-trainer[tpu-check]': the compiler is libtpu's own. The same program also
runs a step on this machine's CPU, and must give the trainer's own update. Exits with 1 where it
does not, or where an operation has no place on a TPU, naming the line that made it.
"""

from __future__ import annotations

import sys

from absl import flags, logging

from trainer import config, errors
from trainer.tools import command_line

GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "As the trainer takes them. Repeatable.")
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A binding over the files. Repeatable.")
TOPOLOGY = flags.DEFINE_multi_string(
    "topology", ["v5e:2x4"], "A generation and its chips, such as v6e:2x4 or v4:2x2x1. Repeatable."
)
ALL = flags.DEFINE_bool("all", False, "Check every shipped config, with --gin_file over each.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets, where one must be read.")


def _check_all() -> int:
    logging.set_verbosity(logging.WARNING)
    command_line.import_tensorflow()
    rows = []
    code = 0
    for files in config.experiments() if ALL.value else [[]]:
        gin_files = [*files, *GIN_FILE.value]
        try:
            rows += _check(gin_files)
        except errors.TrainerError as error:  # and the other experiments may be sound
            print(f"error: {error} ({' '.join(gin_files)})", file=sys.stderr)
            code = error.exit_code
    if len(rows) > 1:
        print(_table(rows))
    return code


def _check(gin_files: list[str]) -> list[dict[str, str]]:
    """One row a topology, each printed as soon as it is known."""
    from trainer.experiment import Experiment
    from trainer.tools.tpu_check import check, compiler
    from trainer.tools.tpu_check.program import XlaReplicas, lower

    rows = []
    programs = {}
    for topology in TOPOLOGY.value:
        count = len(compiler.devices(topology))
        if count not in programs:
            experiment = Experiment.from_gin(gin_files, GIN_PARAM.value)
            replicas = check.build(experiment, XlaReplicas(count), data_dir=DATA_DIR.value)
            program = lower(replicas)
            distance = None
            if count <= compiler.MOST_CPU_REPLICAS:
                distance = check.update_distance(program, replicas, experiment, DATA_DIR.value)
            programs[count] = program, distance
        program, distance = programs[count]
        compiled = compiler.compile_for(topology, program)
        row = {"config": " ".join(gin_files), "topology": topology}
        rows.append(row | check.report(program, compiled, distance))
        print("\n".join(f"{name:34} {value}" for name, value in rows[-1].items()))
        print(check.assumptions(compiled.device_kind), end="\n\n", flush=True)
    return rows


def _table(rows: list[dict[str, str]]) -> str:
    """The rows in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    command_line.run(_check_all, doc=__doc__, interrupted="Stopped.")
