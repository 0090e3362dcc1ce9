"""The tutorial's DCGAN, and the two variations of its generator that the tutorial suggests."""

from __future__ import annotations

import keras

from trainer.config.registry import configurable
from trainer.models import layers

Shape = tuple[int, int, int]
"""(H, W, C)."""


def _first_layers(image_shape: Shape, synchronized: bool) -> list[keras.layers.Layer]:
    """Layers from a vector to a feature map of a quarter of the size, [B, H/4, W/4, 128]."""
    height, width = layers.quarter_size(image_shape)
    return [
        layers.Dense(height * width * 128, activation=layers.leaky_relu()),
        keras.layers.Reshape((height, width, 128)),
        layers.BatchNormalization(synchronized=synchronized),
    ]


def _to_image(image_shape: Shape) -> keras.layers.Layer:
    """The last layer: a feature map [B, H/2, W/2, D] -> images [B, H, W, C] in [-1, 1]."""
    return layers.Conv2DTranspose(image_shape[-1], kernel_size=4, strides=2, activation="tanh")


def generator_layers(
    image_shape: Shape, *, synchronized: bool = True, dropout: float = 0.0
) -> list[keras.layers.Layer]:
    """The layers of `generator`: vectors of any size -> images [B, H, W, C] in [-1, 1]."""

    def noise() -> list[keras.layers.Layer]:
        return [layers.Dropout(dropout, always=True)] if dropout else []

    return [
        *_first_layers(image_shape, synchronized),
        *noise(),
        layers.Conv2DTranspose(64, kernel_size=4, strides=2, activation=layers.leaky_relu()),
        layers.BatchNormalization(synchronized=synchronized),
        *noise(),
        _to_image(image_shape),
    ]


@configurable
def generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True, dropout: float = 0.0
) -> keras.Model:
    """The tutorial's generator: latents [B, Z] -> images [B, H, W, C] in [-1, 1].

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: Whether batch normalisation takes its statistics over the global batch, so that
        the number of replicas makes no difference; otherwise over each replica's part.
      dropout: Rate, in [0, 1), of dropout after each batch normalisation, both in training and
        when sampling (ganhacks, hack 17).

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    body = generator_layers(image_shape, synchronized=synchronized, dropout=dropout)
    return keras.Sequential([keras.Input([latent_dim]), *body], name="generator")


@configurable
def norm_first_generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True
) -> keras.Model:
    """The tutorial's generator, with batch normalisation before the activation of a convolution.

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: Whether batch normalisation takes its statistics over the global batch.

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            *_first_layers(image_shape, synchronized),
            layers.Conv2DTranspose(64, kernel_size=4, strides=2),
            layers.BatchNormalization(synchronized=synchronized),
            layers.leaky_relu(),
            _to_image(image_shape),
        ],
        name="generator",
    )


@configurable
def upsampling_generator(
    *, latent_dim: int, image_shape: Shape, synchronized: bool = True
) -> keras.Model:
    """The tutorial's generator, with UpSampling2D and Conv2D for each transposed convolution.

    The kernels are 3x3. The tutorial's are 4x4, a multiple of the stride; here there is no stride.

    Args:
      latent_dim: Z, the size of a latent vector.
      image_shape: (H, W, C); H and W multiples of 4.
      synchronized: Whether batch normalisation takes its statistics over the global batch.

    Raises:
      TrainerError: if H or W is not a multiple of 4.
    """
    return keras.Sequential(
        [
            keras.Input([latent_dim]),
            *_first_layers(image_shape, synchronized),
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
    """The layers of `discriminator` except the last: images [B, H, W, C] -> features [B, D]."""
    return [
        layers.Conv2D(64, kernel_size=5, strides=2, spectral=spectral),
        layers.Dropout(dropout, negative_slope=layers.SLOPE),
        layers.Conv2D(64, kernel_size=3, strides=2, spectral=spectral),
        layers.Dropout(dropout, negative_slope=layers.SLOPE),
        *([layers.MinibatchDeviation(group_size)] if group_size else []),
        keras.layers.Flatten(),
    ]


@configurable
def discriminator(
    *, image_shape: Shape, dropout: float = 0.4, spectral: bool = False, group_size: int = 0
) -> keras.Model:
    """The tutorial's discriminator: images [B, H, W, C] in [-1, 1] -> logits [B, 1].

    Args:
      image_shape: (H, W, C).
      dropout: Rate of both dropout layers, in [0, 1).
      spectral: Whether all kernels are spectrally normalised (Miyato et al., 2018).
      group_size: Number of examples in a group of the minibatch standard deviation before the last
        layer (Karras et al., 2018; ganhacks, hack 15), at least 2; 0 leaves it out.
    """
    features = feature_layers(dropout=dropout, spectral=spectral, group_size=group_size)
    return keras.Sequential(
        [keras.Input(image_shape), *features, layers.Dense(1, spectral=spectral)],
        name="discriminator",
    )
