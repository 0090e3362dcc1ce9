"""Faster ways to compute what some layers compute, each by name; a measured choice for each device.

They change no weight and no random number, and a result only in its rounding. `train.kernels` names
those in use; docs/performance.md has what each was worth.

- "dilated_gradients": in bfloat16, the gradient of a strided transposed convolution's kernel as a
  dilated convolution whose channels are the examples, since oneDNN's forward kernels use bfloat16's
  units in full, and those of gradients do not.
- "fused_activation": in bfloat16, a bias and LeakyReLU in one XLA cluster; the backward pass reads
  the signs off the outputs.
- "fused_dropout": LeakyReLU, the random mask and dropout in one XLA cluster, forward and backward;
  the backward pass reads the mask off the outputs.
- "fused_normalization": the generator's batch normalisation by TensorFlow's fused operation, in
  float32 and bfloat16; its statistics cross the replicas in one sum each way, not in three and two.
- "matmul_convolutions": a strided transposed convolution to a few channels, which is also the input
  gradient of a convolution from a few channels, as one matrix product whose terms are then
  shifted and added. oneDNN takes three times as long for it.
- "xla_step": the whole step of a replica in one XLA program.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from trainer.errors import TrainerError
from trainer.kernels import cpu

KERNELS = (
    *("dilated_gradients", "fused_activation", "fused_dropout", "fused_normalization"),
    *("matmul_convolutions", "xla_step"),
)

ON_CPUS = tuple(name for name in KERNELS if name != "xla_step")
"""The default on CPUs; none elsewhere, where nothing was measured."""

_ONCE_DIFFERENTIABLE = ("fused_normalization",)
"""Kernels whose gradient has no gradient of its own."""

_in_use: contextvars.ContextVar[Sequence[str]] = contextvars.ContextVar("kernels", default=())


def choose(
    names: Sequence[str] | None, strategy: tf.distribute.Strategy, precision: str
) -> tuple[str, ...]:
    """The kernels that `names` names, or if it is None those that suit the strategy's devices.

    Args:
      names: Some of KERNELS, or None.
      strategy: The one that will train.
      precision: Of `trainer.gan.precision`.

    Raises:
      TrainerError: for a name that is not one of KERNELS.
    """
    if names is None:
        device = tf.DeviceSpec.from_string(strategy.extended.worker_devices[0])
        # A strategy that only compiles names the device that it compiles for.
        if getattr(strategy, "compiles_for", device.device_type) != "CPU":
            return ()
        # TensorFlow's own kernels are 1.3 to 9 times as slow as XLA there.
        emulated = precision == "mixed_bfloat16" and not cpu.multiplies_bfloat16()
        return ("xla_step",) if emulated and strategy.num_replicas_in_sync == 1 else ON_CPUS
    for name in names:
        if name not in KERNELS:
            raise TrainerError(
                f"train.kernels names '{name}'; choose from {', '.join(KERNELS)}, or [] for none"
            )
    return tuple(names)


def compiled(
    step: Callable[..., tf.Tensor], names: Sequence[str], strategy: tf.distribute.Strategy
) -> Callable[..., tf.Tensor]:
    """A replica's step as one XLA program, if `names` ask for that.

    Raises:
      TrainerError: with several replicas, whose sums no such program can hold.
    """
    if "xla_step" not in names:
        return step
    if strategy.num_replicas_in_sync > 1:
        raise TrainerError(
            f"train.kernels names 'xla_step', which takes one replica, not "
            f"{strategy.num_replicas_in_sync}; leave it out, or use hardware/one_device.gin"
        )
    return tf.function(step, jit_compile=True, autograph=False)


def twice_differentiable(names: Sequence[str]) -> list[str]:
    """Those of `names` whose gradient can be differentiated again, as penalties do."""
    return [name for name in names if name not in _ONCE_DIFFERENTIABLE]


@contextlib.contextmanager
def using(names: Sequence[str]) -> Iterator[None]:
    """Within it, layers compute by the kernels `names`; replicas' threads do not inherit it."""
    token = _in_use.set(names)
    try:
        yield
    finally:
        _in_use.reset(token)


def in_use(name: str) -> bool:
    """Whether a layer is to compute by that kernel."""
    return name in _in_use.get()


def in_use_on(name: str, inputs: tf.Tensor) -> bool:
    """The same, of a kernel that needs to know the whole shape of what the layer is given."""
    return in_use(name) and inputs.shape.is_fully_defined()


def unwatched(tensor: tf.Tensor) -> tf.Tensor:
    """The same, for a cluster whose gradient its caller gives.

    A tape within a tape (a penalty's) would have the cluster return all that it computes on the
    way, and XLA then fuses little.
    """
    return tf.stop_gradient(tensor)


def wide(values: tf.Tensor) -> tf.Tensor:
    """In float32, if not wider: XLA would round after every operation, and takes longer for it."""
    return tf.cast(values, tf.float32) if values.dtype.size < 4 else values
