"""Experiments made in Python: what is refused, and what the command line makes of their runs."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest
from support import inprocess
from support.weights import assert_same, checkpoint

import trainer
from trainer.config import gin_reader
from trainer.data.digits import digits
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import Evaluator
from trainer.experiment import Experiment
from trainer.gan import augment, losses, optimizers, schedules
from trainer.models import dcgan

SHORT = {
    "dataset": digits,
    "generator": dcgan.generator,
    "discriminator": functools.partial(dcgan.discriminator, dropout=0.3),
    "generator_optimizer": functools.partial(
        optimizers.adam, learning_rate=schedules.WarmUp(value=1e-3, steps=3)
    ),
    "discriminator_optimizer": functools.partial(optimizers.adam, learning_rate=1e-4),
    "batch_size": 8,
    "num_steps": 4,
    "steps_per_loop": 2,
    "num_samples": 4,
    "evaluator": functools.partial(Evaluator, num_samples=100),
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", losses.hinge(), "train.loss holds a GanLoss, but must name a function"),
        ("generator", "dcgan.generator", "train.generator holds a str"),
        ("strategy", None, "train.strategy holds a NoneType"),
        ("augmentations", [augment.DiffAugment, "cutout"], "train.augmentations holds a str"),
        ("dataset", lambda: None, "does not take data_dir; the trainer calls it with data_dir"),
        ("penalties", losses.hinge, "train.penalties=.* must be a list"),
        ("batch_size", 0, "train.batch_size=0 must be an integer of at least 1"),
        ("batch_size", 8.0, "train.batch_size=8.0 must be an integer of at least 1"),
        ("num_steps", True, "train.num_steps=True must be an integer"),
        ("seed", -1, r"train.seed=-1 must be an integer in \[0, 4294967296\)"),
        ("seed", 2**32, r"train.seed=4294967296 must be an integer in"),
        ("precision", "float16", "train.precision='float16' is not known; choose from float32"),
        ("rollbacks", 1, "train.rollbacks=1 needs a doctor"),
    ],
)
def test_settings_that_break_a_rule(name, value, message):
    with pytest.raises(TrainerError, match=message):
        Experiment(**(SHORT | {"doctor": None, name: value}))


def in_this_module(**arguments):
    return dcgan.generator(**arguments)


def notebook_function(source, name="generator"):
    """A function as a notebook's cell defines it: of a module that nobody else can import."""
    cell = {"__name__": "__main__", "dcgan": dcgan}
    exec(source, cell)
    return cell[name]


CELL = "def generator(**arguments):\n    return dcgan.generator(**arguments)\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("generator", notebook_function(CELL), "generator is generator, defined in this notebook"),
        ("generator", lambda **arguments: None, "generator is <lambda>, defined in a function of"),
        (
            "discriminator",
            functools.partial(dcgan.discriminator, dropout=np.float32(0.1)),
            "discriminator.dropout=.* is a float32, which a config cannot hold",
        ),
        (
            "loss",
            functools.partial(losses.binary_cross_entropy, real_label=float("nan")),
            "loss.real_label=nan is a float",
        ),
        ("penalties", [lambda: None], "penalties_0 is <lambda>"),
    ],
)
def test_what_the_command_line_could_not_build_is_refused_when_built(
    tmp_path, name, value, message
):
    experiment = Experiment(**(SHORT | {name: value}))
    with pytest.raises(TrainerError, match=message):
        experiment.build(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_run_made_in_python_reads_back_as_it_was(tmp_path):
    experiment = Experiment(**SHORT)
    gin_reader.save(str(tmp_path), experiment.to_gin())
    again = Experiment.from_run(str(tmp_path))
    assert dataclasses.replace(again).to_gin() == experiment.to_gin()
    for name in ("generator", "batch_size", "loss", "dataset", "strategy", "doctor"):
        assert getattr(again, name) == getattr(experiment, name)
    rates = [
        e.keywords["learning_rate"]
        for e in (again.generator_optimizer, again.discriminator_optimizer)
    ]
    assert rates == [schedules.WarmUp(value=1e-3, steps=3), 1e-4]


def test_a_changed_experiment_is_saved_as_it_was_changed():
    read = Experiment.from_gin(["digits.gin"], ["train.seed=7"])
    assert read.to_gin() == read.config_text
    changed = dataclasses.replace(read, batch_size=64)
    assert "experiment.train.batch_size = 64\n" in changed.to_gin()
    assert "experiment.train.seed = 7\n" in changed.to_gin()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run made in Python, trained for four steps."""
    model_dir = tmp_path_factory.mktemp("python") / "run"
    run = Experiment(**SHORT).build(str(model_dir))
    run.train()
    return run, model_dir


def test_the_command_line_resumes_it(trained, tmp_path):
    """Two steps in Python and two by the command line end as four in Python do."""
    _, expected = trained
    Experiment(**(SHORT | {"num_steps": 2})).build(str(tmp_path)).train()
    inprocess.run(f"--model_dir={tmp_path}", "--gin_param=train.num_steps=4")
    assert_same(checkpoint(tmp_path, 4), checkpoint(expected, 4))


def test_a_run_is_loaded_sampled_and_evaluated(trained):
    run, model_dir = trained
    assert repr(run) == f"<Run {model_dir}: digits, step 4 of 4>"
    loaded = trainer.load_run(str(model_dir))
    images = loaded.sample(5, seed=3)
    assert (images.shape, images.dtype) == ((5, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(images, run.sample(5, seed=3))
    assert not np.array_equal(images, loaded.sample(5, seed=4))
    assert loaded.evaluate().step == 4
    with pytest.raises(TrainerError, match="label=1 needs a conditional generator"):
        loaded.sample(1, labels=[1])


def test_functions_of_a_notebook_train_if_nobody_else_must_build_them(tmp_path):
    settings = SHORT | {"generator": notebook_function(CELL), "num_steps": 2}
    run = Experiment(**settings).build(str(tmp_path), notebook_only=True)
    run.train()
    with pytest.raises(TrainerError, match="built in a notebook"):
        trainer.load_run(str(tmp_path))
    again = Experiment(**settings).build(str(tmp_path), notebook_only=True)
    again.restore()
    assert again.step == 2


def test_importing_the_package_is_cheap():
    code = "import sys, time; t = time.perf_counter(); import trainer; t = time.perf_counter() - t;"
    code += "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules; print(t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.3


def test_without_tensorflow_the_public_names_say_which_flavours_there_are():
    code = "import sys; sys.modules['tensorflow'] = None; import trainer\n"
    code += "try: trainer.load_run\nexcept ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("TensorFlow is not installed; choose its flavour: pip install")
