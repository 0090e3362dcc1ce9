"""What a model must be before it is trained."""

from __future__ import annotations

import keras

from trainer.errors import TrainerError

# Keras's own: their generators hand every replica the same numbers, so the result would depend
# on how many replicas share the batch.
_REPLICA_DEPENDENT = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout2D,
)


def check_replica_invariant(model: keras.Model) -> None:
    """Refuses a model whose answer would depend on the number of replicas.

    Raises:
      TrainerError: naming the first layer that draws the same numbers on every replica.
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, _REPLICA_DEPENDENT):
            raise TrainerError(
                f"{model.name}: keras.layers.{type(layer).__name__} '{layer.name}' draws the same "
                "numbers on every replica; use trainer.models.layers.Dropout"
            )


def check_models(
    generator: keras.Model, discriminator: keras.Model, image_shape: tuple[int, int, int]
) -> None:
    """Refuses models that do not fit the dataset, the losses or several replicas.

    Raises:
      TrainerError: naming the model and what it must return, or its layer at fault.
    """
    for model, expected in ((generator, tuple(image_shape)), (discriminator, (1,))):
        check_replica_invariant(model)
        if model.output_shape[1:] != expected:
            raise TrainerError(
                f"{model.name} returns {model.output_shape[1:]} an example, where the dataset "
                f"and the losses need {expected}; change its last layer"
            )
