"""GanTrainer: all state of a GAN, and the compiled loop that trains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer import rng
from trainer.data.batches import (
    BatchSampler,
    gather_batch,
    normalise,
    per_replica_batch_size,
    replicate,
)
from trainer.errors import DivergenceError, TrainerError
from trainer.gan import networks, optimizers
from trainer.gan.inference import Inference
from trainer.gan.networks import NetworkConfig
from trainer.gan.replica_step import METRICS, ReplicaStep, StepConfig
from trainer.kernels import selection


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanConfig(NetworkConfig, StepConfig):
    """The settings of a GanTrainer: its networks and its train step."""


class GanTrainer:
    """Trains a generator against a discriminator, with the same result on any number of replicas.

    `trainer.gan.replica_step.ReplicaStep` defines one step. `inference` makes samples.

    Args:
      config: Settings of the networks and of the step.
      strategy: The tf.distribute strategy.
      images: uint8 [N, H, W, C], the training images.
      labels: int32 [N] in [0, num_classes); only used if config.conditional.
      num_classes: Number of classes of the labels; only used if config.conditional.

    Raises:
      TrainerError: if the settings do not fit each other, the images or the strategy.
    """

    def __init__(
        self,
        config: GanConfig,
        *,
        strategy: tf.distribute.Strategy,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        num_classes: int | None = None,
    ) -> None:
        if config.conditional and (labels is None or not num_classes):
            raise TrainerError(
                "conditional=True needs labels and num_classes; choose a dataset that has them, or "
                "set conditional=False"
            )
        if not config.conditional:
            labels = num_classes = None
        self.config = config
        self.strategy = strategy
        self.replica_batch_size = per_replica_batch_size(
            config.batch_size, strategy.num_replicas_in_sync
        )
        self.batch_sampler = BatchSampler(
            len(images), config.batch_size * config.discriminator_steps, config.seed
        )
        self.last_metrics: dict[str, float] = {}
        """METRICS of the last step that was done; empty before the first."""
        keras.utils.set_random_seed(config.seed)  # for the initial weights alone
        with strategy.scope():
            self.replica_step = self._build(images.shape[1:], num_classes)
        self.data = replicate(strategy, images, labels)
        counts = None if labels is None else np.bincount(labels, minlength=num_classes or 0)
        self.inference = Inference(strategy, self.networks, config.seed, counts)
        self._compiled_loop = self._compile()

    def _build(self, image_shape: tuple[int, int, int], num_classes: int | None) -> ReplicaStep:
        """Makes all variables; called within the strategy's scope."""
        config = self.config
        self.step = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        """The number of steps done, int64 scalar."""
        self.networks = networks.build(
            config,
            image_shape=image_shape,
            num_classes=num_classes,
            averaged=config.ema_half_life > 0,
            kernels=selection.choose(config.kernels, self.strategy, config.precision),
        )

        def gather(data: tuple, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
            images, labels = gather_batch(data, indices, image_shape)
            return normalise(images, self.networks.dtype), labels

        return ReplicaStep(
            config=config,
            networks=self.networks,
            loss=config.loss(),
            penalties=[make() for make in config.penalties],
            augmentations=[make() for make in config.augmentations],
            replay=config.replay(self.networks, image_shape) if config.replay else None,
            seed=config.seed,
            gather_batch=gather,
        )

    def _compile(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Compiles several steps into one tf.function, which loops on the devices."""
        replica_step = selection.compiled(
            tf.autograph.experimental.do_not_convert(self.replica_step),
            self.networks.kernels,
            self.strategy,
        )

        @tf.function(
            input_signature=[tf.TensorSpec([None, self.batch_sampler.batch_size], tf.int32)]
        )
        def loop(indices: tf.Tensor) -> tf.Tensor:
            """Example indices int32 [n, batch] -> metrics [n, len(METRICS)]."""
            num_steps = tf.shape(indices)[0]
            first = tf.identity(self.step)
            dtype = self.networks.dtype
            history = tf.TensorArray(dtype, size=num_steps, element_shape=[len(METRICS)])
            for i in tf.range(num_steps):
                arguments = (self.data, indices[i], first + tf.cast(i, tf.int64))
                metrics = self.strategy.run(replica_step, args=arguments)
                history = history.write(i, self.strategy.experimental_local_results(metrics)[0])
            self.step.assign_add(tf.cast(num_steps, tf.int64))
            return history.stack()

        return loop

    def train(self, num_steps: int) -> dict[str, float]:
        """Runs `num_steps` steps in one call on the devices.

        Returns:
          The mean over the steps of each of METRICS, by name.

        Raises:
          DivergenceError: if a loss or gradient norm is not finite, naming it and its first step.
        """
        step = int(self.step.numpy())
        history = self._compiled_loop(self.batch_sampler.indices(step, num_steps)).numpy()
        not_finite = np.argwhere(~np.isfinite(history))
        if len(not_finite):
            row, column = not_finite[0]
            raise DivergenceError(
                int(step + row + 1), f"{METRICS[column]} is {history[row, column]}"
            )
        self.last_metrics = dict(zip(METRICS, history[-1].tolist(), strict=True))
        return dict(zip(METRICS, history.mean(axis=0, dtype=np.float64).tolist(), strict=True))

    def reseed(self, stream: int) -> None:
        """Changes all random numbers of training, and the order of the batches.

        Latents of samples stay the same. The next call of `train` traces its program anew.

        Args:
          stream: Number of a random stream, from 0; a trainer begins with stream 0.
        """
        seed = rng.reseed(self.config.seed, stream)
        if seed != self.replica_step.seed:
            sampler = self.batch_sampler
            self.batch_sampler = BatchSampler(sampler.num_examples, sampler.batch_size, seed)
            self.replica_step = dataclasses.replace(self.replica_step, seed=seed)
            self._compiled_loop = self._compile()

    @property
    def generator(self) -> keras.Model:
        """The generator that is trained."""
        return self.networks.generator

    @property
    def discriminator(self) -> keras.Model:
        """The discriminator that is trained."""
        return self.networks.discriminator

    @property
    def checkpoint_items(self) -> dict[str, tf.Variable | keras.Model | list[tf.Variable]]:
        """All state of training, by name. Random numbers have no state."""
        items = {
            "step": self.step,
            "generator": self.networks.generator,
            "discriminator": self.networks.discriminator,
            "generator_optimizer": optimizers.state(self.networks.generator_optimizer),
            "discriminator_optimizer": optimizers.state(self.networks.discriminator_optimizer),
        }
        if self.config.ema_half_life:
            items["generator_ema"] = self.networks.generator_ema
        for i, augmentation in enumerate(self.replica_step.augmentations):
            if augmentation.variables:
                items[f"augmentation_{i}"] = list(augmentation.variables)
        if self.replica_step.replay:
            items["replay"] = list(self.replica_step.replay.variables)
        return items

    @property
    def sampled_weights(self) -> str:
        """Which weights samples are made with: "raw", or "EMA (half-life ... images)"."""
        if not self.config.ema_half_life:
            return "raw"
        return f"EMA (half-life {self.config.ema_half_life:,} images)"
