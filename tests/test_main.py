"""The program as a user runs it: its own process, real flags, files on disk."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support import inprocess
from support.process import DIGITS, command, environment, run
from support.weights import assert_same, checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.distributed.cluster import free_ports, tf_config
from trainer.evaluation.card import Card
from trainer.reporting import tensorboard


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of six steps on digits, started from an unrelated working directory."""
    model_dir = tmp_path_factory.mktemp("run") / "digits"
    out, log = run(*DIGITS, f"--model_dir={model_dir}", cwd=tmp_path_factory.mktemp("cwd"))
    return model_dir, out, log


def test_a_run_leaves_what_it_says(trained):
    model_dir, out, _ = trained
    assert out.splitlines()[-2:] == [
        f"Trained to step 6. Samples: {model_dir}/samples, checkpoints: {model_dir}/checkpoints, "
        f"curves: tensorboard --logdir={model_dir}",
        "Doctor: no check was due",
    ]
    assert sorted(p.name for p in (model_dir / "samples").iterdir()) == [
        "real.png",
        "step_0000004.png",
        "step_0000006.png",
    ]
    assert "experiment.train.num_steps = 6" in (model_dir / "config.gin").read_text()
    assert json.loads((model_dir / "compatibility.json").read_text())["dataset"] == "digits"
    state = tf.train.get_checkpoint_state(str(model_dir / "checkpoints"))
    assert [p[-6:] for p in state.all_model_checkpoint_paths] == ["step-3", "step-6"]


