"""--mode=generate: images and animations of a run's generator, written to files."""

from __future__ import annotations

import io
import math
import re
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
"""What `generate` can show -> the suffixes of files that can hold it; "" is a directory."""

_KEYFRAMES = 4  # latents that each sample of an animated interpolation visits
_STEPS = 15  # frames from one of them to the next
_FRAME_MS = 50
_PAUSE_MS = 2000  # at the end of an animation of training, before it starts again


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
        latent to another, and in an animation each sample visits four latents and returns.
        "training" is an animation of the run's sample grids.
      num: Number of samples, at least 1; None for the number in the run's sample grids. Rounded
        down to a square for a grid of interpolations.
      seed: Seed of the latents, in [0, 2**32); None for the latents of the run's sample grids.
      labels: Classes to generate in turn, with a conditional generator; empty for all.
      truncation: Truncation threshold for latents, above 0; see
        `trainer.inference.latents.truncate`.

    Raises:
      TrainerError: if an argument is out of range, `output` cannot hold what `show` says, the
        generator takes no labels, or there are no sample grids to show.
    """
    num = run.schedule.num_samples if num is None else num
    suffix = PurePosixPath(output).suffix
    if suffix not in SHOW[show]:
        names = ", ".join(f"*{name}" if name else "a directory" for name in SHOW[show])
        raise TrainerError(f"output={output} is not for show={show}; choose one of {names}")
    samples.check(run, num, seed, labels, truncation)
    if show == "training":
        _generate_training(run, output)
        return
    if suffix in ANIMATED:
        latents = samples.draw_latents(run, _KEYFRAMES * num, seed, truncation)
        classes = run.trainer.inference.labels(num, choices=labels)
        frames = (
            image_grid(samples.images(run, each, classes))
            for each in _interpolation_frames(latents)
        )
        content = _animation(frames, suffix, last_ms=_FRAME_MS)
        if run.is_chief:
            files.write_file(output, content)
    elif show == "interpolation":
        side = math.isqrt(num)
        num = side * side
        endpoints = samples.draw_latents(run, 2 * side, seed, truncation)
        classes = run.trainer.inference.labels(side, choices=labels)
        classes = None if classes is None else np.repeat(classes, side)
        _write_stills(run, output, samples.images(run, _interpolation_grid(endpoints), classes))
    else:
        images = samples.sample(run, num, seed=seed, labels=labels, truncation=truncation)
        _write_stills(run, output, images)
    print(f"{num} samples of step {run.step}: {output}")


def _generate_training(run: Run, output: str) -> None:
    grids = sample_grids(run)
    if not grids:
        raise TrainerError(
            f"show=training: {run.model_dir}/samples holds no grids; train with "
            "train.sample_every above 0"
        )
    content = training_animation(grids, PurePosixPath(output).suffix)
    if run.is_chief:
        files.write_file(output, content)
    print(f"{len(grids)} grids up to step {run.step}: {output}")


def _interpolation_grid(endpoints: np.ndarray) -> np.ndarray:
    """Latents [2 * side, Z] -> [side * side, Z]: row i leads from latent i to latent side + i."""
    side = len(endpoints) // 2
    first, last = (np.repeat(half, side, axis=0) for half in np.split(endpoints, 2))
    return slerp(first, last, np.tile(np.linspace(0, 1, side), side)).astype(endpoints.dtype)


def _interpolation_frames(latents: np.ndarray) -> Iterator[np.ndarray]:
    """Latents [_KEYFRAMES * num, Z] -> frames [num, Z], which end where they began."""
    keyframes = np.split(latents, _KEYFRAMES)
    for first, last in zip(keyframes, [*keyframes[1:], keyframes[0]], strict=True):
        for i in range(_STEPS):
            yield slerp(first, last, np.full(len(first), i / _STEPS)).astype(latents.dtype)


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
    """The paths of the sample grids that training wrote, by step."""
    directory = f"{run.model_dir}/samples"
    grids = filter(re.compile(r"step_\d+\.png").fullmatch, files.names(directory))
    return [f"{directory}/{name}" for name in sorted(grids, key=lambda name: (len(name), name))]


def training_animation(grids: Sequence[str], suffix: str) -> bytes:
    """An animation of sample grids.

    Args:
      grids: Paths of PNG files of one size, at least one.
      suffix: One of ANIMATED.
    """
    return _animation(map(_read, grids), suffix, last_ms=_PAUSE_MS)


def _animation(frames: Iterable[np.ndarray], suffix: str, *, last_ms: int) -> bytes:
    """An endless animation of frames uint8 [H, W, 1 or 3]; the last one is shown for last_ms."""
    pictures = [as_image(frame) for frame in frames]
    durations = [*[_FRAME_MS] * (len(pictures) - 1), last_ms]
    file = io.BytesIO()
    pictures[0].save(
        file,
        suffix[1:],
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        lossless=True,  # for WebP; a GIF ignores it
    )
    return file.getvalue()


def _read(path: str) -> np.ndarray:
    with tf.io.gfile.GFile(path, "rb") as file:
        return tf.io.decode_png(file.read()).numpy()
