from __future__ import annotations

import gin
import pytest

from trainer import config
from trainer.errors import TrainerError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Bare names must be found from any working directory."""
    monkeypatch.chdir(tmp_path)
    yield
    gin.clear_config()


def binding(name):
    return gin.query_parameter(name)


@pytest.mark.parametrize("name", config.available())
def test_every_shipped_config_reads_and_reads_back(name):
    files = ["mnist.gin", name] if "/" in name else [name]
    config.load(files, [])
    text = config.text()
    gin.clear_config()
    gin.parse_config(text)
    assert config.text() == text


@pytest.mark.parametrize("name", [n for n in config.available() if n.startswith("hardware/")])
def test_hardware_overlays_are_at_most_ten_lines(name):
    assert len((config.CONFIG_DIR / name).read_text().splitlines()) <= 10


def test_mnist_has_the_tutorials_hyperparameters():
    config.load(["mnist.gin"], [])
    names = ["train.batch_size", "train.num_epochs", "train.latent_dim"]
    assert [binding(name) for name in names] == [128, 30, 50]
    names = ["adam.learning_rate", "adam.beta_1", "article.discriminator.dropout"]
    assert [binding(name) for name in names] == [2e-4, 0.5, 0.4]


def test_later_files_and_params_win():
    params = ["train.batch_size=64", "train.num_epochs=2"]
    config.load(["mnist.gin", "models/chatgpt.gin"], params)
    assert binding("train.generator").selector.endswith("chatgpt.generator")
    assert (binding("train.batch_size"), binding("train.num_epochs")) == (64, 2)


def test_a_file_of_ones_own_may_include_a_shipped_one(tmp_path):
    (tmp_path / "mine.gin").write_text("include 'mnist.gin'\ntrain.seed = 7\n")
    config.load(["mine.gin"], [])
    assert (binding("train.seed"), binding("train.batch_size")) == (7, 128)


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
        (["mnist.gin"], ["article.discriminator.dropot=1"], "did you mean dropout"),
        (
            ["mnist.gin", "models/chatgpt.gin"],
            ["discriminator.dropout=0"],
            "Ambiguous selector 'discriminator', matches .*chatgpt.*article",
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
        "from __gin__ import dynamic_registration\nfrom trainer.modles import article\n"
    )
    (tmp_path / "no_registration.gin").write_text(
        "from trainer import losses\ninclude 'mnist.gin'\ntrain.loss = @losses.other\n"
    )
    (tmp_path / "no_import.gin").write_text(
        "from __gin__ import dynamic_registration\nexperiment.train.seed = 1\n"
    )
    with pytest.raises(TrainerError, match=message) as caught:
        config.load(files, params)
    assert "\n" not in str(caught.value)


def test_an_overlay_alone_is_refused():
    config.load(["models/chatgpt.gin"], [])
    with pytest.raises(TrainerError, match=r"leaves train\.dataset open: add a base config"):
        config.call("train", model_dir="unused", task=None)


def test_call_passes_bindings_and_arguments(tmp_path):
    (tmp_path / "mine.gin").write_text(
        "from __gin__ import dynamic_registration\nfrom trainer import losses\n"
        "losses.binary_cross_entropy.real_label = 0.9\n"
    )
    config.load(["mine.gin"], [])
    loss = config.call("binary_cross_entropy", fake_label=0.5)
    assert loss.discriminator is not None


def test_a_run_without_config_is_refused(tmp_path):
    with pytest.raises(TrainerError, match="name a config with --gin_file"):
        config.saved_in(None)
    with pytest.raises(TrainerError, match="holds no config.gin"):
        config.saved_in(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("from __gin__ import dynamic_registration\nimport os\n", "os"),
        ("import payload\n", "payload"),
        ("include 'other.gin'\n", "'other.gin'"),
        (
            "from __gin__ import dynamic_registration\nfrom trainer import experiment\n"
            "from trainer import strategy\nexperiment.train.seed = @strategy.os.getpid()\n",
            "strategy.os.getpid",
        ),
        (
            "from __gin__ import dynamic_registration\nfrom trainer import strategy\n"
            "strategy.os.system.command = 'false'\n",
            "strategy.os.system",
        ),
    ],
)
def test_a_runs_config_may_not_call_foreign_code(tmp_path, text, foreign):
    (tmp_path / "payload.py").write_text("raise SystemExit('the payload ran')\n")
    (tmp_path / config.SAVED_NAME).write_text(text)
    with pytest.raises(TrainerError, match=f"uses {foreign}, .* name it: --gin_file="):
        config.load_saved(str(tmp_path), [])


def test_a_runs_config_of_our_own_code_is_read(tmp_path):
    config.load(["mnist.gin", "models/chatgpt.gin", "hardware/mirrored.gin"], [])
    config.save(str(tmp_path))
    text = config.text()
    config.load_saved(str(tmp_path), [])
    assert config.text() == text


def test_saving_keeps_the_config_and_logs_what_changed(tmp_path, caplog):
    config.load(["mnist.gin"], [])
    config.save(str(tmp_path))
    saved = tmp_path / config.SAVED_NAME
    assert saved.read_text() == config.text()
    assert config.saved_in(str(tmp_path)) == str(saved)
    config.load([str(saved)], ["train.num_epochs=40"])
    with caplog.at_level("WARNING", logger="absl"):
        config.save(str(tmp_path))
    assert "- experiment.train.num_epochs = 30" in caplog.text
    assert "+ experiment.train.num_epochs = 40" in caplog.text
    assert len(caplog.records) == 2


def test_experiments_hold_every_file_but_hardware():
    names = {name for files in config.experiments() for name in files}
    assert names == {n for n in config.available() if not n.startswith("hardware/")}
    assert ["mnist.gin", "models/chatgpt.gin"] in config.experiments()


def test_bound_is_what_the_config_names():
    config.load(["digits.gin"], [])
    assert config.bound("train.dataset")().spec.name == "digits"


def test_bound_without_a_base_names_one():
    config.load(["hardware/tpu.gin"], [])
    with pytest.raises(TrainerError, match=r"train\.dataset open: .*mnist\.gin"):
        config.bound("train.dataset")


def test_settings_are_plain_values_of_what_was_called():
    config.load(
        ["digits.gin", "losses/hinge.gin", "hacks/cosine_learning_rate.gin"],
        ["beta = 0.25", "adam.beta_1 = %beta"],
    )

    def task(run):
        found.update(config.settings(without=["trainer.doctor.doctor", "trainer.doctor.rules"]))
        return 0

    found = {}
    config.call("train", model_dir="nowhere", data_dir=None, task=task)
    expected = {
        **{"batch_size": 32, "loss": "hinge", "generator": "article.generator"},
        **{"adam.learning_rate": "rate/cosine()", "rate/cosine.first": 4e-4, "adam.beta_1": 0.25},
        **{"conditional": False, "penalties": "none", "replay": "none", "seed": 0},
        **{"article.discriminator.dropout": 0.4, "Evaluator.num_samples": 10_000},
    }
    assert {name: found[name] for name in expected} == expected
    assert not {"Doctor.every", "collapse.share", "model_dir", "beta"} & found.keys()
