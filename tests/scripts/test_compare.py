"""The comparison as a newcomer runs it, but shorter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


def command(output, *more):
    return [
        *(sys.executable, SCRIPT, "--gin_file=digits.gin"),
        "--vs=models/chatgpt.gin,optimizers.adam.beta_1=0.25",
        *(f"--output={output}", "--gin_param=train.steps_per_loop=5"),
        *more,
    ]


def compare(*arguments, code=0):
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment())
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.slow
def test_a_comparison_is_stopped_resumed_and_skipped(tmp_path):
    arguments = (tmp_path, "--seeds=2", "--gin_param=train.num_steps=40")
    arguments += ("--gin_param=Evaluator.num_samples=300",)
    process = subprocess.Popen(
        command(*arguments),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    for line in process.stderr:
        if "step 5/" in line:
            break
    # As a terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert "The same command continues" in log

    done = compare(*arguments)
    assert f"resuming {tmp_path}/digits/seed_0 at step" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"Report: {tmp_path}/index.html"
    assert re.search(
        r"FID is [\d.]+ (higher|lower) than digits's.*Welch's t-test over 2 seeds", lines[-2]
    )
    assert (tmp_path / "table.md").read_text() in done.stdout
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and page.count("<svg") >= 2
    assert not re.search(r"(src|href)=.https?:|@import|<script", page)
    for link in re.findall(r'<a href="([^"]+)"', page):
        assert (tmp_path / link).exists()
    configs = [tmp_path / name / "seed_1" / "config.gin" for name in ("digits", "chatgpt")]
    assert ["beta_1 = 0.25" in config.read_text() for config in configs] == [False, True]

    again = compare(*arguments)
    assert again.stdout.count("is trained and evaluated already") == 4
    assert again.stdout.splitlines()[-1] == lines[-1]


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("models/chatgtp.gin", "did you mean models/chatgpt.gin"),
        ("losses/hinge.gin,optimizers.adam.beta1=0.9", "optimizers.adam.beta1"),
    ],
)
def test_a_mistaken_variant_is_refused_before_any_training(tmp_path, variant, message):
    done = compare(tmp_path / "report", f"--vs={variant}", code=1)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error")]
    assert message in line
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_variant_s_modules_are_found_where_the_command_is_given(tmp_path, monkeypatch):
    """The trainer's own error shows it, which comes after all configs were read."""
    (tmp_path / "my_loss.py").write_text("from trainer.gan.losses import hinge as loss\n")
    (tmp_path / "my_loss.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "import my_loss\n"
        "from trainer import experiment\n"
        "experiment.train.loss = @my_loss.loss\n"
    )
    monkeypatch.chdir(tmp_path)
    done = compare("report", "--vs=my_loss.gin", "--gin_param=train.batch_size=0", code=1)
    assert "train.batch_size=0 must be an integer of at least 1" in done.stderr
