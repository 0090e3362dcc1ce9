from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageSequence
from support.inprocess import error_line, run
from support.process import DIGITS

from trainer.errors import TrainerError
from trainer.experiment import Experiment
from trainer.reporting.images import image_grid


@pytest.fixture
def generate(conditional, tmp_path):
    """(name, options of generate) -> the path of what is written."""

    def write(name, **options):
        path = tmp_path / name
        conditional.generate(str(path), **options)
        return path

    return write


@pytest.fixture
def images(generate):
    return lambda **options: np.load(generate("samples.npy", **options))


def frames(path):
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0
        return [np.asarray(f.convert("L")).astype(int) for f in ImageSequence.Iterator(animation)]


def test_the_bytes_are_the_same_in_every_format(generate):
    for name, show in (("a.png", "samples"), ("a.npy", "samples"), ("a.gif", "interpolation")):
        first = generate(name, num=4, show=show).read_bytes()
        assert first == generate(name, num=4, show=show).read_bytes()


def test_a_grid_an_array_and_files_hold_the_same(generate, images):
    samples = images(num=5)
    grid = np.asarray(Image.open(generate("grid.png", num=5)))
    np.testing.assert_array_equal(grid, image_grid(samples)[..., 0])
    directory = generate("each", num=5)
    names = [f"{i:05d}.png" for i in range(5)]
    assert sorted(path.name for path in directory.iterdir()) == names
    for name, sample in zip(names, samples, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(directory / name)), sample[..., 0])


def test_interpolation_goes_from_one_sample_to_another_in_each_row(images):
    endpoints = images(num=8, labels=[0, 1, 2, 3])
    rows = images(num=16, show="interpolation").reshape(4, 4, 28, 28, 1).astype(int)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row[0], endpoints[i], atol=1)
        np.testing.assert_allclose(row[-1], endpoints[4 + i], atol=1)
        steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(row)]
        assert 0 < max(steps) < np.abs(row[0] - row[-1]).mean()


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_interpolation_moves_smoothly_and_comes_back(generate, suffix):
    seen = frames(generate(f"interpolation.{suffix}", num=4, show="interpolation"))
    still = np.asarray(Image.open(generate("still.png", num=4))).astype(int)
    np.testing.assert_allclose(seen[0], still, atol=1)
    assert len(seen) == 60
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise([*seen, seen[0]])]
    assert 0 < max(steps) < np.abs(seen[0] - seen[15]).mean()


def test_the_training_is_shown_from_its_grids(conditional, generate):
    seen = frames(generate("training.gif", show="training"))
    paths = [f"{conditional.model_dir}/samples/step_{step:07d}.png" for step in (4, 6)]
    for frame, path in zip(seen, paths, strict=True):
        np.testing.assert_array_equal(frame, np.asarray(Image.open(path)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.gif", {}, "a.gif is not for show=samples; choose one of"),
        ("a.png", {"show": "training"}, "not for show=training; choose one of"),
        ("a.jpg", {}, "a.jpg is not for show=samples; choose one of"),
        ("a.png", {"num": 0}, "num=0 must be at least 1"),
    ],
)
def test_options_that_cannot_be_met(generate, name, options, message):
    with pytest.raises(TrainerError, match=message):
        generate(name, **options)


def test_a_run_without_grids_has_no_training_to_show(tmp_path):
    run = Experiment.from_gin(["digits.gin", "hardware/one_device.gin"]).build(str(tmp_path))
    with pytest.raises(TrainerError, match="samples holds no grids; train with train.sample_every"):
        run.generate(str(tmp_path / "a.gif"), show="training")


def test_the_command_line_says_what_was_written_and_refuses_labels(tmp_path):
    model_dir = f"--model_dir={tmp_path / 'run'}"
    run(*DIGITS, model_dir)
    out, _ = run("--mode=generate", model_dir, "--num=4", "--seed=7", "--truncation=1.5")
    assert out == f"4 samples of step 6: {tmp_path / 'run' / 'generated.png'}\n"
    line = error_line("--mode=generate", model_dir, "--label=3")
    assert "label=3 needs a conditional generator; train one" in line
