"""A copy of a generator in Keras's own layers, which loads without this package."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import layers

_KERAS_LAYERS = {
    layers.BatchNormalization: keras.layers.BatchNormalization,
    layers.Conv2D: keras.layers.Conv2D,
    layers.Conv2DTranspose: keras.layers.Conv2DTranspose,
    layers.Dense: keras.layers.Dense,
}
_PARTS = (
    "norm",
    "scale",
    "offset",
)  # the layers in a conditional batch normalisation, by attribute


def portable_copy(model: keras.Model) -> keras.Model:
    """Copies the function that `model` computes in inference mode, in float32.

    Layers of other packages stay as they are, and loading the copy needs their code.

    Args:
      model: A Sequential or functional model.
    """
    pairs = []

    def copy_layer(layer: keras.Layer) -> keras.Layer:
        copy = _copy(layer)
        pairs.append((layer, copy))
        return copy

    def call(copy: keras.Layer, *inputs, **settings) -> keras.KerasTensor:
        return copy(list(inputs)) if isinstance(copy, keras.Model) else copy(*inputs, **settings)

    functional = {} if isinstance(model, keras.Sequential) else {"call_function": call}
    copied = keras.models.clone_model(model, clone_function=copy_layer, **functional)
    for layer, copy in pairs:
        if isinstance(layer, layers.ConditionalBatchNormalization):
            for part in _PARTS:
                copy.get_layer(part).set_weights(getattr(layer, part).get_weights())
        else:
            copy.set_weights(_weights(layer))
    return copied


def _copy(layer: keras.Layer) -> keras.Layer:
    """A layer of Keras's own that computes what `layer` does, without its weights."""
    if isinstance(layer, layers.ConditionalBatchNormalization):
        return _conditional_normalization(layer)
    settings = _in_float32(layer.get_config())
    settings.pop("spectral", None)
    if "synchronized" in settings:
        settings["synchronized"] = False
    return _KERAS_LAYERS.get(type(layer), type(layer)).from_config(settings)


def _in_float32(settings: dict) -> dict:
    """The settings of a layer, and of layers within it such as an activation, in float32."""
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
    if getattr(layer, "spectral", False):
        weights = [keras.ops.convert_to_numpy(layer.normalised_kernel())]
        return weights + [layer.bias.numpy()] * layer.use_bias
    return layer.get_weights()
