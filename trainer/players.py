"""The two players of a GAN: their models and optimizers, and how the models are called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer import averaging, random
from trainer.kernels import using
from trainer.models.checks import check_constructor, check_models
from trainer.optimizers import for_reduced_gradients


class Verdict(NamedTuple):
    """What the discriminator says of images."""

    logits: tf.Tensor
    """[B, 1], positive for 'real'."""
    class_logits: tf.Tensor | None
    """[B, K], if it classifies too."""


@dataclass(frozen=True)
class Players:
    """The models, in the forms that `trainer.models.checks` lets pass."""

    generator: keras.Model
    """Latents [B, Z], and labels int32 [B] if it is conditional -> images [B, H, W, C]."""
    discriminator: keras.Model
    """Images, and labels if it takes them -> logits, and class logits if it classifies."""
    sampler: keras.Model
    """What samples come from: the generator itself, or its moving average."""
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    another_generator: Callable[[], keras.Model]
    """Builds one of the generator's architecture."""
    latent_dim: int
    dtype: str
    """Of all that the models return."""
    kernels: Sequence[str] = ()

    @property
    def conditional(self) -> bool:
        """Whether they know labels."""
        return len(self.generator.inputs) == 2

    def draw_latents(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys uint32 [B, 3] -> [B, Z], standard normal."""
        return random.normal(keys, [self.latent_dim], self.dtype)

    def generate(
        self, model: keras.Model, latents: tf.Tensor, labels: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Images [B, H, W, C] of `generator` or another of its architecture."""
        inputs = latents if labels is None else [latents, labels]
        with using(self.kernels):
            return tf.cast(model(inputs, training=training), self.dtype)

    def judge(self, images: tf.Tensor, labels: tf.Tensor | None, training: bool = True) -> Verdict:
        """The discriminator's verdict on images [B, H, W, C], and labels int32 [B] if it knows any.

        In inference mode it drops nothing out, and changes no state.
        """
        inputs = [images, labels] if len(self.discriminator.inputs) == 2 else images
        # A penalty differentiates gradients, which that of a fused normalisation does not allow.
        with using([name for name in self.kernels if name != "fused_normalization"]):
            outputs = self.discriminator(inputs, training=training)
        if len(self.discriminator.outputs) == 2:
            logits, class_logits = outputs
            return Verdict(tf.cast(logits, self.dtype), tf.cast(class_logits, self.dtype))
        return Verdict(tf.cast(outputs, self.dtype), None)


def build(
    generator: Callable[..., keras.Model],
    discriminator: Callable[..., keras.Model],
    optimizers: tuple[Callable[[], keras.optimizers.Optimizer], ...],
    *,
    latent_dim: int,
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    averaged: bool,
    dtype: str,
    kernels: Sequence[str],
) -> Players:
    """Builds both players, within the scope of their strategy and of a dtype policy.

    Args:
      generator: Constructor, (latent_dim, image_shape) -> model, and num_classes if conditional.
      discriminator: Constructor, (image_shape) -> model, and num_classes if conditional.
      optimizers: Constructors of the generator's and the discriminator's.
      latent_dim: Z.
      image_shape: (H, W, C).
      num_classes: If the players are conditional; else None.
      averaged: Whether samples come from a moving average of the generator.
      dtype: Of all that the models return.
      kernels: Of `trainer.kernels`.

    Raises:
      TrainerError: if the models do not fit each other or the images.
    """
    check_constructor(generator, ("latent_dim", "image_shape"), num_classes is not None)
    check_constructor(discriminator, ("image_shape",), num_classes is not None)
    given = {"image_shape": image_shape} | ({"num_classes": num_classes} if num_classes else {})
    another = functools.partial(generator, latent_dim=latent_dim, **given)
    models = another(), discriminator(**given)
    check_models(*models, image_shape, conditional=num_classes is not None)
    generator_optimizer, discriminator_optimizer = (
        for_reduced_gradients(make(), model.trainable_variables)
        for make, model in zip(optimizers, models, strict=True)
    )
    sampler = models[0]
    if averaged:
        sampler = another()
        averaging.start(sampler, models[0])
    return Players(
        generator=models[0],
        discriminator=models[1],
        sampler=sampler,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        another_generator=another,
        latent_dim=latent_dim,
        dtype=dtype,
        kernels=kernels,
    )
