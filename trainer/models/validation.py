"""Checks of models and their constructors before training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import keras

from trainer.errors import TrainerError, check_takes


def check_replica_invariant(model: keras.Model) -> None:
    """Refuses models with layers whose results would depend on the number of replicas.

    These are Keras's random layers: their seed generator gives every replica the same numbers.

    Raises:
      TrainerError: naming the first such layer.
    """
    for layer in model._flatten_layers(include_self=False):
        if layer._seed_generators:
            raise TrainerError(
                f"{model.name}: {type(layer).__name__} '{layer.name}' draws the same numbers on "
                "every replica; use trainer.models.layers.Dropout, or draw from trainer.rng"
            )


def check_models(
    generator: keras.Model,
    discriminator: keras.Model,
    image_shape: tuple[int, int, int],
    conditional: bool = False,
) -> None:
    """Refuses models that do not fit the dataset, the losses or several replicas.

    A conditional generator takes labels besides latents. A conditional discriminator takes labels
    besides images, or returns class logits besides logits, or both.

    Args:
      generator: The generator.
      discriminator: The discriminator.
      image_shape: (H, W, C).
      conditional: Whether both models must be conditional; otherwise neither may be.

    Raises:
      TrainerError: naming the model or the layer, and what is wrong with it.
    """
    for model, expected in ((generator, tuple(image_shape)), (discriminator, (1,))):
        check_replica_invariant(model)
        returned = tuple(model.outputs[0].shape[1:])
        if returned != expected:
            raise TrainerError(
                f"{model.name} returns {returned} for each example, but the dataset "
                f"and the losses need {expected}; change its last layer"
            )
    uses_labels = {
        "generator": len(generator.inputs) == 2,
        "discriminator": max(len(discriminator.inputs), len(discriminator.outputs)) == 2,
    }
    for name, uses in uses_labels.items():
        if uses != conditional:
            raise TrainerError(
                f"conditional={conditional}, but this {name} {'uses' if uses else 'ignores'} "
                "labels; choose two models of one kind, as hacks/projection.gin does, and set "
                "conditional to match"
            )


def check_constructor(
    constructor: Callable[..., keras.Model], given: Sequence[str], conditional: bool
) -> None:
    """Refuses a model's constructor that cannot be called with the arguments it will be given.

    Args:
      constructor: The constructor.
      given: Names of the keyword arguments that it will be given.
      conditional: Whether it will be given num_classes as well.

    Raises:
      TrainerError: naming the constructor and the argument.
    """
    check_takes(constructor, given)
    parameters = inspect.signature(constructor).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    name = getattr(constructor, "__qualname__", constructor)
    parameter = parameters.get("num_classes")
    needs = parameter is not None and parameter.default is inspect.Parameter.empty
    if needs if not conditional else parameter is None:
        raise TrainerError(
            f"conditional={conditional}, but {name} {'needs' if needs else 'does not take'} "
            "num_classes; choose two models of one kind, as hacks/projection.gin does, and set "
            "conditional to match"
        )
