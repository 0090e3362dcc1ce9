"""GanTrainer: the variables of a GAN and the replica step that trains them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer import averaging, random
from trainer.data.pipeline import BatchOrder, normalise, replicate, share, take
from trainer.errors import TrainerError
from trainer.kernels import choose, compiled, using
from trainer.losses import GanLoss
from trainer.models.checks import check_models
from trainer.optimizers import for_reduced_gradients, state
from trainer.penalties import Penalty
from trainer.precision import policy

METRICS = (
    "loss/discriminator",
    "accuracy/real",
    "accuracy/fake",
    "loss/generator",
    "gradient_norm/discriminator",
    "gradient_norm/generator",
)


class GanTrainer:
    """Trains a generator against a discriminator, the same on any number of replicas.

    Each step has the tutorial's two phases. In the first, the generator makes fakes in inference
    mode and the discriminator learns from one mixed batch of them and real images. In the second,
    the generator learns from fresh latents, in training mode, through the frozen discriminator.

    Args:
      strategy: The tf.distribute strategy; no variable may exist yet.
      images: uint8 [N, H, W, C], the training images.
      generator: Constructor, (latent_dim, image_shape) -> model of latents [B, Z] to images.
      discriminator: Constructor, (image_shape) -> model of images to logits [B, 1].
      loss: Both players' per-example losses.
      penalties: Added to the discriminator's loss, if any.
      generator_optimizer: Constructor of a Keras optimizer.
      discriminator_optimizer: Constructor of a Keras optimizer.
      latent_dim: Z.
      batch_size: Global batch size; every replica takes an equal share.
      seed: 0 <= seed < 2**32; with the step, it fixes every random number.
      ema_half_life: In images, of the weights' average that samples come from; 0 for none.
      precision: One of `trainer.precision.POLICIES`, for both models.
      kernels: Some of `trainer.kernels.KERNELS`; None for what suits the devices.

    Raises:
      TrainerError: if a setting breaks one of these rules.
    """

    def __init__(
        self,
        *,
        strategy: tf.distribute.Strategy,
        images: np.ndarray,
        generator: Callable[..., keras.Model],
        discriminator: Callable[..., keras.Model],
        loss: GanLoss,
        penalties: Sequence[Penalty] = (),
        generator_optimizer: Callable[[], keras.optimizers.Optimizer],
        discriminator_optimizer: Callable[[], keras.optimizers.Optimizer],
        latent_dim: int,
        batch_size: int,
        seed: int,
        ema_half_life: int = 0,
        precision: str = "float32",
        kernels: Sequence[str] | None = None,
    ) -> None:
        if not 0 <= seed < 2**32:
            raise TrainerError(f"train.seed={seed} is not in [0, 2**32); choose one that is")
        self.strategy = strategy
        self.latent_dim = latent_dim
        self.batch_size = batch_size
        self.replica_batch_size = share(batch_size, strategy.num_replicas_in_sync)
        self.order = BatchOrder(len(images), batch_size, seed)
        self.seed = seed
        self._loss = loss
        self._penalties = penalties
        self._ema_half_life = ema_half_life
        self._kernels = choose(kernels, strategy)
        self._replica_step = compiled(self.replica_step, self._kernels, strategy)

        keras.utils.set_random_seed(seed)  # the initial weights; nothing else draws from it
        image_shape = images.shape[1:]
        with strategy.scope(), policy(precision) as self._dtype:
            first = tf.VariableAggregation.ONLY_FIRST_REPLICA
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64, aggregation=first)
            self.generator = generator(latent_dim=latent_dim, image_shape=image_shape)
            self.discriminator = discriminator(image_shape=image_shape)
            check_models(self.generator, self.discriminator, image_shape)
            self._generator_optimizer = for_reduced_gradients(
                generator_optimizer(), self.generator.trainable_variables
            )
            self._discriminator_optimizer = for_reduced_gradients(
                discriminator_optimizer(), self.discriminator.trainable_variables
            )
            self.sampler = self.generator
            if ema_half_life:
                self.sampler = generator(latent_dim=latent_dim, image_shape=image_shape)
                averaging.start(self.sampler, self.generator)
        self._image_shape = image_shape
        self.images = replicate(strategy, images)
        self._run_steps = tf.function(
            self._steps, input_signature=[tf.TensorSpec([None, batch_size], tf.int32)]
        )
        self._run_sample = tf.function(self._sample)  # anew for each count: TPUs want it known

    @property
    def checkpoint_items(self) -> dict[str, tf.Variable | keras.Model | list[tf.Variable]]:
        """All state of a run, by name; the random streams have none."""
        items = {
            "step": self.step,
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": state(self._generator_optimizer),
            "discriminator_optimizer": state(self._discriminator_optimizer),
        }
        return items | ({"generator_average": self.sampler} if self._ema_half_life else {})

    @property
    def sampler_weights(self) -> str:
        """Which of the generator's weights samples are drawn from, in words."""
        if not self._ema_half_life:
            return "raw"
        return f"EMA (half-life {self._ema_half_life:,} images)"

    def train(self, num_steps: int) -> dict[str, float]:
        """Runs `num_steps` steps in one call on the devices.

        Returns:
          The mean of each of METRICS over the steps and the global batch.

        Raises:
          TrainerError: if a loss or gradient norm was not finite, naming it and the step.
        """
        step = int(self.step.numpy())
        history = self._run_steps(self.order.indices(step, num_steps)).numpy()
        bad = np.argwhere(~np.isfinite(history))
        if len(bad):
            row, column = bad[0]
            raise TrainerError(
                f"step {step + row + 1}: {METRICS[column]} is {history[row, column]}; training "
                "stopped. Try a lower learning rate or another loss"
            )
        return dict(zip(METRICS, history.mean(axis=0, dtype=np.float64).tolist(), strict=True))

    def latents(self, count: int) -> tf.Tensor:
        """[count, Z]: fixed latents, the same at every step and in every run of the seed."""
        keys = random.example_keys(self.seed, "samples", 0, tf.range(count))
        return random.normal(keys, [self.latent_dim], self._dtype)

    def sample(self, latents: tf.Tensor) -> np.ndarray:
        """[B, Z] -> images [B, H, W, C] in [-1, 1], made in inference mode.

        Every process of a multi-worker strategy must call it: one that ran a program of its own
        would leave the others waiting in their next step.
        """
        return self._run_sample(latents).numpy()

    def fakes(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys of B examples -> images [B, H, W, C], in inference mode; within strategy.run."""
        return self._generate(self.sampler, self._draw_latents(keys), training=False)

    def _sample(self, latents: tf.Tensor) -> tf.Tensor:
        # Each replica makes all of them: a handful, and no gather to write.
        generate = functools.partial(self._generate, self.sampler, training=False)
        images = self.strategy.run(generate, args=(latents,))
        return self.strategy.experimental_local_results(images)[0]

    def _steps(self, order: tf.Tensor) -> tf.Tensor:
        """Example indices int32 [n, global batch] -> metrics [n, len(METRICS)]."""
        num_steps = tf.shape(order)[0]
        first = tf.identity(self.step)
        history = tf.TensorArray(self._dtype, size=num_steps, element_shape=[len(METRICS)])
        for i in tf.range(num_steps):
            arguments = (self.images, order[i], first + tf.cast(i, tf.int64))
            metrics = self.strategy.run(self._replica_step, args=arguments)
            history = history.write(i, self.strategy.experimental_local_results(metrics)[0])
        self.step.assign_add(tf.cast(num_steps, tf.int64))
        return history.stack()

    @tf.autograph.experimental.do_not_convert
    def replica_step(self, images: tf.Tensor, order: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Both phases of one step, on one replica, inside strategy.run.

        Args:
          images: The whole dataset, as `self.images` holds it for each replica.
          order: int32 [global batch], the examples of this step.
          step: int64 scalar, steps done before this one.

        Returns:
          [len(METRICS)], already reduced over the replicas.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = tf.cast(replica, tf.int32) * self.replica_batch_size
        examples = first + tf.range(self.replica_batch_size)
        real = take(images, tf.gather(order, examples), self._image_shape)
        real = normalise(real, self._dtype)

        def keys(stream: str) -> tf.Tensor:
            return random.example_keys(self.seed, stream, step, examples)

        means_1, norm_1 = self._train_discriminator(real, keys)
        means_2, norm_2 = self._train_generator(real, keys)
        if self._ema_half_life:
            weight = averaging.decay(self._ema_half_life, self.batch_size, step)
            averaging.update(self.sampler, self.generator, weight)
        means = _sum_over_replicas(tf.stack([*means_1, *means_2]))
        return tf.concat([means, [norm_1, norm_2]], axis=0)

    def _train_discriminator(
        self, real: tf.Tensor, keys: Callable[[str], tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Phase 1: one mixed batch of fakes (label 0) and reals (label 1).

        Returns:
          This replica's terms of loss/discriminator, accuracy/real and accuracy/fake, and the
          gradient's norm.
        """
        latents = self._draw_latents(keys("latents/1"))
        fake = self._generate(self.generator, latents, training=False)
        layer_keys = tf.concat([keys("layers/1/fake"), keys("layers/1/real")], axis=0)
        with tf.GradientTape() as tape, random.key_scope(layer_keys):
            logits = self._judge(tf.concat([fake, real], axis=0))
            fake_logits, real_logits = tf.split(logits, 2)
            loss = self._global_mean(self._loss.discriminator(real_logits, fake_logits))
            total = loss + sum(self._penalty_terms(real, fake, keys))
        norm = self._update(self.discriminator, self._discriminator_optimizer, tape, total)
        real_accuracy = self._global_mean(tf.cast(real_logits > 0, loss.dtype)[:, 0])
        fake_accuracy = self._global_mean(tf.cast(fake_logits < 0, loss.dtype)[:, 0])
        return [loss, real_accuracy, fake_accuracy], norm

    def _penalty_terms(
        self, real: tf.Tensor, fake: tf.Tensor, keys: Callable[[str], tf.Tensor]
    ) -> Iterator[tf.Tensor]:
        """This replica's term of each penalty's mean."""
        for i, penalty in enumerate(self._penalties):
            with random.key_scope(keys(f"penalty/{i}")):
                yield self._global_mean(penalty(self._judge, real, fake))

    def _train_generator(
        self, real: tf.Tensor, keys: Callable[[str], tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Phase 2: fresh latents, labelled real; only the generator's variables are updated.

        Returns:
          This replica's term of loss/generator, and the gradient's norm.
        """
        latents = self._draw_latents(keys("latents/2"))
        with tf.GradientTape() as tape, random.key_scope(keys("layers/2")):
            fake = self._generate(self.generator, latents, training=True)
            fake_logits = self._judge(fake)
            real_logits = None
            if self._loss.relativistic:
                with random.key_scope(keys("layers/2/real")):
                    real_logits = self._judge(real)
            loss = self._global_mean(self._loss.generator(real_logits, fake_logits))
        norm = self._update(self.generator, self._generator_optimizer, tape, loss)
        return [loss], norm

    def _generate(self, model: keras.Model, latents: tf.Tensor, training: bool) -> tf.Tensor:
        with using(self._kernels):
            return tf.cast(model(latents, training=training), self._dtype)

    def _judge(self, images: tf.Tensor) -> tf.Tensor:
        with using(self._kernels):
            return tf.cast(self.discriminator(images, training=True), self._dtype)

    def _draw_latents(self, keys: tf.Tensor) -> tf.Tensor:
        return random.normal(keys, [self.latent_dim], self._dtype)

    def _global_mean(self, per_example: tf.Tensor) -> tf.Tensor:
        """This replica's term of the mean over the global batch; [b] -> scalar."""
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
        gradients = _sum_over_replicas(tape.gradient(loss, [v.value for v in variables]))
        optimizer.apply(gradients, variables)
        return tf.linalg.global_norm(gradients)


def _sum_over_replicas(tensors):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)
