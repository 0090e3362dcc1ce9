"""The tutorial's DCGAN for 28x28 images, and the two variations that it leaves to its readers."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from trainer.models import layers


def _seed_layers(
    latent_dim: int, image_shape: tuple[int, int, int], synchronized: bool
) -> list[keras.layers.Layer]:
    """From a latent [B, Z] to a quarter-size feature map [B, H/4, W/4, 128]."""
    height, width = layers.quarter_size(image_shape)
    return [
        keras.Input([latent_dim]),
        keras.layers.Dense(height * width * 128, activation=layers.leaky_relu()),
        keras.layers.Reshape((height, width, 128)),
        keras.layers.BatchNormalization(synchronized=synchronized),
    ]


def _to_image(image_shape: Sequence[int]) -> keras.layers.Layer:
    return layers.Conv2DTranspose(image_shape[-1], kernel_size=4, strides=2, activation="tanh")


def generator(
    *, latent_dim: int, image_shape: tuple[int, int, int], synchronized: bool = True
) -> keras.Model:
    """The article's generator: latents [B, Z] -> images [B, H, W, C] in [-1, 1].

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: Whether batch normalisation takes its statistics over the global batch
        (the default; replica-invariant) or over each replica's share.
    """
    return keras.Sequential(
        [
            *_seed_layers(latent_dim, image_shape, synchronized),
            keras.layers.Conv2DTranspose(
                64, kernel_size=4, strides=2, padding="same", activation=layers.leaky_relu()
            ),
            keras.layers.BatchNormalization(synchronized=synchronized),
            _to_image(image_shape),
        ],
        name="generator",
    )


def norm_first_generator(
    *, latent_dim: int, image_shape: tuple[int, int, int], synchronized: bool = True
) -> keras.Model:
    """`generator` with batch normalisation between the convolution and its activation."""
    return keras.Sequential(
        [
            *_seed_layers(latent_dim, image_shape, synchronized),
            keras.layers.Conv2DTranspose(64, kernel_size=4, strides=2, padding="same"),
            keras.layers.BatchNormalization(synchronized=synchronized),
            layers.leaky_relu(),
            _to_image(image_shape),
        ],
        name="generator",
    )


def upsampling_generator(
    *, latent_dim: int, image_shape: tuple[int, int, int], synchronized: bool = True
) -> keras.Model:
    """`generator` with UpSampling2D and Conv2D in place of each transposed convolution.

    The kernels are 3x3: the article's 4 is a multiple of the stride, and here there is none.
    """
    return keras.Sequential(
        [
            *_seed_layers(latent_dim, image_shape, synchronized),
            keras.layers.UpSampling2D(2),
            keras.layers.Conv2D(64, kernel_size=3, padding="same", activation=layers.leaky_relu()),
            keras.layers.BatchNormalization(synchronized=synchronized),
            keras.layers.UpSampling2D(2),
            keras.layers.Conv2D(image_shape[-1], 3, padding="same", activation="tanh"),
        ],
        name="generator",
    )


def discriminator(*, image_shape: tuple[int, int, int], dropout: float = 0.4) -> keras.Model:
    """The article's discriminator: images [B, H, W, C] in [-1, 1] -> logits [B, 1].

    Args:
      image_shape: (H, W, C).
      dropout: Rate of both dropout layers, in [0, 1).
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(64, kernel_size=5, strides=2),
            layers.Dropout(dropout, negative_slope=layers.SLOPE),
            layers.Conv2D(64, kernel_size=3, strides=2),
            layers.Dropout(dropout, negative_slope=layers.SLOPE),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ],
        name="discriminator",
    )
