from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer import rng
from trainer.errors import TrainerError
from trainer.gan import augment, schedules

COUNT = 400
IMAGES = np.random.default_rng(0).uniform(-1, 1, (COUNT, 8, 12, 3)).astype(np.float32)
STEP = tf.constant(0, tf.int64)


def apply(augmentation, images=IMAGES, step=STEP, examples=None):
    examples = tf.range(len(images)) if examples is None else examples
    with rng.key_scope(rng.example_keys(0, "test", 0, examples)):
        return augmentation(tf.constant(images), step).numpy()


def test_instance_noise_is_normal_and_decays():
    noise = augment.InstanceNoise(deviation=schedules.Cosine(first=0.5, last=0.0, steps=10))
    added = apply(noise) - IMAGES
    assert abs(added.std() - 0.5) < 0.01 and abs(added.mean()) < 0.01
    np.testing.assert_array_equal(apply(noise, step=tf.constant(10, tf.int64)), IMAGES)


def test_translation_shifts_by_up_to_an_eighth_over_zeros():
    moved = apply(augment.DiffAugment(transformations=["translation"]))
    seen = set()
    for image, result in zip(IMAGES, moved, strict=True):
        padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
        shifts = {
            (y, x)
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
            if np.array_equal(padded[1 - y : 9 - y, 1 - x : 13 - x], result)
        }
        assert len(shifts) == 1
        seen |= shifts
    assert len(seen) == 9


def test_cutout_blanks_one_square_of_half_a_side():
    results = apply(augment.DiffAugment(transformations=["cutout"]))
    areas = set()
    for image, result in zip(IMAGES, results, strict=True):
        cut = (result == 0).all(axis=-1)
        np.testing.assert_array_equal(result[~cut], image[~cut])
        rows, columns = cut.any(axis=1), cut.any(axis=0)
        np.testing.assert_array_equal(cut, np.outer(rows, columns))
        for line, most in ((rows, 4), (columns, 6)):
            places = np.flatnonzero(line)
            assert places.max() - places.min() + 1 == len(places) <= most
        areas.add(int(cut.sum()))
    assert max(areas) == 4 * 6 and min(areas) < max(areas)


def color(images):
    """Augmented colours, and their grey parts: [COUNT, H, W, C] and [COUNT, H, W, 1]."""
    results = apply(augment.DiffAugment(transformations=["color"]), images)
    return results, results.mean(axis=-1, keepdims=True)


def line(x, y):
    """Slope and residual of the straight line that leads from x to y."""
    (slope, _), residuals, *_ = np.polyfit(x.ravel(), y.ravel(), 1, full=True)
    return slope, residuals.max()


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast(channels):
    """Grey goes through a line of slope 0.5 to 1.5; the image's mean moves by -0.5 to 0.5."""
    grey = np.repeat(IMAGES[..., :1], channels, axis=-1)
    results, _ = color(grey)
    slopes, residuals = np.transpose([line(a, b) for a, b in zip(grey, results, strict=True)])
    brightness = results.mean(axis=(1, 2, 3)) - grey.mean(axis=(1, 2, 3))
    assert residuals.max() < 1e-8
    for draws in (slopes - 1, brightness):
        assert -0.5 - 1e-6 <= draws.min() < -0.48 and 0.48 < draws.max() <= 0.5
        assert abs(draws.mean()) < 4 * np.sqrt(1 / 12 / COUNT)
    assert abs(np.corrcoef(slopes, brightness)[0, 1]) < 4 / np.sqrt(COUNT)


def test_saturation():
    """Beside the contrast, a colour's distance from its grey is multiplied by 0 to 2."""
    results, greys = color(IMAGES)
    original = IMAGES.mean(axis=-1, keepdims=True)
    saturations = []
    for image, grey, result, result_grey in zip(IMAGES, original, results, greys, strict=True):
        contrast, _ = line(grey, result_grey)
        chroma, residual = line(image - grey, result - result_grey)
        assert residual < 1e-8
        saturations.append(chroma / contrast)
    assert 0 <= min(saturations) < 0.05 and 1.95 < max(saturations) <= 2 + 1e-5
    assert abs(np.mean(saturations) - 1) < 4 * np.sqrt(4 / 12 / COUNT)


@pytest.mark.parametrize(
    "augmentation", [augment.DiffAugment, augment.InstanceNoise], ids=lambda a: a.__name__
)
def test_an_example_is_augmented_the_same_wherever_it_is(augmentation):
    whole = apply(augmentation())
    part = apply(augmentation(), IMAGES[200:300], examples=tf.range(200, 300))
    np.testing.assert_allclose(part, whole[200:300], atol=1e-6)


def test_gradients_pass():
    images = tf.constant(IMAGES[:4])
    with tf.GradientTape() as tape, rng.key_scope(rng.example_keys(0, "t", 0, tf.range(4))):
        tape.watch(images)
        total = tf.reduce_sum(augment.DiffAugment()(images, STEP))
    assert np.count_nonzero(tape.gradient(total, images)) > images.shape.num_elements() / 4


def test_ada_moves_its_probability_towards_the_target():
    ada = augment.AdaptiveAugment(target=0.6, adjustment=1000)
    probabilities = []
    for sign in (1.0, 0.7, 0.6, 0.5, 0.0, -1.0):
        ada.observe(lambda sign=sign: tf.constant(sign), batch_size=100)
        probabilities.append(float(ada.probability.numpy()))
    np.testing.assert_allclose(probabilities, [0.1, 0.2, 0.2, 0.1, 0.0, 0.0], atol=1e-6)


def test_ada_augments_a_share_of_the_examples():
    ada = augment.AdaptiveAugment(transformations=["cutout"])
    np.testing.assert_array_equal(apply(ada), IMAGES)
    ada.probability.assign(0.3)
    changed = (apply(ada) != IMAGES).any(axis=(1, 2, 3)).mean()
    assert abs(changed - 0.3) < 4 * np.sqrt(0.3 * 0.7 / COUNT)
    ada.probability.assign(1.0)
    assert (apply(ada) != IMAGES).any(axis=(1, 2, 3)).all()
    assert [v.shape for v in ada.variables] == [[]]


@pytest.mark.parametrize("make", [augment.DiffAugment, augment.AdaptiveAugment])
def test_an_unknown_transformation_is_refused(make):
    with pytest.raises(TrainerError, match=r"'colour' is not known; choose from color, transl"):
        make(transformations=["colour"])
