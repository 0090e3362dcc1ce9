"""The replica step: both phases of a GAN's training, on one replica, inside strategy.run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from trainer import averaging, losses, random
from trainer.augment import Augmentation
from trainer.errors import TrainerError
from trainer.losses import GanLoss
from trainer.opponents import Opponents
from trainer.penalties import Judged, Penalty
from trainer.players import Players, Verdict

METRICS = (
    "loss/discriminator",
    "accuracy/real",
    "accuracy/fake",
    "loss/generator",
    "gradient_norm/discriminator",
    "gradient_norm/generator",
)

Keys = Callable[[str], tf.Tensor]
"""The keys uint32 [b, 3] of this replica's examples in a stream of this step."""


@dataclass(frozen=True)
class Rules:
    """What the players are after."""

    loss: GanLoss
    penalties: Sequence[Penalty] = ()
    """Added to the discriminator's loss."""
    augmentations: Sequence[Augmentation] = ()
    """Of all that the discriminator sees, in this order."""
    auxiliary_weight: float = 1.0
    """Of the class loss, where the discriminator classifies too."""
    discriminator_steps: int = 1
    """Batches that the discriminator learns from before the generator's turn."""
    ema_half_life: int = 0
    """In images; 0 for no average of the generator's weights."""


@dataclass(frozen=True)
class ReplicaStep:
    """One step of training, the tutorial's two phases, for this replica's share of each batch.

    In the first, the generator makes fakes in inference mode and the discriminator learns from one
    mixed batch of them and real images. In the second, the generator learns from fresh latents, in
    training mode, through the frozen discriminator.
    """

    players: Players
    rules: Rules
    opponents: Opponents | None
    batch_size: int
    """The global batch, that means are over."""
    seed: int
    take: Callable[..., tuple[tf.Tensor, tf.Tensor | None]]
    """(data, order int32 [b]) -> real images [b, H, W, C] in [-1, 1], and labels int32 [b]."""

    def __call__(self, data: object, order: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Both phases of one step.

        Args:
          data: The whole dataset, as `trainer.data.pipeline.replicate` gives it to each replica.
          order: int32 [discriminator_steps * global batch], the examples of this step.
          step: int64 scalar, steps done before this one.

        Returns:
          [len(METRICS)], already reduced over the replicas; the discriminator's of its last batch.
        """
        context = tf.distribute.get_replica_context()
        count = self.batch_size // context.num_replicas_in_sync
        first = tf.cast(context.replica_id_in_sync_group, tf.int32) * count
        examples = first + tf.range(count)

        def keys(stream: str) -> tf.Tensor:
            return random.example_keys(self.seed, stream, step, examples)

        for turn in range(self.rules.discriminator_steps):
            real, labels = self.take(data, tf.gather(order, turn * self.batch_size + examples))
            turn_keys = (lambda stream, turn=turn: keys(f"{stream}/{turn}")) if turn else keys
            means_1, norm_1, fake = self._train_discriminator(real, labels, turn_keys, step)
        means_2, norm_2 = self._train_generator(real, labels, keys, step)
        if self.opponents:
            gather = functools.partial(_first_of_all, examples)
            self.opponents.remember(fake, self.players.generator, step, gather)
        if self.rules.ema_half_life:
            weight = averaging.decay(self.rules.ema_half_life, self.batch_size, step)
            averaging.update(self.players.sampler, self.players.generator, weight)
        means = sum_over_replicas(tf.stack([*means_1, *means_2]))
        return tf.concat([means, [norm_1, norm_2]], axis=0)

    def _train_discriminator(
        self, real: tf.Tensor, labels: tf.Tensor | None, keys: Keys, step: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Phase 1: one mixed batch of fakes (label 0) and reals (label 1).

        Returns:
          This replica's terms of loss/discriminator, accuracy/real and accuracy/fake; the
          gradient's norm; and the fakes of today's generator.
        """
        todays, shown = self._fakes(labels, keys)
        both = tf.concat([shown, real], axis=0)
        both_labels = None if labels is None else tf.tile(labels, [2])
        layer_keys = tf.concat([keys("layers/1/fake"), keys("layers/1/real")], axis=0)
        with tf.GradientTape() as tape, random.key_scope(layer_keys):
            with tf.GradientTape() as inner:
                inner.watch(both)
                verdict = self._judge(both, both_labels, step)
            fake_logits, real_logits = tf.split(verdict.logits, 2)
            loss = self._global_mean(self.rules.loss.discriminator(real_logits, fake_logits))

            @functools.cache
            def gradients() -> tuple[tf.Tensor, tf.Tensor]:
                fake_gradients, real_gradients = tf.split(inner.gradient(verdict.logits, both), 2)
                return real_gradients, fake_gradients

            critic = functools.partial(self._logits, labels=labels, step=step)
            judged = Judged(real, shown, gradients, critic, step)
            total = loss + sum(self._penalty_terms(judged, keys))
            total += self._class_loss(verdict, both_labels, share=0.5)
        norm = self._update(
            self.players.discriminator, self.players.discriminator_optimizer, tape, total
        )
        sign = self._global_mean(tf.sign(real_logits)[:, 0])
        for augmentation in self.rules.augmentations:
            augmentation.observe(lambda: sum_over_replicas(sign), self.batch_size)
        real_accuracy = self._global_mean(tf.cast(real_logits > 0, loss.dtype)[:, 0])
        fake_accuracy = self._global_mean(tf.cast(fake_logits < 0, loss.dtype)[:, 0])
        return [loss, real_accuracy, fake_accuracy], norm, todays

    def _fakes(self, labels: tf.Tensor | None, keys: Keys) -> tuple[tf.Tensor, tf.Tensor]:
        """Fakes of today's generator, and those to show to the discriminator in their place."""
        latents = self.players.draw_latents(keys("latents/1"))

        def generate(model: keras.Model) -> tf.Tensor:
            with random.key_scope(keys("layers/1/generator")):
                return self.players.generate(model, latents, labels, training=False)

        fake = generate(self.players.generator)
        if not self.opponents:
            return fake, fake
        with random.key_scope(keys("opponents")):
            return fake, self.opponents.show(fake, generate)

    def _penalty_terms(self, judged: Judged, keys: Keys) -> Iterator[tf.Tensor]:
        """This replica's term of each penalty's mean."""
        for i, penalty in enumerate(self.rules.penalties):
            with random.key_scope(keys(f"penalty/{i}")):
                yield self._global_mean(penalty(judged))

    def _class_loss(
        self, verdict: Verdict, labels: tf.Tensor | None, share: float = 1.0
    ) -> tf.Tensor | float:
        """This replica's term of the auxiliary classifier's mean loss, if there is one."""
        if verdict.class_logits is None:
            return 0.0
        loss = losses.auxiliary(verdict.class_logits, labels)
        return self.rules.auxiliary_weight * share * self._global_mean(loss)

    def _train_generator(
        self, real: tf.Tensor, labels: tf.Tensor | None, keys: Keys, step: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Phase 2: fresh latents, labelled real; only the generator's variables are updated.

        Returns:
          This replica's term of loss/generator, and the gradient's norm.
        """
        latents = self.players.draw_latents(keys("latents/2"))
        with tf.GradientTape() as tape, random.key_scope(keys("layers/2")):
            fake = self.players.generate(self.players.generator, latents, labels, training=True)
            verdict = self._judge(fake, labels, step)
            real_logits = None
            if self.rules.loss.relativistic:
                with random.key_scope(keys("layers/2/real")):
                    real_logits = self._logits(real, labels, step)
            loss = self._global_mean(self.rules.loss.generator(real_logits, verdict.logits))
            total = loss + self._class_loss(verdict, labels)
        norm = self._update(self.players.generator, self.players.generator_optimizer, tape, total)
        return [loss], norm

    def _judge(self, images: tf.Tensor, labels: tf.Tensor | None, step: tf.Tensor) -> Verdict:
        for augmentation in self.rules.augmentations:
            images = augmentation(images, step)
        return self.players.judge(images, labels)

    def _logits(self, images: tf.Tensor, labels: tf.Tensor | None, step: tf.Tensor) -> tf.Tensor:
        return self._judge(images, labels, step).logits

    def _global_mean(self, per_example: tf.Tensor) -> tf.Tensor:
        """This replica's term of the mean over the global batch; [b] -> scalar.

        Raises:
          TrainerError: for another shape, whose sum would be another number than the mean's.
        """
        if per_example.shape.rank != 1:
            raise TrainerError(
                f"a loss or penalty returns {tuple(per_example.shape)} where one number an example "
                "is needed, [B]; sum over an example's own axes, and leave the mean to the trainer"
            )
        return tf.reduce_sum(per_example) / self.batch_size

    def _update(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tape: tf.GradientTape,
        loss: tf.Tensor,
    ) -> tf.Tensor:
        """One optimizer step on the gradient of the whole batch; returns that gradient's norm."""
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        # An embedding's gradient comes as rows, some of them twice: neither a sum nor a norm.
        gradients = sum_over_replicas([tf.convert_to_tensor(gradient) for gradient in gradients])
        optimizer.apply(gradients, variables)
        return tf.linalg.global_norm(gradients)


def sum_over_replicas(tensors):
    """Within strategy.run: the sum over all replicas of each tensor."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def _first_of_all(examples: tf.Tensor, part: tf.Tensor, count: int) -> tf.Tensor:
    """The first `count` rows of the global batch, of which this replica has rows `examples`."""
    mine = tf.one_hot(examples, count, axis=0, dtype=part.dtype)
    rows = tf.matmul(mine, tf.reshape(part, [part.shape[0], -1]))
    return tf.reshape(sum_over_replicas(rows), [count, *part.shape[1:]])
