"""The tutorial's DCGAN for 28x28 images, and the two variations that it leaves to its readers."""

from __future__ import annotations

import keras

from trainer.models import layers

Shape = tuple[int, int, int]
"""(H, W, C)."""


def _seed_layers(image_shape: Shape, synchronized: bool) -> list[keras.layers.Layer]:
    """From a vector to a quarter-size feature map [B, H/4, W/4, 128]."""
    height, width = layers.quarter_size(image_shape)
    return [
        layers.Dense(height * width * 128, activation=layers.leaky_relu()),
        keras.layers.Reshape((height, width, 128)),
        layers.BatchNormalization(synchronized=synchronized),
    ]


def _to_image(image_shape: Shape) -> keras.layers.Layer:
    return layers.Conv2DTranspose(image_shape[-1], kernel_size=4, strides=2, activation="tanh")


def generator_layers(
    image_shape: Shape, *, synchronized: bool = True, dropout: float = 0.0
) -> list[keras.layers.Layer]:
    """The layers of `generator`: a vector [B, any] -> images [B, H, W, C] in [-1, 1]."""

    def noise() -> list[keras.layers.Layer]:
        return [layers.Dropout(dropout, always=True)] if dropout else []

    return [
        *_seed_layers(image_shape, synchronized),
        *noise(),
        layers.Conv2DTranspose(64, kernel_size=4, strides=2, activation=layers.leaky_relu()),
        layers.BatchNormalization(synchronized=synchronized),
        *noise(),
        _to_image(image_shape),
    ]


def generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True, dropout: float = 0.0
) -> keras.Model:
    """The article's generator: latents [B, Z] -> images [B, H, W, C] in [-1, 1].

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: Whether batch normalisation takes its statistics over the global batch
        (the default; replica-invariant) or over each replica's share.
      dropout: Rate of a dropout after each batch normalisation, in training and when sampling
        (ganhacks, hack 17), in [0, 1).
    """
    body = generator_layers(image_shape, synchronized=synchronized, dropout=dropout)
    return keras.Sequential([keras.Input([latent_dim]), *body], name="generator")


def norm_first_generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True
) -> keras.Model:
    """`generator` with batch normalisation between the convolution and its activation.

    Args:
      latent_dim: Z.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: As of `generator`.
    """
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            *_seed_layers(image_shape, synchronized),
            layers.Conv2DTranspose(64, kernel_size=4, strides=2),
            layers.BatchNormalization(synchronized=synchronized),
            layers.leaky_relu(),
            _to_image(image_shape),
        ],
        name="generator",
    )


def upsampling_generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True
) -> keras.Model:
    """`generator` with UpSampling2D and Conv2D in place of each transposed convolution.

    The kernels are 3x3: the article's 4 is a multiple of the stride, and here there is none.

    Args:
      latent_dim: Z.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: As of `generator`.
    """
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            *_seed_layers(image_shape, synchronized),
            keras.layers.UpSampling2D(2),
            layers.Conv2D(64, kernel_size=3, activation=layers.leaky_relu()),
            layers.BatchNormalization(synchronized=synchronized),
            keras.layers.UpSampling2D(2),
            layers.Conv2D(image_shape[-1], kernel_size=3, activation="tanh"),
        ],
        name="generator",
    )


def feature_layers(
    *, dropout: float = 0.4, spectral: bool = False, group_size: int = 0
) -> list[keras.layers.Layer]:
    """The layers of `discriminator` but its last: images [B, H, W, C] -> [B, features]."""
    return [
        layers.Conv2D(64, kernel_size=5, strides=2, spectral=spectral),
        layers.Dropout(dropout, negative_slope=layers.SLOPE),
        layers.Conv2D(64, kernel_size=3, strides=2, spectral=spectral),
        layers.Dropout(dropout, negative_slope=layers.SLOPE),
        *([layers.MinibatchDeviation(group_size)] if group_size else []),
        keras.layers.Flatten(),
    ]


def discriminator(
    *, image_shape: Shape, dropout: float = 0.4, spectral: bool = False, group_size: int = 0
) -> keras.Model:
    """The article's discriminator: images [B, H, W, C] in [-1, 1] -> logits [B, 1].

    Args:
      image_shape: (H, W, C).
      dropout: Rate of both dropout layers, in [0, 1).
      spectral: Whether its kernels are spectrally normalised (Miyato et al., 2018).
      group_size: Examples that the last layer compares with each other (minibatch standard
        deviation: Karras et al., 2018; ganhacks, hack 15); 0 for none.
    """
    features = feature_layers(dropout=dropout, spectral=spectral, group_size=group_size)
    return keras.Sequential(
        [keras.Input(image_shape), *features, layers.Dense(1, spectral=spectral)],
        name="discriminator",
    )
