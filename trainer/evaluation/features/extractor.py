"""The interface of a feature network."""

from __future__ import annotations

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Extractor:
    """A feature network, built in a strategy's scope, and the origin of its weights."""

    model: keras.Model
    """Images [B, H, W, C] in [-1, 1] -> (features float32 [B, D], logits float32 [B, K])."""
    name: str
    """Name and version, such as "mnist-v1"."""
    sha256: str
    """Hash of its weights, as hexadecimal digits."""
    accuracy: float | None
    """Accuracy on the test split, in [0, 1]; None if it was trained for other classes."""
