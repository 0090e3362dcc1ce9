"""The command line: flags -> experiment -> run -> what --mode says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from trainer import files
from trainer.config import gin_reader
from trainer.tools import command_line

if TYPE_CHECKING:
    from trainer.experiment import Experiment, Run

_DOC = """
Trains a GAN, and evaluates, samples and exports what was trained.

  python -m trainer.main --gin_file=mnist.gin
  python -m trainer.main --mode=generate --model_dir=runs/mnist --num=16

The first command trains, or resumes where it stopped; the second writes
samples of that run. Settings and shipped configs: docs/config.md.
"""

MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate", "generate", "export"], "What to do with the run."
)
MODEL_DIR = flags.DEFINE_string(
    "model_dir",
    None,
    "Directory of the run, local or gs://. Default: runs/ and the names of the gin files.",
)
GIN_FILE = flags.DEFINE_multi_string(
    "gin_file",
    [],
    "A gin file: a path, or a name in configs/. Repeat it to overlay. Without it, the config saved "
    "in --model_dir is used.",
)
GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'A setting over the files, such as "train.num_epochs=5". Repeatable.'
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Directory of prepared datasets. Default: TensorFlow Datasets' own."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Build everything, print what would be trained, and stop."
)
PROFILE = flags.DEFINE_integer(
    "profile", 0, "Number of steps to trace for TensorBoard's Profile tab.", lower_bound=0
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "generate: a .png, .npy, .gif or .webp file, or a directory for one PNG per sample; default "
    "generated.png in the model_dir. export: a directory; default export/ in the model_dir.",
)
SHOW = flags.DEFINE_enum(
    "show",
    "samples",
    ["samples", "interpolation", "training"],
    "Samples, interpolations between them, or the run's sample grids over time.",
)
NUM = flags.DEFINE_integer(
    "num", None, "Number of samples. Default: as many as in the run's sample grids."
)
SEED = flags.DEFINE_integer(
    "seed", None, "Seed of the sampled latents. Default: the seed of the run's sample grids."
)
LABEL = flags.DEFINE_multi_integer(
    "label", [], "Class to generate, with a conditional run. Repeatable. Default: all in turn."
)
TRUNCATION = flags.DEFINE_float(
    "truncation", None, "Truncation threshold for latents; smaller is less diverse."
)

_GROUPS = {
    "Every mode": ["mode", "model_dir", "gin_file", "gin_param", "data_dir"],
    "Train": ["dry_run", "profile"],
    "Generate and export": ["output"],
    "Generate": ["show", "num", "seed", "label", "truncation"],
}


def default_model_dir(gin_files: Sequence[str]) -> str:
    """The directory of a run without --model_dir."""
    return f"runs/{gin_reader.run_name(gin_files)}"


def _run() -> int:
    gin_files = GIN_FILE.value
    gin_reader.find_all(gin_files)
    if not gin_files:
        gin_reader.find_saved(MODEL_DIR.value)
    command_line.log_own_lines()
    command_line.import_tensorflow()
    from trainer.experiment import Experiment

    model_dir = MODEL_DIR.value or default_model_dir(gin_files)
    for path in (model_dir, DATA_DIR.value, OUTPUT.value, *gin_files):
        files.check(path or "")
    if gin_files:
        experiment = Experiment.from_gin(gin_files, GIN_PARAM.value)
    else:
        experiment = Experiment.from_run(model_dir, GIN_PARAM.value)
    return _do(experiment, model_dir)


def _do(experiment: Experiment, model_dir: str) -> int:
    from trainer.distributed import multihost

    run = experiment.build(model_dir, data_dir=DATA_DIR.value)
    with multihost.explain_lost_peer(run.trainer.strategy):
        if DRY_RUN.value:
            from trainer.runs.plan import print_plan

            print_plan(run)
            return 0
        if MODE.value == "train":
            from trainer.training.train import train

            return train(run, profile=PROFILE.value)
        run.restore()
        _use(run)
        return 0


def _use(run: Run) -> None:
    """Does what --mode says with a run that is restored."""
    if MODE.value == "evaluate":
        run.evaluate()
    elif MODE.value == "export":
        run.export(OUTPUT.value or f"{run.model_dir}/export")
    else:
        run.generate(
            OUTPUT.value or f"{run.model_dir}/generated.png",
            show=SHOW.value,
            num=NUM.value,
            seed=SEED.value,
            labels=LABEL.value,
            truncation=TRUNCATION.value,
        )


def run() -> None:
    """The command: `python -m trainer.main`, or `gan-trainer`."""
    command_line.run(
        _run,
        doc=_DOC,
        groups=_GROUPS,
        # Ctrl-C before training, or again while it saves.
        interrupted="Stopped at once. What was saved stays; the same command resumes.",
    )


if __name__ == "__main__":
    run()
