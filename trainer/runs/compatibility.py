"""Whether a run may be resumed: its dataset and models must be those that it began with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from trainer import files
from trainer.data.dataset import DatasetSpec
from trainer.errors import TrainerError, first_line

FILE_NAME = "compatibility.json"

Facts = dict[str, str | int | float | bool | None]

_MAX_CHARACTERS = 10_000_000  # a hundred times those of the largest model that ships
# Names that Keras numbers by order of creation, and details that change between its releases.
_NOT_COMPARED = {"name", "module", "registered_name", "build_config", "dtype", "trainable"}


def describe(
    spec: DatasetSpec, num_examples: int, latent_dim: int, averaged: bool, *models: keras.Model
) -> Facts:
    """Describes the dataset and models by facts, named so that a user can understand a difference.

    Args:
      spec: The dataset.
      num_examples: Number of training images.
      latent_dim: Length of a latent.
      averaged: Whether a moving average of the generator is kept.
      models: The generator and the discriminator.
    """
    facts: Facts = {
        "dataset": spec.name,
        "dataset image shape": str(tuple(spec.image_shape)),
        "dataset size": num_examples,
        "train.latent_dim": latent_dim,
        "choice of a moving average (train.ema_half_life > 0)": averaged,
    }
    for model in models:
        facts[f"{model.name} layers"] = ", ".join(type(y).__name__ for y in model.layers)
        for i, layer in enumerate(model.layers):
            prefix = f"{model.name} layer {i} ({type(layer).__name__})"
            facts.update({f"{prefix} {k}": v for k, v in _leaves(layer.get_config())})
        for i, variable in enumerate(model.variables):
            facts[f"{model.name} variable {i}"] = f"{variable.name}{tuple(variable.shape)}"
    return facts


def check(model_dir: str, facts: Facts) -> None:
    """Compares `facts` with those of the run in `model_dir`; a new run's are written there.

    Facts that only one side has are not compared: another Keras release may describe a layer by
    other attributes.

    Raises:
      TrainerError: naming the first difference.
    """
    path = f"{model_dir}/{FILE_NAME}"
    if not tf.io.gfile.exists(path):
        files.write_file(path, json.dumps(facts, indent=1))
        return
    for fact, value in _read(path).items():
        if fact in facts and facts[fact] != value:
            raise TrainerError(
                f"{model_dir} holds a run with another {fact}: {value} there, {facts[fact]} "
                "now; choose another --model_dir, or resume without --gin_file to use the config "
                "saved there"
            )


def _read(path: str) -> Facts:
    try:
        saved = json.loads(files.read_text(path, at_most=_MAX_CHARACTERS))
        if isinstance(saved, dict):
            return saved
        reason = f"it holds a {type(saved).__name__}"
    except (ValueError, RecursionError) as error:
        reason = first_line(error)
    raise TrainerError(
        f"{path} is damaged ({reason}); remove it to resume without comparing the dataset and the "
        "models with those that the run began with"
    )


def _leaves(config: Any, path: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    """Yields the plain values in a layer's config by path, such as "activation.negative_slope"."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key not in _NOT_COMPARED:
                yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list | tuple):
        yield path, str(list(config))
    else:
        yield path, config
