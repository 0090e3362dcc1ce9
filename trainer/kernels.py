"""Faster ways to compute what some layers compute, each by name; a measured choice for each device.

They change no weight and no random number, and a result only in its rounding. `train.kernels` names
those in use; docs/performance.md has what each was worth.

- "fused_dropout": LeakyReLU, the random mask and dropout in one XLA cluster, forward and backward;
  the mask is drawn again in the backward pass, which is cheaper than keeping it.
- "matmul_convolutions": a strided transposed convolution to a few channels, which is also the input
  gradient of a convolution from a few channels, as one matrix product whose terms are then
  shifted and added. oneDNN takes three times as long for it.
- "xla_step": the whole step of a replica in one XLA program.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from trainer import random
from trainer.errors import TrainerError

KERNELS = ("fused_dropout", "matmul_convolutions", "xla_step")

DEFAULTS = {"CPU": ("fused_dropout", "matmul_convolutions")}
"""By device type; none elsewhere, where nothing was measured."""

FEW = 4
"""Most channels of what "matmul_convolutions" takes: an image's, not a feature map's."""

_in_use: contextvars.ContextVar[Sequence[str]] = contextvars.ContextVar("kernels", default=())


def choose(names: Sequence[str] | None, strategy: tf.distribute.Strategy) -> tuple[str, ...]:
    """The kernels that `names` names, or the default of the strategy's devices if it is None.

    Raises:
      TrainerError: for a name that is not one of KERNELS.
    """
    if names is None:
        device = tf.DeviceSpec.from_string(strategy.extended.worker_devices[0])
        # A strategy that only compiles names the device that it compiles for.
        return DEFAULTS.get(getattr(strategy, "compiles_for", device.device_type), ())
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


@contextlib.contextmanager
def using(names: Sequence[str]) -> Iterator[None]:
    """Within it, layers compute by the kernels `names`; replicas' threads do not inherit it."""
    token = _in_use.set(names)
    try:
        yield
    finally:
        _in_use.reset(token)


def drop(inputs: tf.Tensor, keys: tf.Tensor, threshold: int, negative_slope: float) -> tf.Tensor:
    """LeakyReLU, then dropout: [B, ...] -> [B, ...].

    Args:
      inputs: Any floating dtype.
      keys: uint32 [B, 3] of `trainer.random`.
      threshold: An element is dropped with probability threshold / 2**16.
      negative_slope: Of the LeakyReLU; 1 for none.
    """
    scale = 1 / (1 - threshold / 2**16)
    if "fused_dropout" not in _in_use.get():
        if negative_slope != 1:
            inputs = tf.nn.leaky_relu(inputs, negative_slope)
        return _masked(inputs, keys, threshold, scale)

    @tf.custom_gradient
    def fused(inputs: tf.Tensor):
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return _cluster(upstream, inputs, keys, threshold, negative_slope, scale)

        return _cluster(inputs, inputs, keys, threshold, negative_slope, scale), gradient

    return fused(inputs)


def _masked(values: tf.Tensor, keys: tf.Tensor, threshold: int, scale: float) -> tf.Tensor:
    keep = random.keep_mask(keys, values.shape[1:], threshold)
    return tf.where(keep, values * tf.constant(scale, values.dtype), tf.zeros([], values.dtype))


@tf.function(jit_compile=True, autograph=False)
def _cluster(values, inputs, keys, threshold, negative_slope, scale) -> tf.Tensor:
    """What of `values` passes at `inputs`: the inputs themselves, or the gradient of the output."""
    # TensorFlow's LeakyRelu keeps its slope in float32, whatever the inputs are.
    slope = tf.cast(tf.constant(negative_slope, tf.float32), values.dtype)
    return _masked(tf.where(inputs > 0, values, values * slope), keys, threshold, scale)


def conv2d(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor | None:
    """A "same" convolution, [B, H, W, C] by [k, l, C, D]; None where Keras's own is meant."""
    if not _few(inputs.shape[-1], inputs, strides):
        return None

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor):
            return (
                _spread(upstream, kernel, strides, inputs.shape[1:3]),
                _kernel_gradient(inputs, kernel, strides, upstream),
            )

        return tf.nn.conv2d(inputs, kernel, strides, "SAME"), gradient

    return forward(inputs, kernel)


def conv2d_transpose(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]
) -> tf.Tensor | None:
    """Its transpose, [B, H, W, D] -> [B, H s, W s, C]; None where Keras's own is meant."""
    if not _few(kernel.shape[-2], inputs, strides):
        return None
    size = [n * stride for n, stride in zip(inputs.shape[1:3], strides, strict=True)]

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor):
            return (
                tf.nn.conv2d(upstream, kernel, strides, "SAME"),
                _kernel_gradient(upstream, kernel, strides, inputs),
            )

        return _spread(inputs, kernel, strides, size), gradient

    return forward(inputs, kernel)


def _few(channels: int, inputs: tf.Tensor, strides: tuple[int, int]) -> bool:
    known = "matmul_convolutions" in _in_use.get() and inputs.shape.is_fully_defined()
    return known and channels <= FEW and strides[0] == strides[1] > 1


def _kernel_gradient(image, kernel, strides, feature_map) -> tf.Tensor:
    return tf.raw_ops.Conv2DBackpropFilter(
        input=image,
        filter_sizes=tf.constant(kernel.shape.as_list()),
        out_backprop=feature_map,
        strides=[1, *strides, 1],
        padding="SAME",
    )


def _spread(inputs, kernel, strides, size) -> tf.Tensor:
    """The "same" transposed convolution, to images of `size`.

    An input spreads over k by l outputs. Its product with the kernel is cut into blocks of
    stride by stride outputs; the blocks of one place in the kernel make up an image of blocks, and
    these images are added, each shifted by its place.
    """
    stride = strides[0]
    height, width, channels, depth = kernel.shape
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    kernel = tf.pad(
        kernel, [[0, rows * stride - height], [0, columns * stride - width], [0, 0], [0, 0]]
    )
    kernel = tf.reshape(kernel, [rows, stride, columns, stride, channels, depth])
    kernel = tf.reshape(tf.transpose(kernel, [5, 0, 2, 1, 3, 4]), [depth, -1])
    terms = tf.matmul(tf.reshape(inputs, [-1, depth]), kernel)
    terms = tf.reshape(terms, [*inputs.shape[:3], rows * columns, stride**2 * channels])
    blocks = tf.add_n(
        [
            tf.pad(
                terms[..., i * columns + j, :],
                [[0, 0], [i, rows - 1 - i], [j, columns - 1 - j], [0, 0]],
            )
            for i in range(rows)
            for j in range(columns)
        ]
    )
    whole = tf.nn.depth_to_space(blocks, stride)
    top, left = (
        max((n - 1) * stride + extent - out, 0) // 2
        for n, extent, out in zip(inputs.shape[1:3], (height, width), size, strict=True)
    )
    return whole[:, top : top + size[0], left : left + size[1]]
