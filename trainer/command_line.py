"""The flags of `python -m trainer.main`; none of them needs TensorFlow."""

from __future__ import annotations

from absl import flags

GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "A gin file: a path, or a name within configs/. Repeat it to overlay."
)
GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'A binding over the files, such as "train.num_epochs=5". Repeatable.'
)
MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Where the run is or will be. Default: runs/ and the gin files' names."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared datasets. Default: TFDS's own.")
MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate", "generate", "export"], "What to do."
)
PROFILE = flags.DEFINE_integer("profile", 0, "Steps to trace for TensorBoard's Profile tab.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Build everything, print the plan and stop.")
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "For --mode=generate: a .png, .npy, .gif or .webp, or a directory for PNGs. "
    "For --mode=export: a directory. Default: generated.png or export/ in the model_dir.",
)

SAMPLES = {
    "show": flags.DEFINE_enum(
        "show",
        "samples",
        ["samples", "interpolation", "training"],
        "For --mode=generate, as the following: samples, ways between them (slerp), or the run's "
        "grids in time.",
    ),
    "num": flags.DEFINE_integer("num", None, "Samples to generate. Default: as in a run's grids."),
    "seed": flags.DEFINE_integer("seed", None, "Of the samples. Default: as in a run's grids."),
    "labels": flags.DEFINE_multi_integer(
        "label", [], "A class to generate, of a conditional run. Repeatable. Default: all in turn."
    ),
    "truncation": flags.DEFINE_float("truncation", None, "Most that a latent's number may be."),
}
"""The arguments of `trainer.generation.generate`, by name."""