def test_tensorboard_reads_the_run(trained):
    model_dir, _, _ = trained
    events = EventAccumulator(str(model_dir), size_guidance={"tensors": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {
        *("loss/discriminator", "loss/generator", "accuracy/real", "accuracy/fake"),
        *("gradient_norm/discriminator", "gradient_norm/generator", "speed/images_per_second"),
        *("samples", "real", "config", "_hparams_/session_start_info"),
    }
    steps = {tag: [e.step for e in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    assert steps["loss/generator"] == [2, 3, 4, 6]
    assert steps["samples"] == [4, 6]
    assert steps["real"] == steps["config"] == [0]


def test_logs_are_plain_lines_off_a_terminal(trained):
    _, _, log = trained
    assert re.search(r"step 6/6: loss_d \d\.\d+, loss_g \d\.\d+, images/s \d+", log)
    assert "\r" not in log


def test_a_finished_run_says_so(trained):
    model_dir, _, _ = trained
    out, _ = inprocess.run(*DIGITS, f"--model_dir={model_dir}")
    assert "is trained to step 6 already; raise train.num_epochs" in out


def test_generate_reads_the_saved_config(trained, tmp_path):
    model_dir, _, _ = trained
    for name in ("a.png", "b.png"):
        out, _ = inprocess.run(
            "--mode=generate", f"--model_dir={model_dir}", f"--output={tmp_path / name}"
        )
        assert out == f"64 samples of step 6: {tmp_path / name}\n"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    grid = np.asarray(Image.open(tmp_path / "a.png"))
    assert grid.shape == (8 * 30 + 2, 8 * 30 + 2)
    final = np.asarray(Image.open(model_dir / "samples" / "step_0000006.png"))
    np.testing.assert_array_equal(grid, final)


def test_evaluate_leaves_a_card_scalars_and_a_page(trained):
    model_dir, _, _ = trained
    out, _ = inprocess.run("--mode=evaluate", f"--model_dir={model_dir}")
    assert re.search(r"^FID +[\d.]+ +[\d.]+ to [\d.]+ +[\d.]+$", out, re.MULTILINE)
    assert out.splitlines()[-1] == (
        f"Card: {model_dir}/evaluation.json, page: {model_dir}/evaluation.html"
    )
    card = Card.load(str(model_dir))
    assert (card.step, card.images_seen, card.num_samples) == (6, 6 * 32, 1500)
    scalars = tensorboard.read_scalars(str(model_dir))
    assert scalars["evaluation/fid"] == ([6], [pytest.approx(card.metrics["fid"].value, rel=1e-6)])
    page = (model_dir / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and page.count("<svg") == 4
    assert not re.search(r"(src|href)=.https?:|@import|<script", page)


def test_evaluations_while_training(tmp_path):
    arguments = [*DIGITS, f"--model_dir={tmp_path}"]
    inprocess.run(
        *arguments,
        *("--gin_param=train.evaluate_every=4", "--gin_param=Evaluator.num_samples=100"),
    )
    assert tensorboard.read_scalars(str(tmp_path))["evaluation/kid"][0] == [4, 6]
    card = Card.load(str(tmp_path))
    assert (card.step, card.num_samples) == (6, 100)
    # The very same when it is evaluated afterwards.
    out, _ = inprocess.run("--mode=evaluate", f"--model_dir={tmp_path}")
    assert card == Card.load(str(tmp_path)), out


@pytest.mark.slow
def test_what_was_due_when_it_was_killed_is_made_again(tmp_path):
    """As if it was killed right behind its last checkpoint."""
    command = [*DIGITS, f"--model_dir={tmp_path}", "--gin_param=train.evaluate_every=4"]
    command += ["--gin_param=Evaluator.num_samples=100"]
    inprocess.run(*command)
    grid, card = tmp_path / "samples" / "step_0000006.png", tmp_path / "evaluation.json"
    expected = grid.read_bytes(), card.read_bytes()
    for missing in ([grid], [card], [grid, card]):
        for path in missing:
            path.unlink()
        out, _ = inprocess.run(*command)
        assert out.splitlines()[-1].startswith("Doctor: ") and "Trained to step 6" in out
        assert (grid.read_bytes(), card.read_bytes()) == expected
    out, _ = inprocess.run(*command)
    assert "is trained to step 6 already" in out


def test_the_doctor_reports_in_log_tensorboard_event_log_and_summary(tmp_path):
    """A generator that learns nothing, whose grey images are all of one class."""
    out, log = inprocess.run(
        *(*DIGITS, f"--model_dir={tmp_path}"),
        *("--gin_param=adam.learning_rate=0.0", "--gin_param=Evaluator.num_samples=100"),
        *("--gin_param=train.evaluate_every=2", "--gin_param=Doctor.every=2"),
        "--gin_param=Doctor.rules=[@rules.class_entropy]",
    )
    (line,) = [line for line in log.splitlines() if "doctor: " in line]
    assert re.search(
        r"doctor: class_entropy: at step 6 entropy of generated classes .* is under 0.7; try "
        r"hacks/minibatch_deviation.gin or hacks/auxiliary_classifier.gin$",
        line,
    )
    assert re.search(r"time: .*doctor \d", log)
    (entry,) = map(json.loads, (tmp_path / "doctor_events.jsonl").read_text().splitlines())
    assert (entry["step"], entry["alert"], entry["limit"]) == (6, "class_entropy", 0.7)
    assert entry["try"] == ["hacks/minibatch_deviation.gin", "hacks/auxiliary_classifier.gin"]
    assert out.splitlines()[-1] == (
        f"Doctor: class_entropy at step 6. Events: {tmp_path}/doctor_events.jsonl"
    )
    curves = tensorboard.read_scalars(str(tmp_path))
    assert curves["doctor/class_entropy"] == (
        [2, 4, 6],
        [pytest.approx(entry["value"], abs=0.1)] * 3,
    )
    assert {"doctor/diversity", "doctor/logits/held_out", "doctor/midtones"} <= set(curves)
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    (text,) = events.Tensors("doctor/class_entropy/alert")
    assert (
        text.step == 6 and b"try hacks/minibatch_deviation.gin" in text.tensor_proto.string_val[0]
    )


@pytest.mark.parametrize(
    "overlays",
    [
        pytest.param(
            ["losses/wasserstein_gp.gin", "hacks/instance_noise.gin", "hardware/bfloat16.gin"],
            marks=pytest.mark.slow,
        ),
        ["hacks/soft_noisy_labels.gin", "hacks/cosine_learning_rate.gin", "hacks/replay.gin"],
    ],
)
def test_overlays_train(tmp_path, overlays):
    files = [f"--gin_file={overlay}" for overlay in overlays]
    out, _ = inprocess.run(*DIGITS, *files, f"--model_dir={tmp_path}")
    assert out.startswith("Trained to step 6")


def test_a_conditional_run_is_evaluated_and_refused_without_labels(tmp_path):
    inprocess.run(*DIGITS, "--gin_file=hacks/projection.gin", f"--model_dir={tmp_path}")
    inprocess.run("--mode=evaluate", f"--model_dir={tmp_path}")
    assert sum(Card.load(str(tmp_path)).class_counts) == 1500
    line = inprocess.error_line(
        *DIGITS, f"--model_dir={tmp_path / 'a'}", "--gin_param=train.conditional=True"
    )
    assert "conditional=True, but generator does not take num_classes" in line


def test_the_average_is_kept_and_named_on_the_card(tmp_path):
    inprocess.run(*DIGITS, "--gin_param=train.ema_half_life=1000", f"--model_dir={tmp_path}")
    tensors = checkpoint(tmp_path, 6)
    names = [n for n in tensors if n.startswith("generator/") and "/_kernel/" in n]
    assert names
    for name in names:
        average = tensors[name.replace("generator/", "generator_ema/", 1)]
        assert 0 < np.abs(average - tensors[name]).max() < 1e-2
    inprocess.run("--mode=evaluate", f"--model_dir={tmp_path}")
    assert Card.load(str(tmp_path)).weights == "EMA (half-life 1,000 images)"
    line = inprocess.error_line(*DIGITS, f"--model_dir={tmp_path}")
    assert "another choice of a moving average (train.ema_half_life > 0): True there" in line


def test_a_longer_run_resumes_and_ends_the_same(trained, tmp_path):
    model_dir, _, _ = trained
    inprocess.run(*DIGITS, f"--model_dir={tmp_path / 'a'}", "--gin_param=train.num_steps=4")
    # Resumed from the saved config alone, with other calls and checkpoints in between.
    _, log = inprocess.run(
        f"--model_dir={tmp_path / 'a'}",
        *("--gin_param=train.num_steps=6", "--gin_param=train.steps_per_loop=5"),
        "--gin_param=train.checkpoint_every=0",
    )
    assert f"resuming {tmp_path / 'a'} at step 4" in log
    events = [EventAccumulator(str(p)).Reload() for p in (tmp_path / "a").glob("events.*")]
    tags = [tag for e in events for tag in e.Tags()["tensors"]]
    assert (tags.count("real"), tags.count("config")) == (1, 2)
    assert "config differs from the run's last start: - experiment.train.num_steps = 4" in log
    assert_same(checkpoint(tmp_path / "a", 6), checkpoint(model_dir, 6))


@pytest.mark.parametrize(
    ("overlay", "difference"),
    [
        ("--gin_file=models/chatgpt.gin", "another generator layers"),
        ("--gin_param=dcgan.discriminator.dropout=0.5", r"\(Dropout\) rate: 0.4 there, 0.5 now"),
        ("--gin_param=train.latent_dim=51", "another train.latent_dim: 50 there, 51 now"),
    ],
)
def test_another_model_is_refused(trained, overlay, difference):
    model_dir, _, _ = trained
    before = checkpoint(model_dir, 6)
    line = inprocess.error_line(*DIGITS, overlay, f"--model_dir={model_dir}")
    assert re.search(f"{difference}.*choose another --model_dir", line)
    assert_same(checkpoint(model_dir, 6), before)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_says_how_to_resume(tmp_path, number):
    arguments = ["--gin_file=digits.gin", f"--model_dir={tmp_path}"]
    arguments += ["--gin_param=train.steps_per_loop=5", "--gin_param=train.checkpoint_every=0"]
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    for line in process.stdout:
        if "step 5/" in line:
            break
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out
    saved = re.search(
        rf"Stopped by {number.name} at step (\d+) of 2300, saved in {tmp_path}\. The same command",
        out,
    )
    assert saved, out
    assert checkpoint(tmp_path, int(saved[1]))["step/.ATTRIBUTES/VARIABLE_VALUE"] == int(saved[1])


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    # Steps one to three are healthy; then the config's learning rate is one that nothing survives.
    inprocess.run(*DIGITS, "--gin_param=train.num_steps=3", f"--model_dir={tmp_path}")
    line = inprocess.error_line(
        *DIGITS, "--gin_param=adam.learning_rate=1e30", f"--model_dir={tmp_path}"
    )
    assert re.search(r"step 4: \S+ is (nan|inf); training stopped", line)
    assert line.endswith(f"Last good checkpoint: {tmp_path}/checkpoints/step-3")
    good = checkpoint(tmp_path, 3)
    assert all(np.isfinite(v).all() for v in good.values() if v.dtype.kind == "f")


def test_dry_run_builds_everything_and_writes_nothing(tmp_path):
    out, _ = inprocess.run(
        *("--gin_file=digits.gin", "--gin_file=hardware/mirrored.gin", "--dry_run"),
        "--gin_param=mirrored.virtual_cpus=4",
        cwd=tmp_path,
    )
    for expected in (
        r"MirroredStrategy on .*CPU:0, .*CPU:3",
        r"replicas +4, 8 examples each",
        r"digits, 1500 images of \(28, 28, 1\)",
        r"generator +452,801 parameters",
        r"discriminator +41,729 parameters",
        r"precision +float32",
        r"kernels +dilated_gradients, fused_activation, .*matmul_convolutions",
        r"2,300 of 32 images \(50 epochs\), 50 a call",
        r"model_dir +runs/digits",
    ):
        assert re.search(expected, out), expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin_file=digit.gin"], "did you mean digits.gin"),
        ([], "name a config with --gin_file"),
        (["--gin_file=digits.gin", "--gin_param=train.num_step=1"], "did you mean num_steps"),
        (["--gin_file=digits.gin", "--gin_param=train.num_epochs=0"], "num_epochs=0 must be"),
        (["--gin_file=digits.gin", "--gin_param=train.num_steps='x'"], "num_steps='x' must be"),
        (["--gin_file=digits.gin", "--gin_file=hardware/mirrored.gin"], "found no GPU"),
        (["--gin_file=digits.gin", "--gin_file=hardware/multi_worker.gin"], "needs a cluster"),
        (["--gin_file=digits.gin", "--gin_file=hardware/slurm.gin"], "needs a cluster"),
        (["--gin_file=digits.gin", "--mode=generate"], "holds no checkpoint; train first"),
        (["--gin_file=digits.gin", "--mode=evaluate"], "holds no checkpoint; train first"),
        (["--gin_file=digits.gin", "--gin_param=train.evaluate_every=-1"], "at least 0"),
        (["--gin_file=digits.gin", "--gin_param=Evaluator.num_samples=2"], "must exceed 5"),
        (["--gin_file=digits.gin", "--gin_param=Doctor.every=0"], "Doctor.every=0 must be at"),
        (["--gin_file=digits.gin", "--gin_param=train.rollbacks=-1"], "rollbacks=-1 must be"),
        (
            ["--gin_file=digits.gin", "--profile=-1"],
            "--profile=-1 must be at least 0",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    assert message in inprocess.error_line(*arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin_file=digit.gin"], "did you mean digits.gin"),
        (["--gin_file=digits.gin", "--mod=train"], "unknown flag --mod; did you mean --mode"),
        (["--mode=evalute"], "--mode=evalute is not known; did you mean evaluate"),
        (["--model_dir=nowhere"], "nowhere holds no config.gin"),
        ([], "name a config with --gin_file"),
    ],
)
def test_what_needs_no_tensorflow_is_answered_without_it(tmp_path, arguments, message):
    code = "import runpy, sys; sys.argv[1:1] = []\n"
    code += "try: runpy.run_module('trainer.main', run_name='__main__', alter_sys=True)\n"
    code += "finally: print('tensorflow' in sys.modules)"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert time.monotonic() - started < 2
    assert (done.returncode, done.stdout) == (1, "False\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_a_tpu_that_is_not_there_is_one_line(tmp_path):
    line = inprocess.error_line(
        "--gin_file=digits.gin", "--gin_file=hardware/tpu.gin", cwd=tmp_path
    )
    assert "no TPU answers" in line


def test_a_batch_that_replicas_cannot_share(tmp_path):
    line = inprocess.error_line(
        *("--gin_file=digits.gin", "--gin_file=hardware/mirrored.gin"),
        *("--gin_param=mirrored.virtual_cpus=4", "--gin_param=train.batch_size=102"),
        cwd=tmp_path,
    )
    assert "=102 cannot be shared evenly by 4 replicas; the nearest sizes" in line
    assert line.endswith("100, 104")


@pytest.mark.slow
def test_two_workers_train_as_one_process_does(trained, tmp_path):
    """Real processes over loopback; only the first writes to model_dir."""
    expected_dir, _, _ = trained
    workers = [f"localhost:{port}" for port in free_ports(2)]
    arguments = [*DIGITS, "--gin_file=hardware/multi_worker.gin", f"--model_dir={tmp_path}"]
    arguments += ["--gin_param=train.evaluate_every=6"]  # the chief reads the classifier for all
    processes = []
    for index in range(2):
        processes.append(
            subprocess.Popen(
                command(*arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(TF_CONFIG=tf_config(workers, index)),
            )
        )
    try:
        results = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], results
    assert "Trained to step 6" in results[0][0] and not results[1][0]
    # Rounding, amplified by Adam, whose first steps have the size of the learning rate whatever
    # the gradient's: 1.3e-4 was measured. A batch shared out wrongly gives over 2e-2.
    ours, theirs = (
        np.concatenate([v.ravel() for name, v in sorted(tensors.items()) if "_operations" in name])
        for tensors in (checkpoint(tmp_path, 6), checkpoint(expected_dir, 6))
    )
    assert ours.size == 452_801 + 41_729
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)
    assert len(list(tmp_path.glob("events.*"))) == 2  # the settings, and all else
    assert Card.load(str(tmp_path)).step == 6
