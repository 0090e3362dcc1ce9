"""The GAN that ChatGPT wrote for the tutorial, without batch normalisation and dropout."""

from __future__ import annotations

import keras

from trainer.config.registry import configurable
from trainer.models import layers


@configurable
def generator(*, latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Latents [B, Z] -> images [B, H, W, C] in [-1, 1].

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    height, width = layers.quarter_size(image_shape)
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            layers.Dense(height * width * 64, activation=layers.leaky_relu()),
            keras.layers.Reshape((height, width, 64)),
            layers.Conv2DTranspose(64, kernel_size=3, strides=2, activation=layers.leaky_relu()),
            layers.Conv2DTranspose(32, kernel_size=3, strides=2, activation=layers.leaky_relu()),
            layers.Conv2D(image_shape[-1], kernel_size=3, activation="tanh"),
        ],
        name="generator",
    )


@configurable
def discriminator(*, image_shape: tuple[int, int, int]) -> keras.Model:
    """Images [B, H, W, C] in [-1, 1] -> logits [B, 1]."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(32, kernel_size=3, strides=2),
            layers.leaky_relu(),
            layers.Conv2D(64, kernel_size=3, strides=2),
            layers.leaky_relu(),
            keras.layers.Flatten(),
            layers.Dense(1),
        ],
        name="discriminator",
    )
