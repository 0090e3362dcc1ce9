"""A run's own config, which may come from anyone: what it may name, and what it cannot do."""

from __future__ import annotations

import importlib
import re
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config import gin_reader, registry
from trainer.errors import TrainerError
from trainer.experiment import Experiment

OURS = """from __gin__ import dynamic_registration
from trainer import experiment
from trainer.gan import losses
from trainer.gan import schedules
"""
ALLOWED = {
    "data.digits": "digits",
    "data.stacked": "stacked_mnist",
    "data.tfds_source": "cifar10 fashion_mnist from_builder mnist",
    "distributed.strategy": "auto mirrored multi_worker one_device slurm tpu",
    "doctor.doctor": "Doctor",
    "doctor.rules": "class_entropy collapse dead_output discriminator_wins gradient_explodes "
    "memorising saturated",
    "evaluation.evaluator": "Evaluator",
    "evaluation.features.channels": "per_channel",
    "evaluation.features.classifier": "classifier",
    "evaluation.features.inception": "inception",
    "experiment": "Experiment",
    "gan.augment": "AdaptiveAugment DiffAugment InstanceNoise",
    "gan.losses": "binary_cross_entropy hinge least_squares minimax relativistic_paired "
    "wasserstein",
    "gan.optimizers": "adam sgd",
    "gan.penalties": "gradient_penalty r1 r2",
    "gan.replay": "ImagePool PastGenerator",
    "gan.schedules": "Constant Cosine WarmUp",
    "models.chatgpt": "discriminator generator",
    "models.conditional": "auxiliary_discriminator embedding_discriminator embedding_generator "
    "generator projection_discriminator",
    "models.dcgan": "discriminator generator norm_first_generator upsampling_generator",
    "models.residual": "discriminator generator",
}
"""Every function and class that the config of a run may name."""


