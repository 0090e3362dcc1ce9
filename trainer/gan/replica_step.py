"""The replica step: both phases of a GAN's train step, on one replica, inside strategy.run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer import rng
from trainer.config.settings import Settings, function, functions, integer
from trainer.data.batches import replica_examples
from trainer.errors import TrainerError
from trainer.gan import losses
from trainer.gan.augment import Augmentation
from trainer.gan.losses import GanLoss
from trainer.gan.networks import DiscriminatorOutput, Networks, ema_decay
from trainer.gan.penalties import Penalty, PenaltyInputs
from trainer.gan.replay import Replay

METRICS = (
    "loss/discriminator",
    "accuracy/real",
    "accuracy/fake",
    "loss/generator",
    "gradient_norm/discriminator",
    "gradient_norm/generator",
)
"""Metrics of a step, in the order in which `ReplicaStep` returns them."""

_REPLAY_STREAM = "opponents"  # hashed into the random numbers, so it must not change

Keys = Callable[[str], tf.Tensor]
"""Name of a random stream -> keys uint32 [b, 3] of this replica's examples in the step."""


@dataclass(frozen=True, kw_only=True)
class StepConfig(Settings):
    """Losses, penalties and numbers of updates of one train step."""

    loss: Callable[[], GanLoss] = function(losses.binary_cross_entropy)
    """Makes the losses of both networks."""
    auxiliary_weight: float = 1.0
    """Weight of the classification loss, if the discriminator has an auxiliary classifier."""
    penalties: Sequence[Callable[[], Penalty]] = functions()
    """Each makes a penalty that is added to the discriminator's loss."""
    augmentations: Sequence[Callable[[], Augmentation]] = functions()
    """Constructors of augmentations of all images that the discriminator sees, in this order."""
    replay: Callable[..., Replay] | None = function(None)
    """Constructor, (networks, image_shape), of a `trainer.gan.replay.Replay`, which shows earlier
    fakes to the discriminator."""
    discriminator_steps: int = integer(1, at_least=1)
    """Batches that the discriminator is trained on in each step."""
    batch_size: int = integer(128, at_least=1)
    """Global batch size, which all replicas share evenly."""
    ema_half_life: int = integer(0, at_least=0)
    """Half-life, in images, of the moving average of the generator's weights that samples and
    evaluation use; 0 for no average."""
    seed: int = integer(0, at_least=0, below=2**32)
    """Determines, with the step, every random number of the run; in [0, 2**32)."""


class DiscriminatorStep(NamedTuple):
    """Results of the discriminator's update, on this replica."""

    loss: tf.Tensor
    """This replica's term of the mean over the global batch."""
    real_accuracy: tf.Tensor
    """Fraction of real images with a positive logit; this replica's term of the mean."""
    fake_accuracy: tf.Tensor
    """Fraction of generated images with a negative logit; this replica's term of the mean."""
    gradient_norm: tf.Tensor
    """Norm of the gradient of the global batch."""
    fakes: tf.Tensor
    """[b, H, W, C] of the current generator."""


class GeneratorStep(NamedTuple):
    """Results of the generator's update, on this replica."""

    loss: tf.Tensor
    """This replica's term of the mean over the global batch."""
    gradient_norm: tf.Tensor
    """Norm of the gradient of the global batch."""


