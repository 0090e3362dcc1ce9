"""Trains and evaluates configs with several seeds, and says which is better.

  python scripts/compare.py --gin_file=mnist.gin --vs=models/chatgpt.gin
  python scripts/compare.py --gin_file=mnist.gin --seeds=5 \\
      --vs=hacks/ema.gin,train.ema_half_life=5000 --vs=losses/hinge.gin

Each --vs is a variant: the base config with these overlays, and these settings
of its own, over it. Finished runs are skipped, and the same command resumes a
run that was stopped. Results are OUTPUT/index.html and OUTPUT/table.md; the
runs are in OUTPUT/NAME/seed_N.
"""

from __future__ import annotations

import os
import shlex
import sys

from absl import flags

from trainer import files
from trainer.config import gin_reader
from trainer.tools import command_line
from trainer.tools.compare.variants import model_dir, variants

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file of the base config, or an overlay for all. Repeatable."
)
VS = flags.DEFINE_multi_string(
    "vs", [], "Overlays and settings of a variant, comma-separated. Repeatable."
)
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A setting for all runs. Repeatable.")
SEEDS = flags.DEFINE_integer(
    "seeds", 3, "Number of runs of each config, with the seeds 0, 1, ...", lower_bound=1
)
PARALLEL = flags.DEFINE_integer("parallel", 1, "Number of runs at a time.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "report", "Directory of the runs and the report.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory of prepared datasets. Default: TensorFlow Datasets' own."
)


def _compare() -> int:
    configs = variants(GIN_FILE.value, VS.value)
    gin_reader.find_all(name for variant in configs for name in variant.gin_files)
    command_line.import_tensorflow()
    from trainer.tools.compare import page, results
    from trainer.tools.compare.runner import Runner

    output, seeds = OUTPUT.value, range(SEEDS.value)
    for path in (output, DATA_DIR.value or "", *GIN_FILE.value):
        files.check(path)
    sys.path.insert(0, os.getcwd())  # where `python -m trainer.main` finds a config's modules
    for variant in configs:  # before hours of training, not after
        gin_reader.load(variant.gin_files, [*GIN_PARAM.value, *variant.gin_params])
    extra = [f"--gin_param={setting}" for setting in GIN_PARAM.value]
    if DATA_DIR.value:
        extra.append(f"--data_dir={DATA_DIR.value}")
    pairs = [(variant, seed) for seed in seeds for variant in configs]
    if code := Runner(output, extra, PARALLEL.value).run(pairs):
        print("Not finished. The same command continues.", file=sys.stderr)
        return code
    found = results.collect(configs, seeds, output)
    table = results.as_markdown(found)
    command = shlex.join(["python", *sys.argv])
    files.write_file(f"{output}/table.md", table + "\n")
    files.write_file(f"{output}/index.html", page.render(found, seeds, output, command))
    results.write_columns(output, [model_dir(output, variant, seed) for variant, seed in pairs])
    print(table)
    for result in found[1:]:
        print(results.conclusion(found[0], result))
    print(f"Report: {output}/index.html")
    return 0


if __name__ == "__main__":
    command_line.run(_compare, doc=__doc__, interrupted="Stopped. The same command continues.")
