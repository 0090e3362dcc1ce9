from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_a_missing_archive_is_one_line(tmp_path):
    arguments = ["--dataset=mnist", f"--archives={tmp_path}", f"--data_dir={tmp_path / 'data'}"]
    done = run(SCRIPT, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "train-images-idx3-ubyte.gz is missing" in line
    assert not (tmp_path / "data").exists()


def test_an_unknown_dataset_names_the_known_ones(tmp_path):
    done = run(SCRIPT, "--dataset=cifar", "--archives=.", cwd=tmp_path)
    assert done.returncode != 0
    assert "--dataset=cifar is not known; choose from: mnist, fashion_mnist" in done.stderr


@pytest.mark.archives
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_prepared_data_trains(archives, tmp_path, dataset):
    """As a user of an air-gapped machine would: prepare, then train on the real images."""
    data_dir = f"--data_dir={tmp_path / 'data'}"
    done = run(SCRIPT, f"--dataset={dataset}", f"--archives={archives / dataset}", data_dir,
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{dataset} is prepared in {tmp_path}/data/{dataset}/3.0.1\n")
    done = run("-m", "trainer.main", f"--gin_file={dataset}.gin", data_dir,
               "--gin_param=train.num_steps=3", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Trained to step 3. Samples: runs/{dataset}/samples")
    assert (tmp_path / "runs" / dataset / "samples" / "step_0000003.png").exists()
