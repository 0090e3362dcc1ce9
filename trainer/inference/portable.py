"""A generator of Keras's own layers alone, that loads where this package is not installed."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import layers

_PLAIN = {
    layers.BatchNormalization: keras.layers.BatchNormalization,
    layers.Conv2D: keras.layers.Conv2D,
    layers.Conv2DTranspose: keras.layers.Conv2DTranspose,
    layers.Dense: keras.layers.Dense,
}
_PARTS = ("norm", "scale", "offset")  # of conditional batch normalisation, by attribute


def plain(model: keras.Model) -> keras.Model:
    """The function that `model` is in inference mode, in float32.

    Layers of other packages stay what they are; their code is needed to load the copy.

    Args:
      model: Sequential or functional.
    """
    pairs = []

    def copy(layer: keras.Layer) -> keras.Layer:
        twin = _twin(layer)
        pairs.append((layer, twin))
        return twin

    def call(twin: keras.Layer, *inputs, **settings) -> keras.KerasTensor:
        return twin(list(inputs)) if isinstance(twin, keras.Model) else twin(*inputs, **settings)

    functional = {} if isinstance(model, keras.Sequential) else {"call_function": call}
    made = keras.models.clone_model(model, clone_function=copy, **functional)
    for layer, twin in pairs:
        if isinstance(layer, layers.ConditionalBatchNormalization):
            for part in _PARTS:
                twin.get_layer(part).set_weights(getattr(layer, part).get_weights())
        else:
            twin.set_weights(_weights(layer))
    return made


def _twin(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, layers.ConditionalBatchNormalization):
        return _conditional_normalization(layer)
    settings = _in_float32(layer.get_config())
    settings.pop("spectral", None)
    if "synchronized" in settings:
        settings["synchronized"] = False
    return _PLAIN.get(type(layer), type(layer)).from_config(settings)


def _in_float32(settings: dict) -> dict:
    """A layer's settings, and those of a layer within them, such as an activation."""
    inner = {k: _in_float32(v) if isinstance(v, dict) else v for k, v in settings.items()}
    return inner | ({"dtype": "float32"} if "dtype" in settings else {})


def _conditional_normalization(layer: layers.ConditionalBatchNormalization) -> keras.Model:
    inputs = keras.Input(layer.input[0].shape[1:])
    labels = keras.Input([], dtype="int32")
    channels = inputs.shape[-1]
    shape = (*[1] * (len(inputs.shape) - 2), channels)
    normalised = keras.layers.BatchNormalization(center=False, scale=False, name="norm")(inputs)
    scale, offset = (
        keras.layers.Reshape(shape)(
            keras.layers.Embedding(layer.num_classes, channels, name=name)(labels)
        )
        for name in ("scale", "offset")
    )
    outputs = keras.layers.Add()([keras.layers.Multiply()([normalised, scale]), offset])
    return keras.Model([inputs, labels], outputs, name=layer.name)


def _weights(layer: keras.Layer) -> list[np.ndarray]:
    if getattr(layer, "spectral", False):  # `kernel` is the normalised one
        weights = [keras.ops.convert_to_numpy(layer.kernel)]
        return weights + [layer.bias.numpy()] * layer.use_bias
    return layer.get_weights()
