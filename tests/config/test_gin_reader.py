from __future__ import annotations

import gin
import pytest

from trainer.config import gin_reader
from trainer.doctor import rules
from trainer.errors import TrainerError
from trainer.gan import losses, optimizers, schedules
from trainer.models import chatgpt


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Bare names must be found from any working directory."""
    monkeypatch.chdir(tmp_path)


def bound(files, params=()):
    """The arguments of `train` that a config binds."""
    return gin_reader.load(files, params).make.keywords


@pytest.mark.parametrize("name", gin_reader.available())
def test_every_shipped_config_reads_and_reads_back(tmp_path, name):
    files = ["mnist.gin", name] if "/" in name else [name]
    text = gin_reader.load(files).text
    (tmp_path / "again.gin").write_text(text)
    assert gin_reader.load(["again.gin"]).text == text
    assert gin.config_str() == ""  # nothing of gin's state stays


@pytest.mark.parametrize("name", [n for n in gin_reader.available() if n.startswith("hardware/")])
def test_hardware_overlays_are_at_most_ten_lines(name):
    assert len((gin_reader.CONFIG_DIR / name).read_text().splitlines()) <= 10


def test_mnist_has_the_tutorials_hyperparameters():
    train = bound(["mnist.gin"])
    assert [train[name] for name in ("batch_size", "num_epochs", "latent_dim")] == [128, 30, 50]
    assert train["generator_optimizer"].keywords == {"learning_rate": 2e-4, "beta_1": 0.5}
    assert train["discriminator"].keywords == {"dropout": 0.4}


def test_references_become_plain_functions_and_what_these_return(tmp_path):
    (tmp_path / "mine.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "from trainer.gan import optimizers\nfrom trainer.gan import schedules\n"
        "include 'mnist.gin'\n"
        "beta = 0.25\n"
        "optimizers.adam.beta_1 = %beta\n"
        "optimizers.adam.learning_rate = @rate/schedules.Cosine()\n"
        "rate/schedules.Cosine.first = 2.0\nrate/schedules.Cosine.last = 1.0\n"
        "schedules.Cosine.steps = 7\n"
    )
    train = bound(["mine.gin"])
    assert train["loss"] is losses.binary_cross_entropy
    adam = train["generator_optimizer"]
    assert adam.func is optimizers.adam
    cosine = schedules.Cosine(first=2.0, last=1.0, steps=7)
    assert adam.keywords == {"beta_1": 0.25, "learning_rate": cosine}
    assert train["doctor"].keywords["rules"][0] is rules.discriminator_wins


def test_two_configs_do_not_mix():
    """Each keeps its own bindings, whichever was read last."""
    first = bound(["mnist.gin"], ["dcgan.discriminator.dropout=0.1"])["discriminator"]
    second = bound(["mnist.gin"], ["dcgan.discriminator.dropout=0.2"])["discriminator"]
    rates = [f(image_shape=(28, 28, 1)).layers[1].rate for f in (first, second)]
    assert rates == [0.1, 0.2]


def test_later_files_and_params_win():
    params = ["train.batch_size=64", "train.num_epochs=2"]
    train = bound(["mnist.gin", "models/chatgpt.gin"], params)
    assert train["generator"] is chatgpt.generator
    assert (train["batch_size"], train["num_epochs"]) == (64, 2)


def test_a_file_of_ones_own_may_include_a_shipped_one(tmp_path):
    (tmp_path / "mine.gin").write_text("include 'mnist.gin'\ntrain.seed = 7\n")
    train = bound(["mine.gin"])
    assert (train["seed"], train["batch_size"]) == (7, 128)


@pytest.mark.parametrize(
    ("files", "params", "message"),
    [
        (["mnits.gin"], [], r"--gin_file=mnits\.gin is neither .*did you mean mnist\.gin"),
        (["hardware/mirored.gin"], [], "did you mean hardware/mirrored.gin"),
        (
            ["zzz"],
            [],
            r"choose from: cifar10\.gin, digits\.gin, fashion_mnist\.gin, fashion_mnist_best\.gin",
        ),
        (["mnist.gin"], ["train.batch_szie=1"], "'batch_szie'.*did you mean batch_size"),
        (["mnist.gin"], ["trian.batch_size=1"], "'trian'.*did you mean train"),
        (["mnist.gin"], ["dcgan.discriminator.dropot=1"], "did you mean dropout"),
        (
            ["mnist.gin", "models/chatgpt.gin"],
            ["discriminator.dropout=0"],
            "Ambiguous selector 'discriminator', matches .*chatgpt.*dcgan",
        ),
        (["mnist.gin"], ["train.loss=@other.loss"], "param imports nothing: bind it in a gin file"),
        (["no_registration.gin"], [], "begin its file with `from __gin__"),
        (["no_import.gin"], [], "'experiment' was not provided by an import"),
        (["bad_imprt.gin"], [], "did you mean bad_import.gin"),
        (["mnist.gin"], ["train.batch_size=%size"], "macro %size is used .* never given a value"),
        (["mnist.gin"], ["train.batch_size=1 2"], "config error: "),
        (["bad_import.gin"], [], "config error: .*trainer.modles"),
    ],
)
def test_mistakes_become_one_line_with_the_closest_names(tmp_path, files, params, message):
    (tmp_path / "bad_import.gin").write_text(
        "from __gin__ import dynamic_registration\nfrom trainer.modles import dcgan\n"
    )
    (tmp_path / "no_registration.gin").write_text(
        "from trainer.gan import losses\ninclude 'mnist.gin'\ntrain.loss = @losses.other\n"
    )
    (tmp_path / "no_import.gin").write_text(
        "from __gin__ import dynamic_registration\nexperiment.train.seed = 1\n"
    )
    with pytest.raises(TrainerError, match=message) as caught:
        gin_reader.load(files, params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["models/chatgpt.gin", "hardware/tpu.gin"])
def test_an_overlay_alone_is_refused(name):
    with pytest.raises(TrainerError, match=r"leaves .*train\.dataset.* open: add a base config"):
        gin_reader.load([name])


def test_a_config_of_something_else_is_refused(tmp_path):
    (tmp_path / "mine.gin").write_text(
        "from __gin__ import dynamic_registration\nfrom trainer.gan import losses\n"
        "losses.binary_cross_entropy.real_label = 0.9\n"
    )
    with pytest.raises(
        TrainerError, match=r"(binds nothing of train|leaves train\..* open): add a base"
    ):
        gin_reader.load(["mine.gin"])


def test_a_run_without_config_is_refused(tmp_path):
    with pytest.raises(TrainerError, match="name a config with --gin_file"):
        gin_reader.find_saved(None)
    with pytest.raises(TrainerError, match="holds no config.gin"):
        gin_reader.find_saved(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("from __gin__ import dynamic_registration\nimport os\n", "os"),
        ("import payload\n", "payload"),
        ("include 'other.gin'\n", "include 'other.gin'"),
        (
            "from __gin__ import dynamic_registration\nfrom trainer import experiment\n"
            "from trainer.distributed import strategy\n"
            "experiment.train.seed = @strategy.os.getpid()\n",
            r"@strategy.os.getpid\(\)",
        ),
        (
            "from __gin__ import dynamic_registration\nfrom trainer.distributed import strategy\n"
            "strategy.os.system.command = 'false'\n",
            "strategy.os.system",
        ),
    ],
)
def test_a_runs_config_may_not_call_foreign_code(tmp_path, text, foreign):
    (tmp_path / "payload.py").write_text("raise SystemExit('the payload ran')\n")
    (tmp_path / gin_reader.FILE_NAME).write_text(text)
    with pytest.raises(TrainerError, match=f"uses {foreign}, .* name it: --gin_file="):
        gin_reader.load_saved(str(tmp_path), [])


def test_a_runs_config_of_our_own_code_is_read(tmp_path):
    loaded = gin_reader.load(["mnist.gin", "models/chatgpt.gin", "hardware/mirrored.gin"])
    gin_reader.save(str(tmp_path), loaded.text)
    assert gin_reader.load_saved(str(tmp_path)).text == loaded.text


def test_a_run_that_only_its_notebook_can_build_says_so(tmp_path):
    gin_reader.save(str(tmp_path), gin_reader.NOTEBOOK_ONLY)
    with pytest.raises(TrainerError, match="built in a notebook with notebook_only=True"):
        gin_reader.load_saved(str(tmp_path))


def test_saving_keeps_the_config_and_logs_what_changed(tmp_path, caplog):
    text = gin_reader.load(["mnist.gin"]).text
    gin_reader.save(str(tmp_path), text)
    saved = tmp_path / gin_reader.FILE_NAME
    assert saved.read_text() == text
    assert gin_reader.find_saved(str(tmp_path)) == str(saved)
    changed = gin_reader.load([str(saved)], ["train.num_epochs=40"])
    with caplog.at_level("WARNING", logger="absl"):
        gin_reader.save(str(tmp_path), changed.text)
    assert "- experiment.train.num_epochs = 30" in caplog.text
    assert "+ experiment.train.num_epochs = 40" in caplog.text
    assert len(caplog.records) == 2


def test_experiments_hold_every_file_but_hardware():
    names = {name for files in gin_reader.experiments() for name in files}
    assert names == {n for n in gin_reader.available() if not n.startswith("hardware/")}
    assert ["mnist.gin", "models/chatgpt.gin"] in gin_reader.experiments()
