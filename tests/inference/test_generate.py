from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageSequence
from support.process import DIGITS, error_line, run

import trainer
from trainer.errors import TrainerError
from trainer.inference import generate as module
from trainer.reporting.images import image_grid


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A Run that was trained for a few steps, of a generator that knows labels."""
    model_dir = str(tmp_path_factory.mktemp("labelled"))
    run(*DIGITS, "--gin_file=hacks/projection.gin", f"--model_dir={model_dir}")
    return trainer.load_run(model_dir)


@pytest.fixture
def generate(labelled, tmp_path):
    """What is written for some wishes: its path."""

    def write(name, **wishes):
        path = tmp_path / name
        assert module.generate(labelled, output=str(path), **wishes) == 0
        return path

    return write


@pytest.fixture
def images(generate):
    return lambda **wishes: np.load(generate("samples.npy", **wishes))


def frames(path):
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0
        return [np.asarray(f.convert("L")).astype(int) for f in ImageSequence.Iterator(animation)]


def test_one_seed_is_one_set_of_samples(images):
    ours, other = images(num=9, seed=3), images(num=9, seed=4)
    assert (ours.shape, ours.dtype) == ((9, 28, 28, 1), np.uint8)
    assert (ours != other).any()
    np.testing.assert_array_equal(ours, images(num=9, seed=3))
    np.testing.assert_array_equal(images(num=9), images(num=9, seed=0))  # the run's own


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


def test_many_samples_begin_with_those_of_few(images):
    many = images(num=module._CHUNK + 7)
    few = images(num=9)
    # Within rounding: another number of images may be convolved in another order.
    np.testing.assert_allclose(many[:9].astype(int), few, atol=1)
    assert len(np.unique(many, axis=0)) == module._CHUNK + 7


def test_labels_are_made_in_turn(images):
    all_of_them, threes = images(num=20), images(num=20, labels=[3])
    np.testing.assert_array_equal(all_of_them[3::10], threes[3::10])
    assert (all_of_them[4::10] != threes[4::10]).any()
    two = images(num=20, labels=[3, 4])
    np.testing.assert_array_equal(two[::2], threes[::2])
    assert (two[1::2] != threes[1::2]).any()


def test_interpolation_goes_from_one_sample_to_another_in_each_row(images):
    ends = images(num=8, labels=[0, 1, 2, 3])
    rows = images(num=16, show="interpolation").reshape(4, 4, 28, 28, 1).astype(int)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row[0], ends[i], atol=1)
        np.testing.assert_allclose(row[-1], ends[4 + i], atol=1)
        steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(row)]
        assert 0 < max(steps) < np.abs(row[0] - row[-1]).mean()


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_interpolation_moves_smoothly_and_comes_back(generate, suffix):
    seen = frames(generate(f"way.{suffix}", num=4, show="interpolation"))
    still = np.asarray(Image.open(generate("way.png", num=4))).astype(int)
    np.testing.assert_allclose(seen[0], still, atol=1)
    assert len(seen) == 60
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise([*seen, seen[0]])]
    assert 0 < max(steps) < np.abs(seen[0] - seen[15]).mean()


def test_the_training_is_shown_from_its_grids(labelled, generate):
    seen = frames(generate("training.gif", show="training"))
    paths = [f"{labelled.model_dir}/samples/step_{step:07d}.png" for step in (4, 6)]
    for frame, path in zip(seen, paths, strict=True):
        np.testing.assert_array_equal(frame, np.asarray(Image.open(path)))


def test_truncation_gives_up_variety(images):
    spread = [images(num=50, truncation=t).astype(float).std(0).mean() for t in (0.2, 1.0, 9.0)]
    assert spread[0] < spread[1] < spread[2]
    np.testing.assert_allclose(images(num=9, truncation=20.0).astype(int), images(num=9), atol=1)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"name": "a.gif"}, "a.gif is not for --show=samples; choose one of"),
        ({"name": "a.png", "show": "training"}, "not for --show=training; choose one of"),
        ({"name": "a.jpg"}, "a.jpg is not for --show=samples; choose one of"),
        ({"name": "a.png", "num": 0}, "--num=0 must be at least 1"),
        ({"name": "a.png", "seed": -1}, r"--seed=-1 is not in \[0, 2\*\*32\)"),
        ({"name": "a.png", "truncation": 0.0}, "--truncation=0.0 must be above 0"),
        ({"name": "a.png", "labels": [1, 10]}, r"--label=10 is not in \[0, 10\)"),
    ],
    ids=str,
)
def test_wishes_that_cannot_be_met(generate, wishes, message):
    with pytest.raises(TrainerError, match=message):
        generate(wishes.pop("name"), **wishes)


def test_the_command_line_says_what_was_written_and_refuses_labels(tmp_path):
    model_dir = f"--model_dir={tmp_path / 'run'}"
    run(*DIGITS, model_dir)
    out, _ = run("--mode=generate", model_dir, "--num=4", "--seed=7", "--truncation=1.5")
    assert out == f"4 samples of step 6: {tmp_path / 'run' / 'generated.png'}\n"
    line = error_line("--mode=generate", model_dir, "--label=3")
    assert "--label=3 needs a generator that knows labels; train one" in line
