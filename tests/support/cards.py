"""An evaluation card without a run."""

from __future__ import annotations

from trainer.evaluation.card import TITLES, Card, Metric


def make_card(fid=0.5, **changes):
    """A card with made-up numbers, the given FID and `changes` to its fields."""
    metrics = dict.fromkeys(TITLES, Metric(0.5, 0.1)) | {"fid": Metric(fid, 0.1, 0.4, 0.6)}
    fields = {
        **{"dataset": "digits", "step": 7, "images_seen": 224, "weights": "raw", "seed": 3},
        **{"num_samples": 3, "num_test": 4, "metrics": metrics},
        **{"extractor": "digits-v1", "extractor_sha256": "ab" * 32, "extractor_accuracy": 0.97},
        **{"class_counts": [1, 2], "class_counts_real": [2, 2]},
        **{"confidence_counts": [0] * 19 + [3], "confidence_counts_real": [0] * 19 + [4]},
    }
    return Card(**(fields | changes))
