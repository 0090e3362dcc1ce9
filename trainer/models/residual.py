"""Residual generators and discriminators for images of 28, 32 or more pixels a side.

The blocks are those of Gulrajani et al. (2017) and Miyato et al. (2018), without the blocks at
full size, where most of the work would be: a transposed and a strided convolution stand there.
"""

from __future__ import annotations

import keras

from trainer.models import layers
from trainer.models.dcgan import Shape


def generator(
    *,
    latent_dim: int,
    image_shape: Shape,
    num_classes: int | None = None,
    width: int = 64,
    depth: int = 1,
) -> keras.Model:
    """Latents [B, Z], and labels int32 [B] if conditional -> images [B, H, W, C] in [-1, 1].

    Args:
      latent_dim: Z.
      image_shape: (H, W, C); H and W multiples of 4.
      num_classes: If conditional: batch normalisation has a scale and an offset of each class.
      width: Channels at half size; twice as many at a quarter of it.
      depth: At least 1: one residual block between both sizes, and depth - 1 more at each.
    """
    height, columns = layers.quarter_size(image_shape)
    latents = keras.Input([latent_dim], name="latents")
    labels = num_classes and keras.Input([], dtype="int32", name="labels")

    def normalised(x: keras.KerasTensor) -> keras.KerasTensor:
        if num_classes:
            x = layers.ConditionalBatchNormalization(num_classes)(x, labels)
        else:
            x = layers.BatchNormalization(synchronized=True)(x)
        return layers.leaky_relu()(x)

    def block(x: keras.KerasTensor, channels: int, upsample: bool) -> keras.KerasTensor:
        shortcut, x = x, normalised(x)
        if upsample:
            shortcut = keras.layers.UpSampling2D(2)(layers.Conv2D(channels, 1)(shortcut))
            x = layers.Conv2DTranspose(channels, 4, strides=2, use_bias=False)(x)
        else:
            x = layers.Conv2D(channels, 3, use_bias=False)(x)
        x = layers.Conv2D(channels, 3)(normalised(x))
        return keras.layers.Add()([shortcut, x])

    x = layers.Dense(height * columns * 2 * width)(latents)
    x = keras.layers.Reshape((height, columns, 2 * width))(x)
    for i in range(2 * depth - 1):
        x = block(x, width if i >= depth - 1 else 2 * width, upsample=i == depth - 1)
    x = layers.Conv2DTranspose(image_shape[-1], 4, strides=2, activation="tanh")(normalised(x))
    return keras.Model([latents, labels] if num_classes else latents, x, name="generator")


def discriminator(
    *,
    image_shape: Shape,
    num_classes: int | None = None,
    width: int = 64,
    depth: int = 1,
    spectral: bool = False,
    group_size: int = 0,
) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1], and labels int32 [B] if conditional -> logits [B, 1].

    Args:
      image_shape: (H, W, C).
      num_classes: If conditional: the verdict is a projection (Miyato and Koyama, 2018).
      width: Channels at half size; twice as many below.
      depth: At least 1: one residual block between both sizes, and depth - 1 more at each.
      spectral: Whether its kernels are spectrally normalised.
      group_size: Of the minibatch standard deviation before the last layer; 0 for none.
    """
    images = keras.Input(image_shape, name="images")

    def conv(channels: int, size: int, strides: int = 1) -> keras.layers.Layer:
        return layers.Conv2D(channels, size, strides=strides, spectral=spectral)

    def block(x: keras.KerasTensor, channels: int, downsample: bool) -> keras.KerasTensor:
        shortcut = x
        if downsample:
            pooled = keras.layers.AveragePooling2D(2, padding="same")(x)
            shortcut = conv(channels, 1)(pooled)
        x = conv(channels, 3, strides=2 if downsample else 1)(layers.leaky_relu()(x))
        x = conv(channels, 3)(layers.leaky_relu()(x))
        return keras.layers.Add()([shortcut, x])

    x = conv(width, 5, strides=2)(images)
    for i in range(2 * depth - 1):
        x = block(x, width if i < depth - 1 else 2 * width, downsample=i == depth - 1)
    x = layers.leaky_relu()(x)
    if group_size:
        x = layers.MinibatchDeviation(group_size)(x)
    x = keras.layers.Flatten()(x)
    if not num_classes:
        return keras.Model(images, layers.Dense(1, spectral=spectral)(x), name="discriminator")
    labels = keras.Input([], dtype="int32", name="labels")
    logits = layers.project(x, labels, num_classes, spectral=spectral)
    return keras.Model([images, labels], logits, name="discriminator")
