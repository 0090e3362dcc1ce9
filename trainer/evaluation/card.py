"""The evaluation card: the metrics of a set of samples, and their JSON and text."""

from __future__ import annotations

import dataclasses
import json
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.errors import TrainerError
from trainer.evaluation.metrics import classes
from trainer.evaluation.metrics.fid import frechet_distance
from trainer.evaluation.metrics.intervals import Estimate
from trainer.evaluation.metrics.kid import kernel_distance
from trainer.evaluation.metrics.manifold import manifold

FILE_NAME = "evaluation.json"


class ImageFeatures(NamedTuple):
    """Images, and what a feature network computes from them."""

    images: np.ndarray
    """uint8 [N, H, W, C]."""
    features: np.ndarray
    """float32 [N, D]."""
    logits: np.ndarray
    """float32 [N, K]."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One line of the card."""

    value: float
    real: float
    """The same metric of real images instead of samples."""
    low: float | None = None
    """Lower end of the 95 % confidence interval; None if the metric has no interval."""
    high: float | None = None
    """Upper end of that interval."""


TITLES = {
    "fid": ("FID", "↓"),
    "kid": ("KID", "↓"),
    "classifier_score": ("Classifier score", "↑"),
    "precision": ("Precision", "↑"),
    "recall": ("Recall", "↑"),
    "density": ("Density", "↑"),
    "coverage": ("Coverage", "↑"),
    "confident": (f"Share of confidence {classes.CONFIDENT} or more", "↑"),
    "modes": ("Classes generated", "↑"),
    "class_kl": ("Reverse KL of the class histogram", "↓"),
    "nearest_train": ("Distance to nearest training image, median", "≈"),
    "memorised": ("Share nearer to training than 99 % of test images", "≈"),
}
"""Every metric of a card, in display order: its title, and whether higher (↑), lower (↓) or closer
to the value of real images (≈) is better."""


@dataclasses.dataclass(frozen=True)
class Card:
    """The content of evaluation.json."""

    dataset: str
    step: int
    images_seen: int
    """Training images seen until this step, counting repetitions."""
    weights: str
    """The generator's weights that were evaluated: "raw", or the moving average ("EMA ...")."""
    seed: int
    num_samples: int
    num_test: int
    extractor: str
    extractor_sha256: str
    extractor_accuracy: float | None
    """Accuracy on the test split, in [0, 1]; None if its classes are not the dataset's."""
    metrics: dict[str, Metric]
    class_counts: list[int]
    class_counts_real: list[int]
    confidence_counts: list[int]
    """Samples by the probability of their most probable class, in twenty bins from 0 to 1."""
    confidence_counts_real: list[int]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)

    @classmethod
    def load(cls, model_dir: str) -> Card | None:
        """The card in `model_dir`, local or gs://; None if there is none.

        Raises:
          TrainerError: if the file there is not a card.
        """
        path = f"{model_dir}/{FILE_NAME}"
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            text = file.read()
        try:
            fields = json.loads(text)
            metrics = {name: Metric(**fields["metrics"][name]) for name in TITLES}
            return cls(**{**fields, "metrics": metrics})
        except (ValueError, TypeError, KeyError) as error:
            raise TrainerError(
                f"{path} is not an evaluation card ({error}); evaluate again with "
                f"--mode=evaluate --model_dir={model_dir}"
            ) from error

    def table(self) -> str:
        """The metrics as lines of text."""
        lines = [f"{'':52} {'samples':>10} {'95 % interval':>20} {'real':>10}"]
        for name, metric in self.metrics.items():
            shown = interval(metric.low, metric.high)
            lines.append(
                f"{TITLES[name][0]:52} {number(metric.value):>10} {shown:>20} "
                f"{number(metric.real):>10}"
            )
        lines.append(
            f"{self.num_samples:,} samples against {self.num_test:,} test images, {self.weights} "
            f"weights, features {self.extractor} (sha256 {self.extractor_sha256[:12]}...)"
        )
        return "\n".join(lines)


def number(value: float) -> str:
    """A number with three significant digits, or all digits before the decimal point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def interval(low: float | None, high: float | None) -> str:
    """An interval as text; empty if there is none."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def compute_metrics(fake: ImageFeatures, real: ImageFeatures) -> dict[str, Estimate | float]:
    """The metrics of `fake` against `real`, without those of `memorisation`."""
    counts = classes.histogram(fake.logits)
    return {
        "fid": frechet_distance(real.features, fake.features),
        "kid": kernel_distance(real.features, fake.features),
        "classifier_score": classes.classifier_score(fake.logits),
        **manifold(real.features, fake.features)._asdict(),
        "confident": float((classes.confidence(fake.logits) >= classes.CONFIDENT).mean()),
        "modes": float(classes.modes(counts)),
        "class_kl": classes.divergence(counts, classes.histogram(real.logits)),
    }


def memorisation(distances: np.ndarray, test_distances: np.ndarray) -> dict[str, float]:
    """The metrics of how close images are to the training images.

    Args:
      distances: [N], from each image to its nearest training image.
      test_distances: [M], from each test image to its nearest training image.
    """
    return {
        "nearest_train": float(np.median(distances)),
        "memorised": float((distances < np.quantile(test_distances, 0.01)).mean()),
    }


def pair_with_real(
    values: dict[str, Estimate | float], real: dict[str, Estimate | float]
) -> dict[str, Metric]:
    """Each metric of the samples, beside its value for real images."""
    metrics = {}
    for name in TITLES:
        value, low, high = _parts(values[name])
        metrics[name] = Metric(value, _parts(real[name])[0], low, high)
    return metrics


def _parts(value: Estimate | float) -> tuple[float, float | None, float | None]:
    """The value and both ends of its interval, if it has one."""
    if isinstance(value, Estimate):
        return value.value, value.low, value.high
    return value, None, None
