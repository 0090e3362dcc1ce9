"""--mode=generate: pictures of a run's generator, still or moving."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import tensorflow as tf
from absl import logging

from trainer import storage
from trainer.data.pipeline import denormalise
from trainer.errors import TrainerError
from trainer.gan import GanTrainer
from trainer.latents import slerp, truncate
from trainer.run import Run
from trainer.summaries import as_image, image_grid, write_png

ANIMATED = (".gif", ".webp")
SHOW = {
    "samples": (".png", ".npy", ""),
    "interpolation": (".png", ".npy", "", *ANIMATED),
    "training": ANIMATED,
}
"""What there is to see, and the suffixes of what can show it; "" is a directory."""

_CHUNK = 250  # samples in one call on the devices
_STOPS = 4  # latents that each sample of an animation goes through
_BETWEEN = 15  # frames from one to the next
_FRAME_MS = 50
_LAST_MS = 2000  # of a training's end, before it begins again


def generate(
    run: Run,
    *,
    output: str,
    show: str = "samples",
    num: int | None = None,
    seed: int | None = None,
    labels: Sequence[int] = (),
    truncation: float | None = None,
) -> int:
    """Writes samples of the newest checkpoint: the same checkpoint and seed, the same bytes.

    Args:
      run: With a checkpoint.
      output: A .png for a grid, a .npy for uint8 [num, H, W, C], a .gif or .webp for an animation;
        a name without suffix is a directory, for a PNG of each.
      show: Of SHOW. An interpolation goes along great circles: each row of a grid from one latent
        to another; in an animation, each sample through four latents and back. The training is an
        animation of the run's sample grids.
      num: At least 1; None for as many as the run's grids have.
      seed: Of the latents, in [0, 2**32); None for those of the run's grids.
      labels: Those that a conditional generator makes, in turn; none for all.
      truncation: The largest absolute value in a latent, above 0; see `trainer.latents.truncate`.

    Raises:
      TrainerError: if a setting breaks one of these rules, or there is no checkpoint.
    """
    num = run.num_samples if num is None else num
    _check(run.trainer, output, show, num, seed, truncation)
    run.restore()
    if show == "training":
        grids = sample_grids(run)
        if not grids:
            raise TrainerError(
                f"--show=training: {run.model_dir}/samples holds no grids; train with "
                "train.sample_every above 0"
            )
        content = training(grids, PurePosixPath(output).suffix)
        if run.chief:
            storage.write_file(output, content)
        print(f"{len(grids)} grids up to step {run.step}: {output}")
        return 0

    def draw(count: int) -> np.ndarray:
        latents = run.trainer.latents(count, seed).numpy()
        return latents if truncation is None else truncate(latents, truncation)

    if PurePosixPath(output).suffix in ANIMATED:
        kinds = _in_turn(run.trainer, labels, num)
        frames = (image_grid(images(run, z, kinds)) for z in _around(draw(_STOPS * num)))
        content = _animation(frames, PurePosixPath(output).suffix, last=_FRAME_MS)
        if run.chief:
            storage.write_file(output, content)
    elif show == "interpolation":
        side = math.isqrt(num)
        num = side * side
        kinds = _in_turn(run.trainer, labels, side)
        kinds = None if kinds is None else np.repeat(kinds, side)
        _write_stills(run, output, images(run, _rows(draw(2 * side)), kinds))
    else:
        _write_stills(run, output, images(run, draw(num), _in_turn(run.trainer, labels, num)))
    print(f"{num} samples of step {run.step}: {output}")
    return 0


def _check(
    trainer: GanTrainer,
    output: str,
    show: str,
    num: int,
    seed: int | None,
    truncation: float | None,
) -> None:
    if PurePosixPath(output).suffix not in SHOW[show]:
        names = ", ".join(f"*{name}" if name else "a directory" for name in SHOW[show])
        raise TrainerError(f"--output={output} is not for --show={show}; choose one of {names}")
    if num < 1:
        raise TrainerError(f"--num={num} must be at least 1")
    if seed is not None and not 0 <= seed < 2**32:
        raise TrainerError(f"--seed={seed} is not in [0, 2**32); choose one that is")
    if truncation is not None and not truncation > 0:
        raise TrainerError(f"--truncation={truncation} must be above 0; common are 0.5 to 2")


def _in_turn(trainer: GanTrainer, labels: Sequence[int], count: int) -> np.ndarray | None:
    """int32 [count], of `labels` in turn, or of all; None for a generator without labels."""
    known = trainer.num_classes
    for label in labels:
        if known is None:
            raise TrainerError(
                f"--label={label} needs a generator that knows labels; train one, such as with "
                "--gin_file=mnist.gin --gin_file=hacks/projection.gin"
            )
        if not 0 <= label < known:
            raise TrainerError(f"--label={label} is not in [0, {known}), the classes of this run")
    return None if known is None else np.resize(labels or range(known), count).astype(np.int32)


def _rows(ends: np.ndarray) -> np.ndarray:
    """[2 * side, Z] -> [side * side, Z], rows of a grid, each from one latent to another."""
    side = len(ends) // 2
    first, last = (np.repeat(part, side, axis=0) for part in np.split(ends, 2))
    return slerp(first, last, np.tile(np.linspace(0, 1, side), side)).astype(ends.dtype)


def _around(latents: np.ndarray) -> Iterator[np.ndarray]:
    """[_STOPS * num, Z] -> the frames [num, Z] of a way that ends where it began."""
    stops = np.split(latents, _STOPS)
    for first, last in zip(stops, [*stops[1:], stops[0]], strict=True):
        for i in range(_BETWEEN):
            yield slerp(first, last, np.full(len(first), i / _BETWEEN)).astype(latents.dtype)


def images(run: Run, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """uint8 [N, H, W, C], made in pieces; every process takes part."""
    size = min(_CHUNK, len(latents))
    pieces = []
    for first in range(0, len(latents), size):
        # Filled up, for the devices want one shape: the last piece has fewer.
        rows = np.arange(first, first + size) % len(latents)
        piece = run.trainer.sample(latents[rows], None if labels is None else labels[rows], first)
        pieces.append(denormalise(piece[: len(latents) - first]))
        if first // size % 20 == 19:
            logging.info("%d of %d samples", first + size, len(latents))
    return np.concatenate(pieces)


def _write_stills(run: Run, output: str, images: np.ndarray) -> None:
    suffix = PurePosixPath(output).suffix
    if not run.chief:
        return
    if suffix == ".png":
        write_png(output, image_grid(images))
    elif suffix == ".npy":
        file = io.BytesIO()
        np.save(file, images)
        storage.write_file(output, file.getvalue())
    else:
        tf.io.gfile.makedirs(output)
        for i, image in enumerate(images):
            write_png(f"{output}/{i:05d}.png", image)


def sample_grids(run: Run) -> list[str]:
    """The paths of the grids that training left, by step."""
    return sorted(tf.io.gfile.glob(f"{run.model_dir}/samples/step_*.png"))


def training(grids: Sequence[str], suffix: str) -> bytes:
    """An animation of the grids at these paths, at least one, in one of ANIMATED."""
    return _animation(map(_read, grids), suffix, last=_LAST_MS)


def _animation(frames: Iterable[np.ndarray], suffix: str, *, last: int) -> bytes:
    """Frames uint8 [H, W, 1 or 3], each shown for _FRAME_MS, and the last for `last`, for ever."""
    pictures = [as_image(frame) for frame in frames]
    durations = [*[_FRAME_MS] * (len(pictures) - 1), last]
    file = io.BytesIO()
    pictures[0].save(
        file,
        suffix[1:],
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        lossless=True,  # which a GIF does not ask
    )
    return file.getvalue()


def _read(path: str) -> np.ndarray:
    with tf.io.gfile.GFile(path, "rb") as file:
        return tf.io.decode_png(file.read()).numpy()
