"""Whether a TPU would compute the trainer's own update, and how fast it could be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.data.dataset import Dataset, Examples
from trainer.errors import TrainerError
from trainer.experiment import Experiment
from trainer.gan import optimizers
from trainer.gan.trainer import METRICS, GanTrainer
from trainer.tools.tpu_check import compiler
from trainer.tools.tpu_check.program import Program, lower
from trainer.tools.tpu_check.roofline import chip, roofline

BOUNDS = {"float64": (1e-12, 1e-9), "bfloat16": (0.25, 0.5)}
"""Largest `Distance` (slots, weights) that rounding explains, by compute dtype. Adam's first step
moves every weight by the learning rate, in a direction that rounding decides where the gradient is
nearly zero; hence the wider second bound. bfloat16 keeps eight bits."""


@dataclass(frozen=True)
class Distance:
    """The distance of an update from the trainer's own, relative to the length of the latter."""

    slots: float
    """Distance of the optimizers' slots, which depend on the gradients alone."""
    weights: float
    """Distance of the changes of weights and moving statistics."""

    def __str__(self) -> str:
        return f"{self.slots:.0e} of the gradients, {self.weights:.0e} of the weights' update"


def build(
    experiment: Experiment,
    strategy: tf.distribute.Strategy,
    *,
    data_dir: str | None = None,
    precision: str | None = None,
) -> GanTrainer:
    """Builds an experiment's trainer with another strategy and precision.

    If the size of the dataset is known without reading it, its images are random numbers instead,
    and nothing is downloaded.

    Args:
      experiment: The experiment.
      strategy: The strategy in place of its own.
      data_dir: Directory of prepared datasets; None for TFDS's own.
      precision: The dtype policy in place of its own; None to keep it.
    """

    def random_images(*, data_dir: str | None) -> Dataset:
        source = experiment.dataset(data_dir=data_dir)
        if source.spec.num_train is None:
            return source
        shape = (source.spec.num_train, *source.spec.image_shape)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return Dataset(source.spec, lambda split: Examples(images, np.zeros(len(images), np.int32)))

    return (
        dataclasses.replace(
            experiment,
            strategy=lambda: strategy,
            dataset=random_images,
            precision=precision or experiment.precision,
        )
        .build("", data_dir=data_dir, notebook_only=True)
        .trainer
    )


def update_distance(
    program: Program,
    replicas: GanTrainer,
    experiment: Experiment,
    data_dir: str | None = None,
) -> Distance:
    """Compares the first step of `program`, run on CPU devices, with the trainer's own.

    A program in float32 is compared in float64, since in float32 the order of a sum decides on
    which side of LeakyReLU's kink a few of a million activations fall, and one moves a gradient by
    1e-3. A program in bfloat16 is compared with float32.

    Args:
      program: Lowered from `replicas`.
      replicas: The experiment's trainer on several replicas, untrained.
      experiment: The experiment that `replicas` was built from.
      data_dir: Directory of prepared datasets, as given to `build`.

    Raises:
      TrainerError: if they differ by more than rounding explains.
    """
    precision = "float32"
    if replicas.discriminator.compute_dtype == "float32":
        precision = "float64"
        replicas = build(experiment, replicas.strategy, data_dir=data_dir, precision=precision)
        program = lower(replicas)
    one_device = tf.distribute.OneDeviceStrategy("CPU:0")
    single = build(experiment, one_device, data_dir=data_dir, precision=precision)
    outputs = compiler.run(program, single.batch_sampler.indices(0, 1)[0], 0)
    position = {id(variable): i for i, variable in enumerate(program.state)}
    weights, slots = _state(replicas)
    before = _vector([variable.numpy() for variable in weights])

    def after(variables: Sequence[tf.Variable]) -> np.ndarray:
        new = [program.updated.get(position.get(id(variable), -1)) for variable in variables]
        return _vector(
            [v.numpy() if i is None else outputs[i] for v, i in zip(variables, new, strict=True)]
        )

    single.train(1)
    expected, expected_slots = (_vector([v.numpy() for v in part]) for part in _state(single))
    distance = Distance(
        slots=_relative(after(slots), expected_slots),
        weights=_relative(after(weights) - before, expected - before),
    )
    kind = replicas.discriminator.compute_dtype
    for name, bound in zip(("slots", "weights"), BOUNDS[kind], strict=True):
        if not (value := getattr(distance, name)) <= bound:
            raise TrainerError(
                f"the compiled step is not the trainer's: its {name} are {value:.1e} away, where "
                f"{kind} allows {bound:g}; a layer or loss depends on the number of replicas"
            )
    return distance


def _state(trainer: GanTrainer) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """The networks' weights and moving statistics, and their optimizers' slots."""
    networks = trainer.networks
    models = [networks.generator, networks.discriminator]
    if networks.generator_ema is not networks.generator:
        models.append(networks.generator_ema)
    weights = [variable.value for model in models for variable in model.variables]
    slots = [
        variable
        for optimizer in (networks.generator_optimizer, networks.discriminator_optimizer)
        for variable in optimizers.state(optimizer)
        if variable.dtype.is_floating
    ]
    return weights, slots


def _vector(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])


def _relative(ours: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


def report(program: Program, compiled: compiler.Compiled, distance: Distance | None) -> dict:
    """What is known of a program on a topology: label -> text, ready to print."""
    peaks = chip(compiled.device_kind)
    cores = compiled.num_devices // compiled.num_chips
    least = roofline(
        peaks,
        cores=cores,
        replicas=compiled.num_devices,
        flops=compiled.flops,
        bytes_accessed=compiled.bytes_accessed,
        all_reduced=program.all_reduced,
    )
    available = peaks.memory / cores
    rate = program.batch_size / compiled.num_chips / least.step
    return {
        "replicas": f"{compiled.num_devices} of {program.batch_size // compiled.num_devices}",
        "compile s": f"{compiled.seconds:.0f}",
        "GFLOP": f"{compiled.flops / 1e9:.3g}",
        "MB moved": f"{compiled.bytes_accessed / 1e6:.0f}",
        "HBM MB": f"{compiled.memory / 1e6:.0f} ({compiled.memory / available:.1%})",
        "all-reduced MB": f"{program.all_reduced / 1e6:.2f}",
        "host B in, out": f"{program.from_host}, {4 * len(METRICS)}",
        "step µs at least": f"{least.step * 1e6:.0f} ({least.limit})",
        "images/s a chip at most": f"{rate:,.0f}",
        "operations off the TPU": f"none of {program.num_operations:,}",
        "distance from the trainer's own update": str(distance or "not run: too many replicas"),
    }


def assumptions(device_kind: str) -> str:
    """The chip's peaks that `report` assumes, in one line."""
    peaks = chip(device_kind)
    link = peaks.interconnect
    ici = f"{link / 1e9:g} GB/s each way between chips" if link else "no limit between chips"
    return (
        f"assumed for a {peaks.name} chip: {peaks.flops / 1e12:g} TFLOP/s in bfloat16, "
        f"{peaks.memory / 1e9:g} GB of HBM at {peaks.bandwidth / 1e9:g} GB/s, {ici}"
    )
