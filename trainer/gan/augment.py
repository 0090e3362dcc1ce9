"""Augmentations of all images that the discriminator sees, real and generated.

An augmentation is called within strategy.run, on images [B, H, W, C], inside a
`trainer.rng.key_scope` of B keys: every example has its own random numbers, whichever replica
holds it. Gradients pass through it to the generator (Zhao et al., "Differentiable Augmentation for
Data-Efficient GAN Training", 2020; Karras et al., "Training Generative Adversarial Networks with
Limited Data", 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from trainer import rng
from trainer.config.registry import configurable
from trainer.errors import TrainerError
from trainer.gan import schedules
from trainer.gan.schedules import Value

TRANSFORMATIONS = ("color", "translation", "cutout")
"""DiffAugment's transformations, in the order in which they are applied."""


class Augmentation:
    """Base class of augmentations; it changes nothing itself."""

    variables: Sequence[tf.Variable] = ()
    """State for the checkpoint, equal on all replicas."""

    def __call__(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Augmented images [B, H, W, C].

        Args:
          images: [B, H, W, C] in [-1, 1].
          step: int64 scalar, the number of steps done.
        """
        return images

    def observe(self, real_sign: Callable[[], tf.Tensor], batch_size: int) -> None:
        """Called after each of the discriminator's updates.

        Args:
          real_sign: Returns the mean sign of the real images' logits over the global batch, a
            scalar; all replicas must call it, or none.
          batch_size: The global batch size.
        """


@configurable
class InstanceNoise(Augmentation):
    """Adds Gaussian noise (Sønderby et al., 2017; Arjovsky and Bottou, 2017; ganhacks, hack 13).

    Args:
      deviation: Standard deviation, at least 0, of noise on images in [-1, 1]; or a schedule.
    """

    def __init__(self, *, deviation: Value = 0.1) -> None:
        self._deviation = deviation

    def __call__(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        keys = rng.next_keys("instance noise")
        noise = rng.normal(keys, images.shape[1:], images.dtype)
        return images + schedules.at(self._deviation, step, images.dtype) * noise


@configurable
class DiffAugment(Augmentation):
    """Applies DiffAugment's transformations to every image (Zhao et al., 2020, section 3.2).

    Args:
      transformations: Some of TRANSFORMATIONS: "color" changes brightness, saturation and contrast;
        "translation" shifts by up to an eighth of a side and fills with zeros; "cutout" sets a
        rectangle of half the height and width to zero.

    Raises:
      TrainerError: for an unknown transformation.
    """

    def __init__(self, *, transformations: Sequence[str] = TRANSFORMATIONS) -> None:
        self._functions = _functions(transformations)

    def __call__(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        for function in self._functions:
            images = function(images)
        return images


@configurable
class AdaptiveAugment(Augmentation):
    """Adaptive discriminator augmentation, ADA (Karras et al., 2020, section 3.1).

    Each transformation is applied to an image with a probability that starts at 0. The probability
    rises while the discriminator overfits, that is while the mean sign of its logits of real images
    exceeds `target`, and falls otherwise. The paper's transformations are others: DiffAugment's
    compile for TPUs, and do not mirror digits.

    Args:
      transformations: Some of TRANSFORMATIONS, as in DiffAugment.
      target: Mean sign at which the probability stays as it is, in (-1, 1).
      adjustment: Number of images in which the probability can rise from 0 to 1, at least 1.

    Raises:
      TrainerError: for an unknown transformation.
    """

    def __init__(
        self,
        *,
        transformations: Sequence[str] = TRANSFORMATIONS,
        target: float = 0.6,
        adjustment: int = 500_000,
    ) -> None:
        self._functions = _functions(transformations)
        self._target = target
        self._adjustment = adjustment
        self.probability = keras.Variable(0.0, trainable=False, dtype="float32")
        self.variables = (self.probability.value,)

    def __call__(self, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        for function in self._functions:
            draw = rng.uniform(rng.next_keys("whether to augment"), [1, 1, 1])
            images = tf.where(draw < self.probability.value, function(images), images)
        return images

    def observe(self, real_sign: Callable[[], tf.Tensor], batch_size: int) -> None:
        direction = tf.sign(tf.cast(real_sign(), tf.float32) - self._target)
        probability = self.probability.value + direction * batch_size / self._adjustment
        self.probability.assign(tf.clip_by_value(probability, 0.0, 1.0))


def _color(images: tf.Tensor) -> tf.Tensor:
    """Adds up to 0.5 either way, then scales saturation by [0, 2) and contrast by [0.5, 1.5)."""
    draws = rng.uniform(rng.next_keys("color"), [3, 1, 1, 1], images.dtype)
    brightness, saturation, contrast = draws[:, 0], draws[:, 1], draws[:, 2]
    images += brightness - 0.5
    if images.shape[-1] > 1:
        grey = tf.reduce_mean(images, axis=-1, keepdims=True)
        images = grey + (images - grey) * saturation * 2
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translation(images: tf.Tensor) -> tf.Tensor:
    """Shifts by up to an eighth of each side, and fills with zeros."""
    _, height, width, _ = images.shape
    draws = rng.uniform(rng.next_keys("translation"), [2])
    for axis, (side, product) in enumerate(((height, "bji,biwc->bjwc"), (width, "bji,bhic->bhjc"))):
        reach = side // 8
        shift = tf.cast(tf.floor(draws[:, axis] * (2 * reach + 1)), tf.int32) - reach
        # A product with shifted unit vectors compiles for TPUs, and so do its gradients.
        source = tf.range(side)[tf.newaxis] - shift[:, tf.newaxis]
        images = tf.einsum(product, tf.one_hot(source, side, dtype=images.dtype), images)
    return images


def _cutout(images: tf.Tensor) -> tf.Tensor:
    """Sets a rectangle of half the height and width to zero; it may extend past the border."""
    draws = rng.uniform(rng.next_keys("cutout"), [2])
    inside = tf.ones([], tf.bool)
    for axis, side in enumerate(images.shape[1:3]):
        size = side // 2
        # The rectangle's centre lies anywhere in the image.
        first = tf.cast(tf.floor(draws[:, axis] * (side + 1 - size % 2)), tf.int32) - size // 2
        places = tf.range(side)[tf.newaxis] - first[:, tf.newaxis]
        shape = [-1, side, 1, 1] if axis == 0 else [-1, 1, side, 1]
        inside = tf.logical_and(inside, tf.reshape((places >= 0) & (places < size), shape))
    return tf.where(inside, tf.zeros([], images.dtype), images)


_FUNCTIONS = {"color": _color, "translation": _translation, "cutout": _cutout}


def _functions(names: Sequence[str]) -> list[Callable[[tf.Tensor], tf.Tensor]]:
    """The functions of these transformations, in the order of TRANSFORMATIONS."""
    for name in names:
        if name not in TRANSFORMATIONS:
            known = ", ".join(TRANSFORMATIONS)
            raise TrainerError(f"transformation '{name}' is not known; choose from {known}")
    return [_FUNCTIONS[name] for name in TRANSFORMATIONS if name in names]
