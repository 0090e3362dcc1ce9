"""--mode=generate: pictures of a run's generator, still or moving."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import tensorflow as tf

from trainer import files
from trainer.errors import TrainerError
from trainer.inference import samples
from trainer.inference.latents import slerp
from trainer.reporting.images import as_image, image_grid, write_png
from trainer.runs.run import Run

ANIMATED = (".gif", ".webp")
SHOW = {
    "samples": (".png", ".npy", ""),
    "interpolation": (".png", ".npy", "", *ANIMATED),
    "training": ANIMATED,
}
"""What there is to see, and the suffixes of what can show it; "" is a directory."""

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
) -> None:
    """Writes samples of the run's current weights: the same weights and seed, the same bytes.

    Args:
      run: The run, trained or restored.
      output: A .png for a grid, a .npy for uint8 [num, H, W, C], a .gif or .webp for an animation;
        a name without suffix is a directory, for one PNG a sample.
      show: One of SHOW. "interpolation" follows great circles: each row of a grid leads from one
        latent to another; in an animation each sample visits four latents and returns. "training"
        is an animation of the run's sample grids.
      num: As in `trainer.inference.samples.sample`; so are the others.
      seed: Seed of the latents.
      labels: Classes to generate in turn.
      truncation: Truncation threshold for latents.

    Raises:
      TrainerError: if an argument breaks one of these rules.
    """
    num = run.schedule.num_samples if num is None else num
    suffix = PurePosixPath(output).suffix
    if suffix not in SHOW[show]:
        names = ", ".join(f"*{name}" if name else "a directory" for name in SHOW[show])
        raise TrainerError(f"--output={output} is not for --show={show}; choose one of {names}")
    samples.check(run, num, seed, labels, truncation)
    if show == "training":
        _generate_training(run, output)
        return
    if suffix in ANIMATED:
        latents = samples.draw_latents(run, _STOPS * num, seed, truncation)
        shown = run.trainer.inference.labels(num, choices=labels)
        frames = (image_grid(samples.images(run, z, shown)) for z in _around(latents))
        content = _animation(frames, suffix, last=_FRAME_MS)
        if run.is_chief:
            files.write_file(output, content)
    elif show == "interpolation":
        side = math.isqrt(num)
        num = side * side
        latents = _rows(samples.draw_latents(run, 2 * side, seed, truncation))
        shown = run.trainer.inference.labels(side, choices=labels)
        shown = None if shown is None else np.repeat(shown, side)
        _write_stills(run, output, samples.images(run, latents, shown))
    else:
        images = samples.sample(run, num, seed=seed, labels=labels, truncation=truncation)
        _write_stills(run, output, images)
    print(f"{num} samples of step {run.step}: {output}")


def _generate_training(run: Run, output: str) -> None:
    grids = sample_grids(run)
    if not grids:
        raise TrainerError(
            f"--show=training: {run.model_dir}/samples holds no grids; train with "
            "train.sample_every above 0"
        )
    content = training(grids, PurePosixPath(output).suffix)
    if run.is_chief:
        files.write_file(output, content)
    print(f"{len(grids)} grids up to step {run.step}: {output}")


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


def _write_stills(run: Run, output: str, images: np.ndarray) -> None:
    suffix = PurePosixPath(output).suffix
    if not run.is_chief:
        return
    if suffix == ".png":
        write_png(output, image_grid(images))
    elif suffix == ".npy":
        file = io.BytesIO()
        np.save(file, images)
        files.write_file(output, file.getvalue())
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