@dataclass(frozen=True)
class ReplicaStep:
    """One train step, the tutorial's two phases, on this replica's part of the batch.

    In the first phase, the generator makes fakes in inference mode, and the discriminator is
    trained on a mixed batch of these and of real images. In the second phase, the generator is
    trained on new latents, in training mode, through the discriminator, whose weights stay fixed.
    """

    config: StepConfig
    networks: Networks
    loss: GanLoss
    penalties: Sequence[Penalty]
    augmentations: Sequence[Augmentation]
    replay: Replay | None
    seed: int
    """Seed of all random numbers of a step: config.seed, or another one after a rollback."""
    gather_batch: Callable[..., tuple[tf.Tensor, tf.Tensor | None]]
    """(data, indices int32 [b]) -> images [b, H, W, C] in [-1, 1], and labels int32 [b] or None."""

    def __call__(self, data: object, indices: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Runs both phases.

        Args:
          data: The whole dataset, as `trainer.data.batches.replicate` gives it to each replica.
          indices: int32 [discriminator_steps * global batch], the examples of this step.
          step: int64 scalar, the number of steps done before.

        Returns:
          The METRICS of the global batch, [len(METRICS)]; the discriminator's are those of the last
          of its batches.
        """
        batch_size = self.config.batch_size
        examples = replica_examples(batch_size)

        def keys(stream: str) -> tf.Tensor:
            return rng.example_keys(self.seed, stream, step, examples)

        for turn in range(self.config.discriminator_steps):
            batch = tf.gather(indices, turn * batch_size + examples)
            real, labels = self.gather_batch(data, batch)
            turn_keys = functools.partial(_keys_of_turn, keys, turn)
            discriminator = self._train_discriminator(real, labels, turn_keys, step)
        generator = self._train_generator(real, labels, keys, step)
        if self.replay:
            gather = functools.partial(_first_of_global_batch, examples)
            self.replay.push(discriminator.fakes, self.networks.generator, step, gather)
        if self.config.ema_half_life:
            self.networks.update_ema(ema_decay(self.config.ema_half_life, batch_size, step))
        means = [discriminator.loss, discriminator.real_accuracy, discriminator.fake_accuracy]
        means = sum_over_replicas(tf.stack([*means, generator.loss]))
        norms = [discriminator.gradient_norm, generator.gradient_norm]
        return tf.concat([means, norms], axis=0)

    def _train_discriminator(
        self, real: tf.Tensor, labels: tf.Tensor | None, keys: Keys, step: tf.Tensor
    ) -> DiscriminatorStep:
        """Phase 1: updates the discriminator on a mixed batch of fakes and reals."""
        fakes, mixed = self._fakes(labels, keys)
        both = tf.concat([mixed, real], axis=0)
        both_labels = None if labels is None else tf.tile(labels, [2])
        layer_keys = tf.concat([keys("layers/1/fake"), keys("layers/1/real")], axis=0)
        with tf.GradientTape() as tape, rng.key_scope(layer_keys):
            with tf.GradientTape() as inner:
                inner.watch(both)
                output = self._discriminate(both, both_labels, step)
            fake_logits, real_logits = tf.split(output.logits, 2)
            loss = self._global_mean(self.loss.discriminator(real_logits, fake_logits))

            @functools.cache
            def gradients() -> tuple[tf.Tensor, tf.Tensor]:
                fake_gradients, real_gradients = tf.split(inner.gradient(output.logits, both), 2)
                return real_gradients, fake_gradients

            critic = functools.partial(self._logits, labels=labels, step=step)
            inputs = PenaltyInputs(real, mixed, gradients, critic, step)
            total = loss + sum(self._penalty_terms(inputs, keys))
            total += self._class_loss(output, both_labels, share=0.5)
        norm = self._update(
            self.networks.discriminator, self.networks.discriminator_optimizer, tape, total
        )
        sign = self._global_mean(tf.sign(real_logits)[:, 0])
        for augmentation in self.augmentations:
            augmentation.observe(lambda: sum_over_replicas(sign), self.config.batch_size)
        return DiscriminatorStep(
            loss=loss,
            real_accuracy=self._global_mean(tf.cast(real_logits > 0, loss.dtype)[:, 0]),
            fake_accuracy=self._global_mean(tf.cast(fake_logits < 0, loss.dtype)[:, 0]),
            gradient_norm=norm,
            fakes=fakes,
        )

    def _fakes(self, labels: tf.Tensor | None, keys: Keys) -> tuple[tf.Tensor, tf.Tensor]:
        """Fakes of the current generator, and the same with some replaced by earlier ones."""
        latents = self.networks.draw_latents(keys("latents/1"))

        def generate(model: keras.Model) -> tf.Tensor:
            with rng.key_scope(keys("layers/1/generator")):
                return self.networks.generate(model, latents, labels, training=False)

        fakes = generate(self.networks.generator)
        if not self.replay:
            return fakes, fakes
        with rng.key_scope(keys(_REPLAY_STREAM)):
            return fakes, self.replay.mix(fakes, generate)

    def _penalty_terms(self, inputs: PenaltyInputs, keys: Keys) -> Iterator[tf.Tensor]:
        """This replica's term of each penalty's mean over the global batch."""
        for i, penalty in enumerate(self.penalties):
            with rng.key_scope(keys(f"penalty/{i}")):
                yield self._global_mean(penalty(inputs))

    def _class_loss(
        self, output: DiscriminatorOutput, labels: tf.Tensor | None, share: float = 1.0
    ) -> tf.Tensor | float:
        """This replica's term of the weighted classification loss; 0 without a classifier.

        Args:
          output: The discriminator's output.
          labels: int32, one per example of the output; None if unconditional.
          share: 1 / (examples of the output per example of the batch).
        """
        if output.class_logits is None:
            return 0.0
        loss = losses.auxiliary(output.class_logits, labels)
        return self.config.auxiliary_weight * share * self._global_mean(loss)

    def _train_generator(
        self, real: tf.Tensor, labels: tf.Tensor | None, keys: Keys, step: tf.Tensor
    ) -> GeneratorStep:
        """Phase 2: updates the generator on fakes from new latents."""
        latents = self.networks.draw_latents(keys("latents/2"))
        with tf.GradientTape() as tape, rng.key_scope(keys("layers/2")):
            fakes = self.networks.generate(self.networks.generator, latents, labels, training=True)
            output = self._discriminate(fakes, labels, step)
            real_logits = None
            if self.loss.relativistic:
                with rng.key_scope(keys("layers/2/real")):
                    real_logits = self._logits(real, labels, step)
            loss = self._global_mean(self.loss.generator(real_logits, output.logits))
            total = loss + self._class_loss(output, labels)
        norm = self._update(self.networks.generator, self.networks.generator_optimizer, tape, total)
        return GeneratorStep(loss=loss, gradient_norm=norm)

    def _discriminate(
        self, images: tf.Tensor, labels: tf.Tensor | None, step: tf.Tensor
    ) -> DiscriminatorOutput:
        for augmentation in self.augmentations:
            images = augmentation(images, step)
        return self.networks.discriminate(images, labels)

    def _logits(self, images: tf.Tensor, labels: tf.Tensor | None, step: tf.Tensor) -> tf.Tensor:
        return self._discriminate(images, labels, step).logits

    def _global_mean(self, per_example: tf.Tensor) -> tf.Tensor:
        """This replica's term of the mean over the global batch: [b] -> scalar.

        Raises:
          TrainerError: for any other rank, because the sum would not become the mean.
        """
        if per_example.shape.rank != 1:
            raise TrainerError(
                f"a loss or penalty returns {tuple(per_example.shape)}, but must return one number "
                "per example, [B]; sum over each example's axes, and leave the mean to the trainer"
            )
        return tf.reduce_sum(per_example) / self.config.batch_size

    def _update(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tape: tf.GradientTape,
        loss: tf.Tensor,
    ) -> tf.Tensor:
        """One update by the gradient of the global batch; returns that gradient's norm."""
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        # An embedding's gradient is a list of rows with repeats: densify it before sum and norm.
        gradients = sum_over_replicas([tf.convert_to_tensor(gradient) for gradient in gradients])
        optimizer.apply(gradients, variables)
        return tf.linalg.global_norm(gradients)


def sum_over_replicas(tensors):
    """The sum of each tensor over all replicas; call it within strategy.run."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def _keys_of_turn(keys: Keys, turn: int, stream: str) -> tf.Tensor:
    """The keys of a stream for update number `turn`, from 0, of the discriminator in a step."""
    return keys(f"{stream}/{turn}" if turn else stream)


def _first_of_global_batch(examples: tf.Tensor, part: tf.Tensor, count: int) -> tf.Tensor:
    """The first `count` examples of the global batch.

    Args:
      examples: int32 [b], positions in the global batch of this replica's part.
      part: [b, ...], this replica's part.
      count: At most the global batch size.

    Returns:
      [count, ...], equal on all replicas.
    """
    selected = tf.one_hot(examples, count, axis=0, dtype=part.dtype)
    rows = tf.matmul(selected, tf.reshape(part, [part.shape[0], -1]))
    return tf.reshape(sum_over_replicas(rows), [count, *part.shape[1:]])
