from __future__ import annotations

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.process import environment

from trainer.inference.portable import portable_copy
from trainer.models import chatgpt, conditional, dcgan, layers, residual

LABELLED = {"num_classes": 10}
GENERATORS = {
    "dcgan": dcgan.generator,
    "norm first": dcgan.norm_first_generator,
    "upsampling": dcgan.upsampling_generator,
    "chatgpt": chatgpt.generator,
    "residual": functools.partial(residual.generator, width=8),
    "residual with labels": functools.partial(residual.generator, width=8, **LABELLED),
    "conditional": functools.partial(conditional.generator, **LABELLED),
    "embedding": functools.partial(conditional.embedding_generator, **LABELLED),
}


def build(make):
    """A generator whose weights and moving statistics all differ from their initial values."""
    model = make(latent_dim=20, image_shape=(28, 28, 3))
    random = np.random.default_rng(0)
    for variable in model.weights:
        value = np.asarray(variable)
        if variable.dtype == "float32":
            variable.assign(value * random.uniform(0.5, 1.5, value.shape) + 0.01)
    return model


def inputs(model):
    latents = np.random.default_rng(1).normal(size=[5, 20]).astype(np.float32)
    return [latents, np.arange(5, dtype=np.int32)] if len(model.inputs) == 2 else latents


@pytest.mark.parametrize("name", GENERATORS)
def test_the_copy_computes_the_same_in_keras_own_layers(name):
    model = build(GENERATORS[name])
    copy = portable_copy(model)
    images = model(inputs(model), training=False).numpy()
    assert images.std() > 0.01
    np.testing.assert_allclose(copy(inputs(model), training=False), images, atol=1e-6)
    parts = copy._flatten_layers(include_self=False)
    assert {type(part).__module__.split(".")[0] for part in parts} == {"keras"}


def test_a_spectral_norm_is_in_the_copied_kernel():
    model = keras.Sequential(
        [keras.Input([4]), layers.Dense(8, spectral=True), layers.Dense(2, use_bias=False)]
    )
    x = np.ones([3, 4], np.float32)
    model(x, training=True)
    np.testing.assert_allclose(portable_copy(model)(x), model(x, training=False), atol=1e-6)


def test_it_computes_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(dcgan.generator)
    finally:
        keras.config.set_dtype_policy(policy)
    copy = portable_copy(model)
    assert {part.compute_dtype for part in copy._flatten_layers()} == {"float32"}
    exact, rounded = (m(inputs(model), training=False).numpy() for m in (copy, model))
    assert 0 < np.abs(exact - rounded).max() < 0.1


def test_it_loads_without_this_package(tmp_path):
    model = build(GENERATORS["residual with labels"])
    np.savez(tmp_path / "expected.npz", model(inputs(model), training=False), *inputs(model))
    portable_copy(model).save(tmp_path / "generator.keras")
    program = """
import sys
import keras, numpy as np
images, *inputs = np.load("expected.npz").values()
model = keras.models.load_model("generator.keras")
assert np.abs(model.predict(inputs, verbose=0) - images).max() < 1e-6
assert "trainer" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(KERAS_BACKEND="tensorflow"),
        check=True,
    )
