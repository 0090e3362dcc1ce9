"""The notebook, executed from a clean kernel: on a CPU, and not in Colab."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from packaging.utils import canonicalize_name
from support.process import environment
from support.weights import checkpoint

NOTEBOOK = Path(__file__).parents[2] / "scripts" / "colab.ipynb"
SMALL = "train.steps_per_loop=5; train.sample_every=10; Evaluator.num_samples=100"


def filled_in(**form):
    """The notebook with its form filled in as Colab does it: in the source, before "# @param"."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [c for c in notebook.cells if c.id == "form"]
    for name, value in form.items():
        cell.source, count = re.subn(
            rf"^{name} = .*(?=  # @param)", f"{name} = {value!r}", cell.source, flags=re.MULTILINE
        )
        assert count == 1, name
    return notebook


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """(form) -> the notebook, executed by a kernel of `python` in a folder of its own."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    folder, kernel = tmp_path / "content", tmp_path / "kernels" / "clean"
    folder.mkdir()
    kernel.mkdir(parents=True)

    def run(*, python=sys.executable, meanwhile=None, changes=None, **form):
        notebook = filled_in(**form)
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "clean", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        path = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
        client = NotebookClient(
            notebook,
            kernel_name="clean",
            timeout=300,
            resources={"metadata": {"path": str(folder)}},
        )
        if meanwhile:
            threading.Thread(target=meanwhile, args=[client], daemon=True).start()
        client.execute(env=environment(PATH=path, TMPDIR=str(tmp_path), **(changes or {})))
        return notebook

    return run


def outputs(notebook, cell_id):
    (cell,) = [c for c in notebook.cells if c.id == cell_id]
    return cell.outputs


def text(notebook, cell_id):
    return "".join(o.text for o in outputs(notebook, cell_id) if o.output_type == "stream")


def pictures(notebook, cell_id):
    return [o for o in outputs(notebook, cell_id) if "image/png" in o.get("data", {})]


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


@pytest.mark.slow
def test_it_trains_shows_and_goes_on_where_it_was(execute, tmp_path):
    form = {"config": "digits.gin", "save_to": str(tmp_path / "kept")}
    offline = {"PIP_NO_INDEX": "1"}  # what is installed will do
    first = execute(**form, settings=f"{SMALL}; train.num_steps=20", changes=offline)
    run = tmp_path / "kept" / "runs" / "digits"
    assert "This runtime has a CPU" in text(first, "install")
    assert "Installing" not in text(first, "install")
    assert "Trained to step 20" in text(first, "train")
    assert "resuming" not in text(first, "train")
    assert len(pictures(first, "train")) == len(pictures(first, "learned")) == 1
    assert re.search(r"^FID +[\d.]+", text(first, "learned"), re.MULTILINE)
    (board,) = [o for o in outputs(first, "curves") if "text/html" in o.get("data", {})]
    assert "<iframe" in board.data["text/html"]
    before = checkpoint(run, 20)

    # All again, for longer, in a runtime that is said to have a TPU, as Colab says it.
    on_tpu = {"COLAB_TPU_1VM": "1", "TPU_ACCELERATOR_TYPE": "v5e-1"}
    settings = f"{SMALL}; train.num_steps=30"
    second = execute(**form, settings=settings, evaluate=False, changes=offline | on_tpu)
    assert "This runtime has a TPU" in text(second, "install")
    log = text(second, "train")
    assert "error: no TPU answers to tpu.name='local'" in log
    assert "TensorFlow cannot use this runtime's TPU: it trains on the CPU" in log
    assert f"resuming {run} at step 20" in log and "Trained to step 30" in log
    assert not re.search(r"step \d/30|step 1\d/30", log)
    assert len(pictures(second, "train")) == len(pictures(second, "learned")) == 1
    assert "FID" not in text(second, "learned")
    assert (run / "checkpoints" / "step-30.index").exists()
    for name, tensor in checkpoint(run, 20).items():
        assert (tensor == before[name]).all()


@pytest.mark.slow
def test_the_stop_button_saves(execute, tmp_path):
    run = tmp_path / "kept" / "runs" / "digits"

    def stop_once_it_trains(client):
        while not list(run.glob("samples/step_*.png")):
            time.sleep(0.1)
        os.killpg(client.km.provisioner.pgid, signal.SIGINT)  # as the Jupyter server does it

    with pytest.raises(CellExecutionError) as stopped:
        execute(
            **{"config": "digits.gin", "save_to": str(tmp_path / "kept"), "settings": SMALL},
            meanwhile=stop_once_it_trains,
        )
    line = stopped.value.evalue
    saved = re.search(
        r"Stopped by SIGINT at step (\d+) of 2300, saved in .* \(exit code 130\)", line
    )
    assert saved, line
    assert (run / "checkpoints" / f"step-{saved[1]}.index").exists()


@pytest.mark.slow
def test_a_failure_is_one_line_and_ends_the_notebook(execute, tmp_path):
    with pytest.raises(CellExecutionError) as failed:
        execute(config="digit.gin", save_to=str(tmp_path))
    line = failed.value.evalue
    assert re.fullmatch(r"error: --gin_file=digit\.gin is neither .* \(exit code 1\)", line)
    assert "Traceback" not in failed.value.traceback


@pytest.mark.colab
def test_it_installs_the_wheel_beside_colabs_tensorflow(execute, tmp_path, wheel):
    if "GAN_TRAINER_COLAB" not in os.environ:
        pytest.skip("GAN_TRAINER_COLAB names no virtual environment with tests/colab.txt")
    python = Path(os.environ["GAN_TRAINER_COLAB"]) / "bin" / "python"
    before = versions(python)
    assert "gan-trainer" not in before
    kept = tmp_path / "kept"
    kept.mkdir()
    form = {"config": "digits.gin", "save_to": str(kept), "evaluate": False}
    form["settings"] = f"{SMALL}; train.num_steps=10"
    with pytest.raises(CellExecutionError, match="There is no trainer here. Fill in `package`"):
        execute(python=python, **form)

    shutil.copy(wheel, kept)
    notebook = execute(python=python, **form)
    assert f"Installing gan-trainer @ file://{kept}/{wheel.name}" in text(notebook, "install")
    assert "Trained to step 10" in text(notebook, "train")
    assert len(pictures(notebook, "train")) == len(pictures(notebook, "learned")) == 1
    after = versions(python)
    assert {name for name in before if after[name] != before[name]} == {"tensorflow-metadata"}
    assert after.keys() - before.keys() == {"gan-trainer", "importlib-resources"}


def versions(python):
    command = [python, "-m", "pip", "list", "--format=json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {canonicalize_name(item["name"]): item["version"] for item in listed}
