"""The pair that ChatGPT wrote for the tutorial: no batch normalisation, no dropout."""

from __future__ import annotations

import keras

from trainer.models import layers


def generator(*, latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Latents [B, Z] -> images [B, H, W, C] in [-1, 1]; H and W multiples of 4."""
    height, width = layers.quarter_size(image_shape)
    upsample = {"kernel_size": 3, "strides": 2}
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            layers.Dense(height * width * 64, activation=layers.leaky_relu()),
            keras.layers.Reshape((height, width, 64)),
            layers.Conv2DTranspose(64, activation=layers.leaky_relu(), **upsample),
            layers.Conv2DTranspose(32, activation=layers.leaky_relu(), **upsample),
            layers.Conv2D(image_shape[-1], kernel_size=3, activation="tanh"),
        ],
        name="generator",
    )


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
