"""What evaluation needs of a feature network."""

from __future__ import annotations

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Extractor:
    """A feature network, built in a strategy's scope, and where its weights come from."""

    model: keras.Model
    """Images [B, H, W, C] in [-1, 1] -> (features float32 [B, D], logits float32 [B, K])."""
    name: str
    """With its version, such as "mnist-v1"."""
    sha256: str
    """Of its weights."""
    accuracy: float | None
    """On the test split, in [0, 1]; None where it was trained for other classes."""
