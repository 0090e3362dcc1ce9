"""What a model must be before it is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import keras

from trainer.errors import TrainerError, check_takes


def check_replica_invariant(model: keras.Model) -> None:
    """Refuses a model whose answer would depend on the number of replicas.

    A Keras layer that draws random numbers has a seed generator: the same on every replica.

    Raises:
      TrainerError: naming the first layer that draws the same numbers on every replica.
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

    A conditional generator takes labels beside latents. A conditional discriminator takes them
    beside images, or returns class logits beside its verdict, or both.

    Raises:
      TrainerError: naming the model and what it must take or return, or its layer at fault.
    """
    for model, expected in ((generator, tuple(image_shape)), (discriminator, (1,))):
        check_replica_invariant(model)
        returned = tuple(model.outputs[0].shape[1:])
        if returned != expected:
            raise TrainerError(
                f"{model.name} returns {returned} an example, where the dataset "
                f"and the losses need {expected}; change its last layer"
            )
    knows = {
        "generator": len(generator.inputs) == 2,
        "discriminator": max(len(discriminator.inputs), len(discriminator.outputs)) == 2,
    }
    for name, knows_labels in knows.items():
        if knows_labels != conditional:
            word = "knows" if knows_labels else "does not know"
            raise TrainerError(
                f"this {name} {word} labels, and train.conditional={conditional}; choose both "
                "models of one kind, such as those of models/conditional.gin, and set it to match"
            )


def check_constructor(
    constructor: Callable[..., keras.Model], given: Sequence[str], conditional: bool
) -> None:
    """Refuses a constructor that does not take what it will be given, or needs num_classes besides.

    Args:
      constructor: Of a model.
      given: Names of the keyword arguments that it must take.
      conditional: Whether num_classes are one more.

    Raises:
      TrainerError: naming it.
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
            f"train.conditional={conditional}, but {name} {'needs' if needs else 'does not take'} "
            "num_classes; set it as both models need it, as hacks/projection.gin does"
        )
