"""Image grids, and images as PNG files."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from PIL import Image

from trainer import files

_MARGIN = 2  # pixels between images and around the grid


def image_grid(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] -> uint8 [rows, columns, C], a grid as square as N allows."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell = (height + _MARGIN, width + _MARGIN)
    grid = np.full((rows * cell[0] + _MARGIN, columns * cell[1] + _MARGIN, channels), 64, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * cell[0] + _MARGIN, i % columns * cell[1] + _MARGIN
        grid[top : top + height, left : left + width] = image
    return grid


def as_image(picture: np.ndarray) -> Image.Image:
    """uint8 [H, W, 1 or 3] -> a Pillow image."""
    return Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)


def write_png(path: str, picture: np.ndarray) -> None:
    """Writes uint8 [H, W, 1 or 3] as a local or gs:// PNG file, atomically."""
    files.write_file(path, tf.io.encode_png(picture).numpy())
