"""Trains and evaluates a config and its rivals with several seeds, and reports which is better.

    python scripts/compare.py --gin_file=mnist.gin --vs=models/chatgpt.gin --seeds=3 --output=report

Runs that are done are skipped, and one that was stopped is taken up again by the same command. A
rival is the base config with the overlays of one --vs over it; commas join several, and bindings
that are the rival's alone. The result is OUTPUT/index.html and OUTPUT/table.md; the runs are in
OUTPUT/NAME/seed_N.
"""

from __future__ import annotations

import os
import shlex
import sys

from absl import flags

import trainer  # noqa: F401  sets Keras's backend
from trainer import config, files
from trainer.evaluation.card import TITLES
from trainer.reporting import hparams
from trainer.tools import command_line
from trainer.tools.compare import compare
from trainer.tools.compare import page as page

GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "The base config, and overlays for all.")
VS = flags.DEFINE_multi_string(
    "vs", [], "A rival's overlays and bindings, comma-separated. Repeatable."
)
GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "A binding for all. Repeatable.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each, with the seeds 0, 1, ...", lower_bound=1)
PARALLEL = flags.DEFINE_integer("parallel", 1, "Runs at a time.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "report", "Directory of the runs and the report.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")


def _compare() -> int:
    output, seeds = OUTPUT.value, range(SEEDS.value)
    for path in (output, DATA_DIR.value or "", *GIN_FILE.value):
        files.check(path)
    variants = compare.variants(GIN_FILE.value, VS.value)
    sys.path.insert(0, os.getcwd())  # where `python -m trainer.main` finds a config's modules
    for variant in variants:  # before hours of training, not after
        config.load(variant.gin_files, [*GIN_PARAM.value, *variant.gin_params])
    extra = [f"--gin_param={binding}" for binding in GIN_PARAM.value]
    if DATA_DIR.value:
        extra.append(f"--data_dir={DATA_DIR.value}")
    pairs = [(variant, seed) for seed in seeds for variant in variants]
    if code := compare.Runs(output, extra, PARALLEL.value)(pairs):
        print("Not finished. The same command goes on from here.", file=sys.stderr)
        return code
    results = compare.collect(variants, seeds, output)
    table = compare.markdown(results)
    files.write_file(f"{output}/table.md", table + "\n")
    command = shlex.join(["python", *sys.argv])
    files.write_file(f"{output}/index.html", page.render(results, seeds, output, command))
    model_dirs = [compare.model_dir(output, variant, seed) for variant, seed in pairs]
    titles = {f"evaluation/{name}": " ".join(title) for name, title in TITLES.items()}
    hparams.write_columns(output, model_dirs, titles)
    print(table)
    for rival in results[1:]:
        print(compare.verdict(results[0], rival))
    print(f"Report: {output}/index.html")
    return 0


if __name__ == "__main__":
    command_line.run(
        _compare, doc=__doc__, interrupted="Stopped. The same command goes on from here."
    )
