"""What models compute in: float32, or bfloat16 over weights and statistics in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from trainer.errors import TrainerError

POLICIES = ("float32", "mixed_bfloat16", "float64")
"""Keras's dtype policies, without those of float16: its gradients need scaling."""


@contextlib.contextmanager
def policy(name: str) -> Iterator[str]:
    """Models built within it compute by Keras's dtype policy `name`.

    Yields:
      The dtype of their weights, to which the trainer casts what they return.

    Raises:
      TrainerError: for a policy that is not one of POLICIES.
    """
    if name not in POLICIES:
        raise TrainerError(
            f"train.precision='{name}' is not known; choose from {', '.join(POLICIES)}"
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield keras.config.dtype_policy().variable_dtype
    finally:
        keras.config.set_dtype_policy(before)