def save(directory, text):
    (directory / gin_reader.FILE_NAME).write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    return str(directory)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module that leaves a file where it is imported; afterwards there must be none."""
    (tmp_path / "canary.py").write_text(
        f"open({str(tmp_path / 'sang')!r}, 'w').close()\ndef sing(**_): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "run").mkdir()
    yield tmp_path / "run"
    assert "canary" not in sys.modules and not (tmp_path / "sang").exists()


def test_what_may_be_named():
    expected = {f"trainer.{m}.{name}" for m, names in ALLOWED.items() for name in names.split()}
    for module in ALLOWED:
        importlib.import_module(f"trainer.{module}")
    found = {f"{x.__module__}.{x.__qualname__}" for x in registry._MARKED}
    assert {name for name in found if name.startswith("trainer.")} == expected


def test_every_shipped_config_may_be_a_runs(tmp_path):
    hardware = [n for n in gin_reader.available() if n.startswith("hardware/")]
    for files in [*gin_reader.experiments(), *(["mnist.gin", name] for name in hardware)]:
        text = gin_reader.load(files).text
        assert gin_reader.load_saved(save(tmp_path, text)).text == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import canary\ncanary.sing.song = 1", "canary"),
        ("from trainer.gan import losses\nimport \\\n  canary", "canary"),
        ("import trainer.files\ntrainer.files.write_file.path = 'x'", "trainer.files"),
        ("include 'digits.gin'", "include 'digits.gin'"),
        ("include \\\n'digits.gin'", "include 'digits.gin'"),
        ("from trainer import main\nmain.os.system.command = 'true'", "main.os.system"),
        ("from trainer import main\nmain.os.system:\n  command = 'true'", "main.os.system"),
        ("experiment.train:\n  loss = @ losses.tf.io.read_file", "losses.tf.io.read_file"),
        ("experiment.train.loss = @\tlosses.tf.io.read_file()", "@losses.tf.io.read_file()"),
        ("experiment.train.penalties = [@losses.hinge, {1: (@a/losses.b,)}]", "a/losses.b"),
        ("from trainer import files\nx = @files.write_file()", "@files.write_file()"),
        ("from trainer.inference import export\nx = @export._remove", "export._remove"),
        ("from trainer.config import gin_reader\nx = @gin_reader.load()", "@gin_reader.load()"),
        ("from trainer.config import registry\nx = @registry.find", "registry.find"),
        ("from trainer.distributed import strategy\nx = @strategy.tpu()", "@strategy.tpu()"),
        ("from trainer import files as losses\nx = @losses.hinge", "losses"),
        ("from trainer.gan import losses as trainer", "trainer.gan.losses"),
        ("from trainer.gan import losses as l\nx = @l.GanLoss()", "@l.GanLoss()"),
        ("from trainer.gan import gradients\nx = @gradients.losses", "gradients.losses"),
        ("x/gin.singleton.constructor = @losses.hinge", "gin.singleton"),
        ("x = @gin.singleton()", "@gin.singleton()"),
        ("hinge.x = 1", "hinge"),
    ],
)
def test_nothing_else_may_be_named(canary, text, named):
    line = f"uses {re.escape(named)}, which the config of a run may not; .* --gin_file="
    with pytest.raises(TrainerError, match=line):
        gin_reader.load_saved(save(canary, OURS + text))


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        "x = '\0'",
        "x = '",
        "x = " + "[" * 5000,
        "x = " + "-" * 5000 + "1",
        "from trainer import",
        "experiment.train.seed =",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_damaged_config_is_one_line(canary, text):
    with pytest.raises(TrainerError, match=r"^\S+/config\.gin is damaged \(.*\): restore it, or"):
        gin_reader.load_saved(save(canary, text))


def test_a_file_that_is_no_config_is_not_read_to_its_end(canary):
    with pytest.raises(TrainerError, match=r"is damaged \(longer than 200,000 characters\)"):
        gin_reader.load_saved(save(canary, "#" * 10_000_000))


def test_what_cannot_be_called_is_one_line(canary):
    text = OURS + "experiment.train.discriminator_optimizer = @schedules.Cosine()"
    with pytest.raises(TrainerError, match=r"@trainer\.gan\.schedules\.Cosine\(\) fails: .*first"):
        gin_reader.load_saved(save(canary, text))


NAMES = st.sampled_from(
    "canary canary.sing experiment experiment.train losses.hinge schedules.Cosine main.os.system "
    "files files.write_file losses losses.tf train trainer trainer.files.write_file gin.singleton "
    "strategy.tpu seed loss x a/x a/losses.hinge builtins.exec __gin__ ..".split()
)
SPACE = st.sampled_from(["", " ", "\t", " \\\n ", "\n", "\r", "\x0c", " # @\n", "\u2028", "\xa0"])
VALUES = st.recursive(
    st.one_of(
        st.sampled_from(
            ["1", "'x'", "None", "True", "-2.5", "'''a\nb'''", "%x", "%a/x", "{", "1e999"]
        ),
        st.tuples(SPACE, NAMES, st.sampled_from(["", "()", "( )"])).map(lambda t: "@" + "".join(t)),
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda v: f"[{', '.join(v)}]")
        | st.tuples(inner, inner).map(lambda v: f"{{{v[0]}: {v[1]}}}")
    ),
    max_leaves=6,
)
STATEMENTS = st.one_of(
    st.tuples(NAMES, st.sampled_from([".", ""]), NAMES, SPACE, st.just("="), SPACE, VALUES),
    st.tuples(NAMES, SPACE, st.just(":\n  "), NAMES, st.just(" = "), VALUES),
    st.tuples(st.just("import"), SPACE, NAMES, SPACE, st.sampled_from(["", "as losses", "as x"])),
    st.tuples(st.just("from trainer"), SPACE, st.sampled_from(["", ".gan", ".os"]), SPACE,
              st.just("import"), SPACE, NAMES),
    st.tuples(st.just("include"), SPACE, st.sampled_from(["'digits.gin'", "'canary.py'", "x"])),
    st.tuples(st.text(max_size=20)),
).map("".join)  # fmt: skip
TEXTS = st.tuples(st.sampled_from([OURS, ""]), st.lists(STATEMENTS, max_size=6).map("\n".join))


def read(directory, text):
    """A config is read, or refused in one line, and nothing else happens."""
    before = sorted(directory.parent.iterdir())
    try:
        Experiment.from_run(save(directory, text.encode(errors="surrogatepass")))
    except TrainerError as error:
        assert len(str(error).splitlines()) == 1 or "\n" not in str(error)
    assert sorted(directory.parent.iterdir()) == before


QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@given(TEXTS.map("".join))
@settings(max_examples=200, derandomize=True, **QUIET)
def test_whatever_it_holds_nothing_happens(canary, text):
    read(canary, text)


@pytest.mark.slow
@given(TEXTS.map("".join))
@settings(max_examples=2000, **QUIET)
def test_whatever_else_it_holds_nothing_happens(canary, text):
    read(canary, text)
