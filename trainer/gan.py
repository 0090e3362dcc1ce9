"""GanTrainer: all variables of a GAN, and the loop on the devices that trains them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer import random
from trainer.augment import Augmentation
from trainer.data.pipeline import BatchOrder, normalise, replicate, share, take
from trainer.errors import DivergenceError, TrainerError
from trainer.kernels import choose, compiled
from trainer.losses import GanLoss
from trainer.opponents import Opponents
from trainer.optimizers import state
from trainer.penalties import Penalty
from trainer.players import build
from trainer.precision import policy
from trainer.step import METRICS, ReplicaStep, Rules


class GanTrainer:
    """Trains a generator against a discriminator, the same on any number of replicas.

    `trainer.step.ReplicaStep` says what a step is.

    Args:
      strategy: The tf.distribute strategy; no variable may exist yet.
      images: uint8 [N, H, W, C], the training images.
      labels: int32 [N], if the models are to be conditional; their constructors take num_classes
        too then.
      num_classes: Of the labels.
      generator: Constructor, (latent_dim, image_shape) -> model of latents [B, Z] to images.
      discriminator: Constructor, (image_shape) -> model of images to logits [B, 1].
      loss: Both players' per-example losses.
      auxiliary_weight: Of the class loss, where the discriminator classifies too.
      penalties: Added to the discriminator's loss, if any.
      augmentations: Constructors, () -> what changes the images that the discriminator sees.
      opponents: Constructor of a memory of past fakes; see `trainer.opponents`.
      generator_optimizer: Constructor of a Keras optimizer.
      discriminator_optimizer: Constructor of a Keras optimizer.
      discriminator_steps: Batches that the discriminator learns from in a step.
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
        labels: np.ndarray | None = None,
        num_classes: int | None = None,
        generator: Callable[..., keras.Model],
        discriminator: Callable[..., keras.Model],
        loss: GanLoss,
        auxiliary_weight: float = 1.0,
        penalties: Sequence[Penalty] = (),
        augmentations: Sequence[Callable[[], Augmentation]] = (),
        opponents: Callable[..., Opponents] | None = None,
        generator_optimizer: Callable[[], keras.optimizers.Optimizer],
        discriminator_optimizer: Callable[[], keras.optimizers.Optimizer],
        discriminator_steps: int = 1,
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
        self.order = BatchOrder(len(images), batch_size * discriminator_steps, seed)
        self.seed = seed
        self._image_shape = images.shape[1:]
        self._class_ends = None if labels is None else _class_ends(labels, num_classes or 0)
        self._ema_half_life = ema_half_life

        keras.utils.set_random_seed(seed)  # the initial weights; nothing else draws from it
        with strategy.scope(), policy(precision) as dtype:
            first = tf.VariableAggregation.ONLY_FIRST_REPLICA
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64, aggregation=first)
            self._players = build(
                generator,
                discriminator,
                (generator_optimizer, discriminator_optimizer),
                latent_dim=latent_dim,
                image_shape=self._image_shape,
                num_classes=None if labels is None else num_classes,
                averaged=ema_half_life > 0,
                dtype=dtype,
                kernels=choose(kernels, strategy, precision),
            )
            self._augmentations = [make() for make in augmentations]
            self._opponents = opponents and opponents(self._players, self._image_shape)
        changes = self._augmentations
        rules = Rules(
            loss, penalties, changes, auxiliary_weight, discriminator_steps, ema_half_life
        )
        self._step = ReplicaStep(
            self._players, rules, self._opponents, batch_size, seed, self._take
        )
        self._compile(replicate(strategy, images, labels))

    def _compile(self, data: tuple) -> None:
        self.generator = self._players.generator
        self.discriminator = self._players.discriminator
        self.sampler = self._players.sampler
        self.kernels = self._players.kernels
        self.data = data
        self.last_metrics: dict[str, float] = {}
        """METRICS of the last step alone, however many steps its call had."""
        self._compile_steps()
        self._run_sample = tf.function(self._sample)  # anew for each count: TPUs want it known
        self._run_judge = tf.function(self._judge)

    def _compile_steps(self) -> None:
        self._replica_step = compiled(self.replica_step, self.kernels, self.strategy)
        self._run_steps = tf.function(
            self._steps, input_signature=[tf.TensorSpec([None, self.order.batch_size], tf.int32)]
        )

    def use_stream(self, stream: int) -> None:
        """From now on training draws the noise stream of that number, its batches' order included.

        Stream 0 is the seed's own, which a trainer begins with. Fixed latents, and so samples, are
        the same in all of them. The next call of `train` traces anew.
        """
        seed = random.reseed(self.seed, stream)
        if seed != self._step.seed:
            self.order = BatchOrder(self.order.num_examples, self.order.batch_size, seed)
            self._step = dataclasses.replace(self._step, seed=seed)
            self._compile_steps()

    @property
    def checkpoint_items(self) -> dict[str, tf.Variable | keras.Model | list[tf.Variable]]:
        """All state of a run, by name; the random streams have none."""
        items = {
            "step": self.step,
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": state(self._players.generator_optimizer),
            "discriminator_optimizer": state(self._players.discriminator_optimizer),
        }
        if self._ema_half_life:
            items["generator_average"] = self.sampler
        for i, augmentation in enumerate(self._augmentations):
            if augmentation.variables:
                items[f"augmentation_{i}"] = list(augmentation.variables)
        if self._opponents:
            items["opponents"] = list(self._opponents.variables)
        return items

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
          DivergenceError: if a loss or gradient norm was not finite, naming it and the step.
        """
        step = int(self.step.numpy())
        history = self._run_steps(self.order.indices(step, num_steps)).numpy()
        bad = np.argwhere(~np.isfinite(history))
        if len(bad):
            row, column = bad[0]
            raise DivergenceError(
                int(step + row + 1), f"{METRICS[column]} is {history[row, column]}"
            )
        self.last_metrics = dict(zip(METRICS, history[-1].tolist(), strict=True))
        return dict(zip(METRICS, history.mean(axis=0, dtype=np.float64).tolist(), strict=True))

    @property
    def num_classes(self) -> int | None:
        """Of the labels that the models know; None for models without labels."""
        return None if self._class_ends is None else len(self._class_ends)

    def latents(self, count: int, seed: int | None = None) -> tf.Tensor:
        """[count, Z]: fixed latents, the same at every step and in every run of the seed.

        Args:
          count: How many.
          seed: In [0, 2**32), for other ones; None for this trainer's own.
        """
        keys = self._sample_keys(tf.range(count), self.seed if seed is None else seed)
        return self._players.draw_latents(keys)

    def sample(
        self, latents: tf.Tensor, labels: np.ndarray | None = None, first: int = 0
    ) -> np.ndarray:
        """Images [B, H, W, C] in [-1, 1], made in inference mode.

        Every process of a multi-worker strategy must call it: one that ran a program of its own
        would leave the others waiting in their next step.

        Args:
          latents: [B, Z].
          labels: int32 [B], for a conditional generator; without, it makes each class in turn.
          first: The first one's number among the samples, that noise within the generator is of.
        """
        labels = self._classes_in_turn(len(latents), first) if labels is None else labels
        return self._run_sample(latents, labels, tf.constant(first)).numpy()

    def judge(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Images [B, H, W, C] in [-1, 1], and labels int32 [B] -> the discriminator's logits [B].

        In inference mode, without augmentations; nothing changes. Without labels, a conditional
        model takes the images for what `sample` makes. Every process must call it.
        """
        labels = self._classes_in_turn(len(images)) if labels is None else tf.constant(labels)
        return self._run_judge(tf.constant(images, self._players.dtype), labels).numpy()

    def _judge(self, images: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        def logits() -> tf.Tensor:
            # The replica's own copies: a conversion that a replica makes stays on its device.
            here = tf.identity(images)
            return self._players.judge(here, labels, training=False).logits[:, 0]

        return self.strategy.experimental_local_results(self.strategy.run(logits))[0]

    def fakes(self, keys: tf.Tensor) -> tf.Tensor:
        """Keys of B examples -> images [B, H, W, C], in inference mode; within strategy.run.

        A conditional generator draws classes as the training images have them.
        """
        labels = None
        if self._class_ends is not None:
            place = random.uniform(random.fold(keys, 0), [])
            labels = tf.reduce_sum(
                tf.cast(place[:, tf.newaxis] >= self._class_ends[:-1], tf.int32), 1
            )
        return self._generate(self._players.draw_latents(keys), labels, random.fold(keys, 1))

    def _sample(self, latents: tf.Tensor, labels: tf.Tensor | None, first: tf.Tensor) -> tf.Tensor:
        # Each replica makes all of them: a handful, and no gather to write.
        examples = first + tf.range(latents.shape[0])
        arguments = (latents, labels, random.fold(self._sample_keys(examples, self.seed), 0))
        images = self.strategy.run(self._generate, args=arguments)
        return self.strategy.experimental_local_results(images)[0]

    def _generate(self, latents: tf.Tensor, labels: tf.Tensor | None, keys: tf.Tensor) -> tf.Tensor:
        with random.key_scope(keys):
            return self._players.generate(self.sampler, latents, labels, training=False)

    def _classes_in_turn(self, count: int, first: int = 0) -> tf.Tensor | None:
        """int32 [count]; None for models without labels."""
        return self.num_classes and tf.range(first, first + count) % self.num_classes

    def _sample_keys(self, examples: tf.Tensor, seed: int) -> tf.Tensor:
        return random.example_keys(seed, "samples", 0, examples)

    def _steps(self, order: tf.Tensor) -> tf.Tensor:
        """Example indices int32 [n, batch] -> metrics [n, len(METRICS)]."""
        num_steps = tf.shape(order)[0]
        first = tf.identity(self.step)
        history = tf.TensorArray(self._players.dtype, size=num_steps, element_shape=[len(METRICS)])
        for i in tf.range(num_steps):
            arguments = (self.data, order[i], first + tf.cast(i, tf.int64))
            metrics = self.strategy.run(self._replica_step, args=arguments)
            history = history.write(i, self.strategy.experimental_local_results(metrics)[0])
        self.step.assign_add(tf.cast(num_steps, tf.int64))
        return history.stack()

    @tf.autograph.experimental.do_not_convert
    def replica_step(self, data: object, order: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """`trainer.step.ReplicaStep` on this replica's part of `self.data`, inside strategy.run."""
        return self._step(data, order, step)

    def _take(self, data: tuple, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        images, labels = take(data, order, self._image_shape)
        return normalise(images, self._players.dtype), labels


def _class_ends(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """float32 [K]: the share of the examples whose label is at most each class."""
    counts = np.bincount(labels, minlength=num_classes)
    return (np.cumsum(counts) / len(labels)).astype(np.float32)
