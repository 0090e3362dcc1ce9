"""--mode=export: the generator in formats that other programs read."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from trainer import files
from trainer.config import gin_reader
from trainer.data.batches import denormalise
from trainer.errors import TrainerError, first_line
from trainer.evaluation.card import FILE_NAME as CARD_NAME
from trainer.evaluation.card import Card
from trainer.inference.formats import FORMATS, Format
from trainer.inference.portable import portable_copy
from trainer.models.layers import Dropout
from trainer.reporting.card_page import TEMPLATES, rows
from trainer.reporting.images import image_grid, write_png
from trainer.runs.run import Run

TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "bfloat16": 0.1}
"""The run's compute dtype -> largest difference of an exported generator's pixels, in [-1, 1], from
the trainer's. Exported generators compute in float32."""

_COUNT = 64  # samples to compare


def export(run: Run, *, output: str) -> None:
    """Writes the generator with its current weights to a directory, and a model card.

    The weights are those that evaluation and samples use: the moving average, if the run keeps one,
    and batch normalisation's moving statistics. Before anything is written to `output`, each file
    is read by its format's own runtime, and its images are compared with the trainer's. A format
    whose libraries are not installed, or whose converter fails, is left out with a warning.

    Args:
      run: The run, trained or restored.
      output: Directory, local or gs://; files of an earlier export are replaced.

    Raises:
      TrainerError: if the generator draws random numbers, or a format's images are not the
        trainer's.
    """
    trainer = run.trainer
    latents = trainer.inference.latents(_COUNT).numpy()
    images = trainer.inference.sample(latents)
    if not run.is_chief:
        return
    inputs = [latents.astype(np.float32)]
    if (labels := trainer.inference.labels(_COUNT)) is not None:
        inputs.append(labels)
    with tempfile.TemporaryDirectory() as scratch:
        distances = _write_formats(run, Path(scratch), inputs, images)
        Path(scratch, gin_reader.FILE_NAME).write_text(run.config_text, encoding="utf-8")
        write_png(f"{scratch}/samples.png", image_grid(denormalise(images)))
        card = Card.load(run.model_dir)
        if card:
            Path(scratch, CARD_NAME).write_text(card.to_json(), encoding="utf-8")
        Path(scratch, "README.md").write_text(_model_card(run, card, distances), encoding="utf-8")
        _copy(Path(scratch), output)
    for name, distance in distances.items():
        print(f"{name:18} differs from the trainer's images by at most {distance:.1e}")
    print(f"Generator of step {run.step}, with its model card: {output}")


def _write_formats(
    run: Run, directory: Path, inputs: list[np.ndarray], images: np.ndarray
) -> dict[str, float]:
    """Writes and checks each format.

    Returns:
      File -> largest difference of its pixels from the trainer's.
    """
    noisy = [
        x.name
        for x in run.trainer.networks.generator_ema.layers
        if isinstance(x, Dropout) and x.always
    ]
    if noisy:
        raise TrainerError(
            f"the generator drops out when sampling ({noisy[0]}; hack 17), which exported formats "
            "cannot do; train one without dropout, or use --mode=generate"
        )
    model = portable_copy(run.trainer.networks.generator_ema)
    bound = TOLERANCE[run.trainer.networks.generator_ema.compute_dtype]
    distances = {}
    for kind in FORMATS:
        path = str(directory / kind.file)
        if kind.missing:
            names = ", ".join(kind.missing)
            _left_out(kind, f"not installed: {names}; pip install 'gan-trainer[export]'")
            continue
        logging.info("writing %s", kind.file)
        try:
            kind.write(model, path)
            made = kind.load(path)(inputs)
        except Exception as error:  # converters raise errors of any kind; keep the other formats
            _left_out(kind, f"its converter refuses this generator ({first_line(error)})")
            _remove(path)
            continue
        distance = float(np.abs(made - images).max())
        if not distance <= bound:
            raise TrainerError(
                f"{kind.file} makes images that are {distance:.1e} from the trainer's, where "
                f"{bound:g} is allowed; nothing was written"
            )
        distances[kind.file] = distance
    return distances


def _left_out(kind: Format, reason: str) -> None:
    logging.warning("%s is left out: %s", kind.file, reason)


def _model_card(run: Run, card: Card | None, distances: dict[str, float]) -> str:
    """The model card, README.md, in Markdown."""
    trainer = run.trainer
    return TEMPLATES.get_template("model_card.md").render(
        name=run.spec.name,
        image_shape=run.spec.image_shape,
        latent_dim=trainer.config.latent_dim,
        num_classes=trainer.inference.num_classes,
        parameters=trainer.networks.generator_ema.count_params(),
        step=run.step,
        images_seen=run.step * trainer.batch_sampler.batch_size,
        num_examples=trainer.batch_sampler.num_examples,
        weights=trainer.sampled_weights,
        version=importlib.metadata.version("gan-trainer"),
        revision=_revision(),
        card=card,
        rows=rows(card) if card else [],
        distances=distances,
    )


def _revision() -> str | None:
    """The commit of the checkout that this package runs from; None if it was installed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        # This fails in another repository, which the package may have been installed into.
        git("ls-files", "--error-unmatch", __file__)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _remove(path: str) -> None:
    if not files.is_remote(path) and os.path.islink(path):
        os.remove(path)  # and not what it leads to
    elif tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    elif tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def _copy(directory: Path, output: str) -> None:
    """Copies files to a local or gs:// directory, after removing an earlier export's formats.

    The model card is written last, so that where it is, the other files are complete.
    """
    for kind in FORMATS:
        _remove(f"{output}/{kind.file}")
    paths = sorted(
        (path for path in directory.rglob("*") if path.is_file()),
        key=lambda path: path.name == "README.md",
    )
    for path in paths:
        target = f"{output}/{path.relative_to(directory)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        files.write_file(target, path.read_bytes())
