"""Faster implementations of some layers' computations, and which of them are in use.

A kernel changes no weight and no random number, and a result only in its rounding. The defaults
were measured for each kind of device; docs/performance.md says what each kernel is worth.

- "dilated_gradients": in bfloat16, computes the kernel gradient of a strided transposed convolution
  as a dilated convolution with examples as channels. oneDNN's forward convolutions make full use of
  the CPU's bfloat16 units; its gradient kernels do not.
- "fused_activation": in bfloat16, a bias and LeakyReLU in one XLA cluster. The backward pass reads
  the signs off the outputs.
- "fused_dropout": LeakyReLU, the random mask and dropout in one XLA cluster, forward and backward.
  The backward pass reads the mask off the outputs.
- "fused_normalization": the generator's batch normalisation by TensorFlow's fused operation, in
  float32 and bfloat16. It needs one all-reduce in each direction, where Keras needs three and two.
- "matmul_convolutions": a strided transposed convolution to a few channels, which is also the input
  gradient of a convolution from a few channels, as one matrix product whose terms are then shifted
  and added. oneDNN takes three times as long.
- "xla_step": a replica's whole step as one XLA program.

A fused kernel passes its inputs to its cluster through `tf.stop_gradient`, and defines the gradient
itself. Otherwise a gradient tape within another one, as penalties need, would make the cluster
return all intermediate values, and XLA would fuse little.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from trainer.errors import TrainerError
from trainer.kernels import cpu

KERNELS = (
    "dilated_gradients",
    "fused_activation",
    "fused_dropout",
    "fused_normalization",
    "matmul_convolutions",
    "xla_step",
)

ON_CPUS = tuple(name for name in KERNELS if name != "xla_step")
"""The default on CPUs. Other devices use no kernels by default: nothing was measured there."""

_ONCE_DIFFERENTIABLE = ("fused_normalization",)
"""Kernels without a second derivative."""

_in_use: contextvars.ContextVar[Sequence[str]] = contextvars.ContextVar("kernels", default=())


def choose(
    names: Sequence[str] | None, strategy: tf.distribute.Strategy, precision: str
) -> tuple[str, ...]:
    """The kernels in `names`, or the default for the strategy's devices.

    Args:
      names: Some of KERNELS; None for the default.
      strategy: The strategy that will train.
      precision: One of `trainer.gan.networks.PRECISIONS`.

    Raises:
      TrainerError: for a name that is not one of KERNELS.
    """
    if names is None:
        # A strategy that only compiles names the device that it compiles for.
        if (getattr(strategy, "compiles_for", None) or _device_type(strategy)) != "CPU":
            return ()
        # On a CPU without bfloat16 units, TensorFlow's own kernels are 1.3 to 9 times as slow as
        # XLA's.
        emulated = precision == "mixed_bfloat16" and not cpu.multiplies_bfloat16()
        return ("xla_step",) if emulated and strategy.num_replicas_in_sync == 1 else ON_CPUS
    for name in names:
        if name not in KERNELS:
            raise TrainerError(
                f"kernels: '{name}' is not known; choose from {', '.join(KERNELS)}, or [] for none"
            )
    return tuple(names)


def _device_type(strategy: tf.distribute.Strategy) -> str:
    try:
        device = strategy.extended.worker_devices[0]
    except RuntimeError:  # TensorFlow's default strategy names none
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.DeviceSpec.from_string(device).device_type


def compiled(
    step: Callable[..., tf.Tensor], names: Sequence[str], strategy: tf.distribute.Strategy
) -> Callable[..., tf.Tensor]:
    """A replica's step, as one XLA program if `names` has "xla_step".

    Raises:
      TrainerError: if there are several replicas: an XLA program cannot hold their all-reduces.
    """
    if "xla_step" not in names:
        return step
    if strategy.num_replicas_in_sync > 1:
        raise TrainerError(
            f"kernels: 'xla_step' works on one replica, not {strategy.num_replicas_in_sync}; "
            "leave it out, or use hardware/one_device.gin"
        )
    return tf.function(step, jit_compile=True, autograph=False)


def twice_differentiable(names: Sequence[str]) -> list[str]:
    """Those of `names` whose gradients can be differentiated again, as penalties require."""
    return [name for name in names if name not in _ONCE_DIFFERENTIABLE]


@contextlib.contextmanager
def using(names: Sequence[str]) -> Iterator[None]:
    """Makes layers called within it use the kernels `names`.

    The choice holds for the current thread. Each replica's step runs in a thread of its own, and
    must enter this context there.
    """
    token = _in_use.set(names)
    try:
        yield
    finally:
        _in_use.reset(token)


def in_use(name: str) -> bool:
    """Whether layers are to use the kernel `name`."""
    return name in _in_use.get()


def in_use_for(name: str, inputs: tf.Tensor) -> bool:
    """Like `in_use`, but also requires a static shape of `inputs`."""
    return in_use(name) and inputs.shape.is_fully_defined()


def upcast(values: tf.Tensor) -> tf.Tensor:
    """Casts types narrower than float32 to float32.

    XLA on CPUs would round a narrow type after every operation, which takes longer.
    """
    return tf.cast(values, tf.float32) if values.dtype.size < 4 else values
