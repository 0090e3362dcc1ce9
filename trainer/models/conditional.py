"""The tutorial's GAN with labels: by embeddings, a projection or an auxiliary classifier."""

from __future__ import annotations

import keras

from trainer.config.registry import configurable
from trainer.models import dcgan, layers
from trainer.models.dcgan import Shape

EMBEDDING_SIZE = 10
"""Size of a label's embedding: small, as ganhacks advises (hack 16)."""


def _apply(body: list[keras.layers.Layer], x: keras.KerasTensor) -> keras.KerasTensor:
    for layer in body:
        x = layer(x)
    return x


def _labels() -> keras.KerasTensor:
    return keras.Input([], dtype="int32", name="labels")


@configurable
def generator(*, latent_dim: int, image_shape: Shape, num_classes: int) -> keras.Model:
    """Latents [B, Z] and labels int32 [B] -> images [B, H, W, C] in [-1, 1].

    The tutorial's generator, with conditional batch normalisation: a scale and an offset for each
    class (de Vries et al., 2017).

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      num_classes: Number of classes; labels are in [0, num_classes).

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    height, width = layers.quarter_size(image_shape)
    latents, labels = keras.Input([latent_dim], name="latents"), _labels()
    x = layers.Dense(height * width * 128, activation=layers.leaky_relu())(latents)
    x = keras.layers.Reshape((height, width, 128))(x)
    x = layers.ConditionalBatchNormalization(num_classes)(x, labels)
    x = layers.Conv2DTranspose(64, kernel_size=4, strides=2, activation=layers.leaky_relu())(x)
    x = layers.ConditionalBatchNormalization(num_classes)(x, labels)
    x = layers.Conv2DTranspose(image_shape[-1], kernel_size=4, strides=2, activation="tanh")(x)
    return keras.Model([latents, labels], x, name="generator")


@configurable
def embedding_generator(*, latent_dim: int, image_shape: Shape, num_classes: int) -> keras.Model:
    """Latents [B, Z] and labels int32 [B] -> images [B, H, W, C] in [-1, 1].

    The tutorial's generator, applied to the concatenation of a latent and its label's embedding.

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      num_classes: Number of classes; labels are in [0, num_classes).

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    latents, labels = keras.Input([latent_dim], name="latents"), _labels()
    embedded = keras.layers.Embedding(num_classes, EMBEDDING_SIZE)(labels)
    x = keras.layers.Concatenate()([latents, embedded])
    x = _apply(dcgan.generator_layers(image_shape), x)
    return keras.Model([latents, labels], x, name="generator")


@configurable
def embedding_discriminator(
    *, image_shape: Shape, num_classes: int, dropout: float = 0.4
) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1] and labels int32 [B] -> logits [B, 1].

    The tutorial's discriminator. One more channel of its input is a linear map of the label's
    embedding (ganhacks, hack 16).

    Args:
      image_shape: (H, W, C).
      num_classes: Number of classes; labels are in [0, num_classes).
      dropout: Rate of both dropout layers, in [0, 1).
    """
    height, width, _ = image_shape
    images, labels = keras.Input(image_shape, name="images"), _labels()
    x = keras.layers.Embedding(num_classes, EMBEDDING_SIZE)(labels)
    x = keras.layers.Reshape((height, width, 1))(layers.Dense(height * width)(x))
    x = keras.layers.Concatenate()([images, x])
    x = _apply([*dcgan.feature_layers(dropout=dropout), layers.Dense(1)], x)
    return keras.Model([images, labels], x, name="discriminator")


@configurable
def projection_discriminator(
    *, image_shape: Shape, num_classes: int, dropout: float = 0.4
) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1] and labels int32 [B] -> logits [B, 1].

    The tutorial's discriminator; its logits are those of a projection discriminator (Miyato and
    Koyama, 2018, equation 3).

    Args:
      image_shape: (H, W, C).
      num_classes: Number of classes; labels are in [0, num_classes).
      dropout: Rate of both dropout layers, in [0, 1).
    """
    images, labels = keras.Input(image_shape, name="images"), _labels()
    x = _apply(dcgan.feature_layers(dropout=dropout), images)
    logits = layers.project(x, labels, num_classes)
    return keras.Model([images, labels], logits, name="discriminator")


@configurable
def auxiliary_discriminator(
    *, image_shape: Shape, num_classes: int, dropout: float = 0.4
) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1] -> logits [B, 1] and class logits [B, num_classes].

    The tutorial's discriminator with an auxiliary classifier (Odena et al., 2017).

    Args:
      image_shape: (H, W, C).
      num_classes: Number of classes; labels are in [0, num_classes).
      dropout: Rate of both dropout layers, in [0, 1).
    """
    images = keras.Input(image_shape, name="images")
    x = _apply(dcgan.feature_layers(dropout=dropout), images)
    outputs = [layers.Dense(1)(x), layers.Dense(num_classes)(x)]
    return keras.Model(images, outputs, name="discriminator")
