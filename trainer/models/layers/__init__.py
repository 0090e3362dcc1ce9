"""Layers whose results in training do not depend on the number of replicas.

Some have faster implementations, which `trainer.kernels.selection` lists.
"""

from __future__ import annotations

import keras

from trainer.errors import TrainerError
from trainer.models.layers.deviation import MinibatchDeviation
from trainer.models.layers.dropout import Dropout
from trainer.models.layers.linear import Conv2D, Conv2DTranspose, Dense
from trainer.models.layers.normalization import BatchNormalization, ConditionalBatchNormalization

__all__ = [
    "SLOPE",
    "BatchNormalization",
    "ConditionalBatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "MinibatchDeviation",
    "leaky_relu",
    "project",
    "quarter_size",
]

SLOPE = 0.2
"""Slope of LeakyReLU in the tutorial and in DCGAN (Radford et al., 2015, section 3)."""


def leaky_relu() -> keras.layers.Layer:
    """LeakyReLU with the slope SLOPE."""
    return keras.layers.LeakyReLU(negative_slope=SLOPE)


def quarter_size(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """(H/4, W/4), the size at which a generator starts that doubles the size twice.

    Raises:
      TrainerError: if a side of the image is not a multiple of 4.
    """
    height, width, _ = image_shape
    if height % 4 or width % 4:
        raise TrainerError(
            f"images of {height}x{width} do not fit this generator, which doubles the size twice: "
            "both sides must be multiples of 4; resize the dataset or choose another generator"
        )
    return height // 4, width // 4


def project(
    features: keras.KerasTensor,
    labels: keras.KerasTensor,
    num_classes: int,
    spectral: bool = False,
) -> keras.KerasTensor:
    """Features [B, D] and labels int32 [B] -> logits [B, 1] of a projection discriminator.

    A dense layer of the features plus their product with a learnt vector of the label's class
    (Miyato and Koyama, 2018, equation 3).
    """
    embedded = keras.layers.Embedding(num_classes, features.shape[-1], "glorot_uniform")(labels)
    product = keras.layers.Dot(axes=1)([features, embedded])
    return keras.layers.Add()([Dense(1, spectral=spectral)(features), product])
