"""Residual generators and discriminators for images of 28x28 pixels and more.

The blocks are those of Gulrajani et al. (2017) and Miyato et al. (2018). At the full image size,
where blocks would cost most, there is one transposed or strided convolution instead.
"""

from __future__ import annotations

import keras

from trainer.config.registry import configurable
from trainer.models import layers
from trainer.models.dcgan import Shape


@configurable
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
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      num_classes: Number of classes, for conditional batch normalisation (de Vries et al., 2017);
        None if unconditional.
      width: Channels at half the image size; there are twice as many at a quarter.
      depth: At least 1: one residual block from a quarter to half the image size, and depth - 1
        more blocks at each of these sizes.

    Raises:
      TrainerError: if H or W is not a multiple of 4.
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


@configurable
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
      num_classes: Number of classes, for a projection discriminator (Miyato and Koyama, 2018);
        None if unconditional.
      width: Channels at half the image size; there are twice as many at a quarter.
      depth: At least 1: one residual block from half to a quarter of the image size, and depth - 1
        more blocks at each of these sizes.
      spectral: Whether all kernels are spectrally normalised (Miyato et al., 2018).
      group_size: Number of examples in a group of the minibatch standard deviation before the last
        layer (Karras et al., 2018), at least 2; 0 leaves it out.
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
