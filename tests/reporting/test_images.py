from __future__ import annotations

import numpy as np
from PIL import Image

from trainer.reporting import images


def test_image_grid_places_each_image():
    pictures = np.stack([np.full((3, 4, 1), i, np.uint8) for i in range(5)])
    grid = images.image_grid(pictures)
    assert grid.shape == (2 * (3 + 2) + 2, 3 * (4 + 2) + 2, 1)
    for i in range(5):
        top, left = i // 3 * 5 + 2, i % 3 * 6 + 2
        assert (grid[top : top + 3, left : left + 4] == i).all()
    assert (grid[7:, 14:] == 64).all()  # no sixth image


def test_png_files_hold_the_picture(tmp_path):
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    images.write_png(str(tmp_path / "a.png"), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
