from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cards import make_card
from support.inprocess import error_line, run
from support.process import DIGITS, environment

import trainer
from trainer.config import gin_reader
from trainer.errors import TrainerError
from trainer.inference import export
from trainer.inference.formats import FORMATS

FILES = [kind.file for kind in FORMATS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A Run of a conditional generator with a moving average, its export, and what that printed."""
    model_dir = tmp_path_factory.mktemp("run")
    overlays = ["--gin_file=hacks/projection.gin", "--gin_file=hacks/ema.gin"]
    run(*DIGITS, *overlays, f"--model_dir={model_dir}")
    out, _ = run("--mode=export", f"--model_dir={model_dir}")
    return trainer.load_run(str(model_dir)), model_dir / "export", out


def snippets(directory):
    """The model card's Python: the preparation, and the code for each format."""
    [code] = re.findall(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    first, *others = re.split(r"\n\n(?=import|from)", code.removeprefix("import numpy as np\n\n"))
    return f"import numpy as np\n{first}", others


def test_it_says_what_it_wrote(exported):
    _, directory, out = exported
    names = {*FILES, "README.md", "samples.png", "config.gin"}
    assert {path.name for path in directory.iterdir()} == names
    assert out.endswith(f"Generator of step 6, with its model card: {directory}\n")
    found = re.findall(r"^(\S+) +differs from the trainer's images by at most (\S+)$", out, re.M)
    assert len(found) == len(FILES)
    for name, distance in found:
        assert name in FILES
        assert 0 <= float(distance) <= export.TOLERANCE["float32"]


def test_the_cards_own_code_makes_the_trainers_images_in_each_runtime(exported, tmp_path):
    made, directory, _ = exported
    first, others = snippets(directory)
    assert len(others) == len(FILES)
    saves = [
        f"{code}\nnp.save(r'{tmp_path}/{i}.npy', np.asarray(images))"
        for i, code in enumerate(others)
    ]
    keeps = f"np.savez(r'{tmp_path}/inputs.npz', latents, labels)"
    program = "\n".join([first, keeps, *saves, "import sys; assert 'trainer' not in sys.modules"])
    settings = environment(KERAS_BACKEND="tensorflow", PYTHONSAFEPATH="1", PYTHONPATH="")
    subprocess.run([sys.executable, "-c", program], cwd=directory, env=settings, check=True)

    latents, labels = np.load(tmp_path / "inputs.npz").values()
    expected = made.trainer.inference.sample(latents, labels)
    assert expected.std() > 0.01
    for i in range(len(FILES)):
        images = np.load(tmp_path / f"{i}.npy")
        assert images.dtype == np.float32
        np.testing.assert_allclose(images, expected, atol=1e-5, err_msg=FILES[i])


def test_the_weights_are_the_averages(exported):
    made, directory, _ = exported
    gan = made.trainer
    latents = gan.inference.latents(16).numpy()
    raw = gan.generator([latents, np.arange(16) % 10], training=False)
    generate = FORMATS[0].load(str(directory / "generator.keras"))
    images = generate([latents, np.arange(16, dtype=np.int32) % 10])
    np.testing.assert_allclose(images, gan.inference.sample(latents), atol=1e-5)
    assert np.abs(images - raw).max() > 1e-4
    assert "Weights: EMA (half-life 10,000 images)" in (directory / "README.md").read_text()


def test_the_card_names_config_data_and_revision(exported):
    _, directory, _ = exported
    card = (directory / "README.md").read_text()
    assert "for 6 steps: 192 training images, of the 1,500 of digits" in " ".join(card.split())
    assert "The run was not evaluated" in card
    head = subprocess.run(
        ["git", "-C", export.__file__.rpartition("/")[0], "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
    )
    if head.returncode == 0:  # a checkout
        assert f"(revision {head.stdout.strip()}" in card
    saved = (directory.parent / gin_reader.FILE_NAME).read_text()
    assert (directory / gin_reader.FILE_NAME).read_text() == saved


def test_an_evaluation_goes_with_it(exported, tmp_path):
    made, _, _ = exported
    card = make_card(step=4)
    (directory := tmp_path / "export").mkdir()
    Path(made.model_dir, "evaluation.json").write_text(card.to_json())
    export.export(made, output=str(directory))
    text = " ".join((directory / "README.md").read_text().split())
    assert "At step 4, and not at this generator's: " in text
    assert "| FID | " in text
    assert json.loads((directory / "evaluation.json").read_text())["step"] == 4


def test_without_its_libraries_a_format_is_left_out(exported, tmp_path, monkeypatch, caplog):
    (tmp_path / "generator.onnx").write_text("from an earlier export")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    export.export(exported[0], output=str(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert set(FILES) - names == {"generator.onnx"}
    assert "generator.onnx is left out: not installed: tf2onnx; pip install" in caplog.text
    assert "onnxruntime" not in (tmp_path / "README.md").read_text()


def test_an_export_that_is_not_the_trainers_is_not_written(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(export.TOLERANCE, "float32", 0.0)
    with pytest.raises(TrainerError, match="from the trainer's, where 0 is allowed"):
        export.export(exported[0], output=str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()


def test_noise_within_the_generator_is_refused(tmp_path):
    model_dir = f"--model_dir={tmp_path}"
    run(*DIGITS, "--gin_file=hacks/generator_dropout.gin", model_dir)
    line = error_line("--mode=export", model_dir)
    assert "the generator drops out when sampling" in line
    assert "which exported formats cannot do" in line


def test_a_link_in_the_output_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "picture.png").touch()
    (tmp_path / "saved_model").symlink_to(tmp_path / "precious")
    export._remove(str(tmp_path / "saved_model"))
    assert [p.name for p in tmp_path.rglob("*")] == ["precious", "picture.png"]
