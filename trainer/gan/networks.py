"""The generator and the discriminator: settings, construction, calls and the moving average.

Samples come from an exponential moving average (EMA) of the generator's weights, if there is one
(Karras et al., 2018). Its half-life is a number of images, so that it does not depend on the batch
size. Early in training, the half-life is at most a fixed fraction of the images seen so far: the
average forgets the untrained weights (the warm-up of StyleGAN2-ADA's code, Karras et al., 2020).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer import rng
from trainer.config.settings import Settings, function, integer, one_of
from trainer.gan import optimizers
from trainer.kernels import selection
from trainer.models.validation import check_constructor, check_models

PRECISIONS = ("float32", "mixed_bfloat16", "float64")
"""Keras's dtype policies, except those with float16, whose gradients would need scaling."""

_EMA_WARM_UP = 0.05
"""Largest half-life of the moving average, as a fraction of the images seen."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Settings):
    """Both networks, their optimizers, and the precision that they compute in."""

    generator: Callable[..., keras.Model] = function()
    """Constructor, (latent_dim, image_shape) -> model of latents [B, Z] to images [B, H, W, C] in
    [-1, 1]. If `conditional`, the constructor also takes num_classes, and the model labels."""
    discriminator: Callable[..., keras.Model] = function()
    """Constructor, (image_shape) -> model of images [B, H, W, C] to logits [B, 1]. If
    `conditional`, the constructor also takes num_classes, and the model takes labels or returns
    class logits."""
    conditional: bool = False
    """Whether the networks use labels."""
    latent_dim: int = integer(50, at_least=1)
    """Size Z of a latent vector."""
    generator_optimizer: Callable[[], keras.optimizers.Optimizer] = function(optimizers.adam)
    """Constructor of a Keras optimizer."""
    discriminator_optimizer: Callable[[], keras.optimizers.Optimizer] = function(optimizers.adam)
    """Constructor of a Keras optimizer."""
    precision: str = one_of("float32", PRECISIONS)
    """Dtype policy of both networks: "float32", "float64", or "mixed_bfloat16", which computes in
    bfloat16 over float32 weights."""
    kernels: Sequence[str] | None = None
    """Names of faster kernels to use, from `trainer.kernels.selection.KERNELS`; None for the
    default on the devices in use, [] for no kernels."""


class DiscriminatorOutput(NamedTuple):
    """What the discriminator returns for a batch of images."""

    logits: tf.Tensor
    """[B, 1], positive for "real"."""
    class_logits: tf.Tensor | None
    """[B, K] from an auxiliary classifier; None if there is none."""


@dataclass(frozen=True)
class Networks:
    """Both models, the moving average of the generator, and the optimizers."""

    generator: keras.Model
    """Latents [B, Z], and labels int32 [B] if conditional -> images [B, H, W, C]."""
    discriminator: keras.Model
    """Images [B, H, W, C], and labels if it has such an input -> logits [B, 1], and class logits
    [B, K] if it has an auxiliary classifier."""
    generator_ema: keras.Model
    """The moving average of the generator; the generator itself if there is no average."""
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    build_generator: Callable[[], keras.Model]
    """Builds another generator of the same architecture."""
    latent_dim: int
    dtype: str
    """Dtype of the weights, and of all that the methods return."""
    kernels: Sequence[str]
    """Names of the kernels in use, from `trainer.kernels.selection.KERNELS`."""

    @property
    def conditional(self) -> bool:
        """Whether the networks use labels."""
        return len(self.generator.inputs) == 2

    def draw_latents(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys uint32 [B, 3] -> [B, Z], standard normal."""
        return rng.normal(keys, [self.latent_dim], self.dtype)

    def generate(
        self, model: keras.Model, latents: tf.Tensor, labels: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Images [B, H, W, C] of `model`, which is `generator` or one of its architecture.

        Args:
          model: The generator to call.
          latents: [B, Z].
          labels: int32 [B] if conditional, else None.
          training: Whether to call it in training mode.
        """
        inputs = latents if labels is None else [latents, labels]
        with selection.using(self.kernels):
            return tf.cast(model(inputs, training=training), self.dtype)

    def discriminate(
        self, images: tf.Tensor, labels: tf.Tensor | None, training: bool = True
    ) -> DiscriminatorOutput:
        """The discriminator's output.

        Args:
          images: [B, H, W, C] in [-1, 1].
          labels: int32 [B] if conditional, else None.
          training: Whether to call it in training mode; in inference mode no state changes.
        """
        inputs = [images, labels] if len(self.discriminator.inputs) == 2 else images
        # Penalties differentiate the discriminator's gradient once more.
        with selection.using(selection.twice_differentiable(self.kernels)):
            outputs = self.discriminator(inputs, training=training)
        if len(self.discriminator.outputs) == 2:
            logits, class_logits = outputs
            return DiscriminatorOutput(
                tf.cast(logits, self.dtype), tf.cast(class_logits, self.dtype)
            )
        return DiscriminatorOutput(tf.cast(outputs, self.dtype), None)

    def update_ema(self, decay: tf.Tensor) -> None:
        """Moves the average towards the generator; call it on every replica, in strategy.run.

        Batch normalisation's statistics, which are moving averages already, are copied.

        Args:
          decay: Weight of the old average, a scalar in [0, 1].
        """
        average, model = self.generator_ema, self.generator
        for old, new in zip(average.trainable_variables, model.trainable_variables, strict=True):
            weight = tf.cast(decay, old.dtype)
            old.assign(new.value + weight * (old.value - new.value))
        for old, new in zip(
            average.non_trainable_variables, model.non_trainable_variables, strict=True
        ):
            old.assign(new.value)


def ema_decay(half_life: float, batch_size: int, step: tf.Tensor) -> tf.Tensor:
    """The weight of the old average in an update, a float64 scalar.

    Args:
      half_life: Half-life in images, above 0.
      batch_size: Global batch size, the number of images between updates.
      step: int64 scalar, the number of steps done before this one.
    """
    seen = tf.cast(step + 1, tf.float64) * batch_size
    half_life = tf.minimum(tf.constant(half_life, tf.float64), _EMA_WARM_UP * seen)
    return tf.pow(tf.constant(0.5, tf.float64), batch_size / half_life)


def build(
    config: NetworkConfig,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    averaged: bool,
    kernels: Sequence[str],
) -> Networks:
    """Builds both networks; call it within the strategy's scope.

    Args:
      config: The networks' settings.
      image_shape: (H, W, C).
      num_classes: Number of classes; None if unconditional.
      averaged: Whether to keep a moving average of the generator.
      kernels: Names of the kernels to use, as `trainer.kernels.selection.choose` returns them.

    Raises:
      TrainerError: if the models do not fit each other or the images.
    """
    conditional = num_classes is not None
    check_constructor(config.generator, ("latent_dim", "image_shape"), conditional)
    check_constructor(config.discriminator, ("image_shape",), conditional)
    given: dict[str, Any] = {"image_shape": image_shape}
    if conditional:
        given["num_classes"] = num_classes
    build_generator = functools.partial(config.generator, latent_dim=config.latent_dim, **given)
    with _dtype_policy(config.precision) as dtype:
        generator, discriminator = build_generator(), config.discriminator(**given)
        check_models(generator, discriminator, image_shape, conditional=conditional)
        generator_optimizer, discriminator_optimizer = (
            optimizers.for_reduced_gradients(make(), model.trainable_variables)
            for make, model in (
                (config.generator_optimizer, generator),
                (config.discriminator_optimizer, discriminator),
            )
        )
        generator_ema = build_generator() if averaged else generator
    if averaged:
        generator_ema.set_weights(generator.get_weights())
    return Networks(
        generator=generator,
        discriminator=discriminator,
        generator_ema=generator_ema,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        build_generator=functools.partial(_with_policy, config.precision, build_generator),
        latent_dim=config.latent_dim,
        dtype=dtype,
        kernels=kernels,
    )


def _with_policy(precision: str, make: Callable[[], keras.Model]) -> keras.Model:
    with _dtype_policy(precision):
        return make()


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[str]:
    """Models built within it have the dtype policy `name`; yields the dtype of their weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield keras.config.dtype_policy().variable_dtype
    finally:
        keras.config.set_dtype_policy(before)
