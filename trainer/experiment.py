"""An experiment: every setting, and the wiring of all parts into a Run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.config import gin_reader
from trainer.config.gin_writer import gin_text
from trainer.config.registry import configurable
from trainer.config.settings import flatten, function, optional_function
from trainer.data.dataset import Dataset
from trainer.distributed import multihost
from trainer.distributed import strategy as strategies
from trainer.doctor.doctor import Doctor
from trainer.errors import TrainerError, check_takes
from trainer.evaluation.card import Card
from trainer.evaluation.evaluator import Evaluator
from trainer.gan.trainer import GanConfig, GanTrainer
from trainer.inference.export import export
from trainer.inference.generate import generate
from trainer.inference.samples import sample
from trainer.runs import run as runs
from trainer.runs.evaluate import evaluate
from trainer.runs.run import Schedule
from trainer.training.train import train as train_run


class Run(runs.Run):
    """A run, with what can be done with it as methods for notebooks.

    The functions of `trainer.training`, `trainer.inference` and `trainer.runs` are the same.
    """

    def train(self) -> None:
        """Trains to the end, from the newest checkpoint; see `trainer.training.train.train`."""
        train_run(self)

    def sample(
        self,
        num: int | None = None,
        *,
        seed: int | None = None,
        labels: Sequence[int] = (),
        truncation: float | None = None,
    ) -> np.ndarray:
        """uint8 [num, H, W, C] of the current weights; see `trainer.inference.samples.sample`."""
        return sample(self, num, seed=seed, labels=labels, truncation=truncation)

    def evaluate(self) -> Card:
        """Evaluates the current weights; see `trainer.runs.evaluate.evaluate`."""
        return evaluate(self)

    def generate(
        self,
        output: str,
        *,
        show: str = "samples",
        num: int | None = None,
        seed: int | None = None,
        labels: Sequence[int] = (),
        truncation: float | None = None,
    ) -> None:
        """Writes samples to files; see `trainer.inference.generate.generate`."""
        generate(
            self,
            output=output,
            show=show,
            num=num,
            seed=seed,
            labels=labels,
            truncation=truncation,
        )

    def export(self, output: str) -> None:
        """Writes the generator for other programs; see `trainer.inference.export.export`."""
        export(self, output=output)


@configurable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(GanConfig, Schedule):
    """Every setting of a run, as gin binds them to `train`.

    What is a function or a constructor here is called by `build`, inside the strategy's scope where
    it makes variables.
    """

    _prefix = "train."

    dataset: Callable[..., Dataset] = function()
    """Makes the dataset, from data_dir."""
    strategy: Callable[[], tf.distribute.Strategy] = function(strategies.auto)
    """Makes the tf.distribute strategy; see `hardware/*.gin`."""
    evaluator: Callable[..., Evaluator] = function(Evaluator)
    """Constructor, (strategy, dataset, data_dir, seed) -> Evaluator."""
    doctor: Callable[..., Doctor] | None = optional_function(Doctor)
    """Constructor, (trainer, dataset, images, labels) -> Doctor; None for no health checks."""
    config_text: str | None = dataclasses.field(default=None, init=False, repr=False)
    """The gin text that the experiment was read from; None for one that was made in Python, such as
    by `dataclasses.replace`; not a gin setting."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_takes(self.dataset, ["data_dir"])
        if self.rollbacks and not self.doctor:
            raise TrainerError(
                f"train.rollbacks={self.rollbacks} needs a doctor to say when; bind train.doctor"
            )

    @classmethod
    def from_gin(cls, gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> Experiment:
        """Reads gin files, then `name=value` bindings over them.

        Raises:
          TrainerError: naming the file, name or value at fault and the closest valid ones.
        """
        return _experiment(gin_reader.load(gin_files, gin_params))

    @classmethod
    def from_run(cls, model_dir: str | None, gin_params: Sequence[str] = ()) -> Experiment:
        """Reads the config that a run left in `model_dir`, which may be local or gs://.

        Raises:
          TrainerError: if there is none, or it names what the config of a run may not.
        """
        return _experiment(gin_reader.load_saved(model_dir, gin_params))

    def build(
        self, model_dir: str, *, data_dir: str | None = None, notebook_only: bool = False
    ) -> Run:
        """Makes the strategy, the dataset and all parts; writes nothing yet.

        Args:
          model_dir: Directory of the run, local or gs://; an existing run there is resumed by
            `Run.train`.
          data_dir: Directory of prepared datasets; None for TFDS's own.
          notebook_only: Accept functions that only this notebook or program defines. Then the
            command line cannot resume, evaluate or export the run, and says so.

        Raises:
          TrainerError: if settings do not fit each other, the data or the devices, or cannot be
            saved for the command line.
        """
        text = gin_reader.NOTEBOOK_ONLY if notebook_only else self.to_gin()
        distribution = _make_strategy(self.strategy)  # before anything else uses the devices
        with multihost.explain_lost_peer(distribution):
            dataset = self.dataset(data_dir=data_dir)
            images, labels = dataset.load("train")
            trainer = GanTrainer(
                self,
                strategy=distribution,
                images=images,
                labels=labels,
                num_classes=dataset.spec.num_classes,
            )
            doctor = self.doctor and self.doctor(
                trainer=trainer,
                dataset=dataset,
                images=images,
                labels=labels if self.conditional else None,
            )
            evaluator = self.evaluator(
                strategy=distribution, dataset=dataset, data_dir=data_dir, seed=self.seed
            )
        return Run(
            trainer=trainer,
            schedule=self,
            spec=dataset.spec,
            real_images=images[: self.num_samples].copy(),  # a view would keep the whole array
            evaluator=evaluator,
            doctor=doctor,
            model_dir=model_dir,
            config_text=text,
            settings=flatten(self),
        )

    def to_gin(self) -> str:
        """The experiment as gin text: what it was read from, or else written from its settings.

        Raises:
          TrainerError: naming the setting that gin text cannot hold.
        """
        if self.config_text is not None:
            return self.config_text
        return gin_text(self, f"{__name__}.{gin_reader.ROOT}")


train = Experiment
"""The name of its settings in gin: train.num_epochs."""


def load_run(model_dir: str, *, data_dir: str | None = None, gin_params: Sequence[str] = ()) -> Run:
    """Builds the run in `model_dir` from its saved config, and restores its newest checkpoint.

    Args:
      model_dir: Directory of a finished or stopped run, local or gs://.
      data_dir: Directory of prepared datasets; None for TFDS's own.
      gin_params: Bindings over the saved config, such as "train.num_steps=5000".

    Raises:
      TrainerError: if there is no run, or no checkpoint that can be read.
    """
    run = Experiment.from_run(model_dir, gin_params).build(model_dir, data_dir=data_dir)
    run.restore()
    return run


def _experiment(loaded: gin_reader.Config) -> Experiment:
    experiment = loaded.make()
    object.__setattr__(experiment, "config_text", loaded.text)  # the class is frozen
    return experiment


def _make_strategy(make: Callable[[], tf.distribute.Strategy]) -> tf.distribute.Strategy:
    strategy = make()
    # Grappler's remapper fails on convolutions followed by LeakyReLU, with an alarming message.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    return strategy
