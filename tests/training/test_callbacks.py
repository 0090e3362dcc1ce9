from __future__ import annotations

import types

import numpy as np
import pytest
from PIL import Image
from support.clock import Clock
from support.disk import full_after

from trainer.doctor.state import DoctorState
from trainer.reporting import tensorboard
from trainer.training import callbacks
from trainer.training.callbacks import Evaluation, Profile, Progress, Samples, Scalars
from trainer.training.timing import Throughput

METRICS = {"loss/discriminator": 0.5, "loss/generator": 1.25}


@pytest.fixture
def clock():
    return Clock()


class Writer:
    """Keeps what a callback writes to TensorBoard."""

    def __init__(self):
        self.written = []

    def scalars(self, step, values):
        self.written.append((step, values))

    def image(self, step, name, picture):
        self.written.append((step, name, picture.tolist()))


def test_scalars_are_the_metrics_and_the_throughput_once_known(clock):
    throughput = Throughput(batch_size=128, last_step=300, clock=clock)
    scalars = Scalars(writer := Writer(), throughput)
    for step in (50, 100):
        clock.now += 4
        throughput(step, METRICS)
        scalars(step, METRICS)
    speed = {"speed/images_per_second": pytest.approx(1600)}
    assert writer.written == [(50, METRICS), (100, METRICS | speed)]
    Scalars(None, throughput)(100, METRICS)  # on a process that writes nothing


def test_progress_logs_every_ten_seconds_and_at_the_end(clock, caplog):
    throughput = Throughput(batch_size=128, last_step=300, clock=clock)
    progress = Progress(throughput, step=0, last_step=300, clock=clock)
    hidden = Progress(throughput, step=0, last_step=300, shown=False, clock=clock)
    with caplog.at_level("INFO", logger="absl"):
        for step in (50, 100, 150, 200, 250, 300):
            clock.now += 4
            throughput(step, METRICS)
            progress(step, METRICS)
            hidden(step, METRICS)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "step 50/300: loss_d 0.500, loss_g 1.250",
        "step 200/300: loss_d 0.500, loss_g 1.250, images/s 1600, ETA 00:08",
        "step 300/300: loss_d 0.500, loss_g 1.250, images/s 1600",
    ]


def test_progress_draws_a_bar_on_a_terminal(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")  # tqdm cuts the bar to the terminal
    monkeypatch.setenv("LINES", "40")
    throughput = Throughput(batch_size=128, last_step=100, clock=clock)
    progress = Progress(throughput, step=20, last_step=100, clock=clock)
    Progress(throughput, step=20, last_step=777, shown=False, clock=clock)
    for step in (60, 100):
        clock.now += 4
        throughput(step, METRICS)
        progress(step, METRICS)
    progress.close()
    bar = capsys.readouterr().err
    assert "100/100" in bar and "images/s=1280" in bar and "loss_g=1.250" in bar
    assert "777" not in bar


SAMPLES = np.stack([np.full((2, 2, 1), value, np.float32) for value in (-1.0, 0.0, 1.0, 0.5)])
"""Four images [2, 2, 1] of one tone each, in [-1, 1]."""
TONES = [0, 128, 255, 191]
"""The same as bytes: 127.5 * (x + 1), rounded."""


def test_samples_are_written_as_a_grid(tmp_path):
    samples = Samples(writer := Writer(), str(tmp_path), lambda: SAMPLES)
    samples(7, METRICS)
    grid = np.array(Image.open(tmp_path / "step_0000007.png"))
    ((step, name, picture),) = writer.written
    assert (step, name) == (7, "samples") and picture == grid[..., np.newaxis].tolist()
    tones = [tone for tone in np.unique(grid) if tone != 64]  # 64 is the margin's
    assert sorted(tones) == sorted(TONES)
    cells = [np.argwhere(grid == tone) for tone in TONES]
    assert all(len(cell) == 4 and np.ptp(cell, axis=0).max() == 1 for cell in cells)
    corners = [tuple(cell.min(axis=0)) for cell in cells]
    assert corners == sorted(corners) and len({row for row, _ in corners}) == 2  # row by row


def test_a_process_without_a_writer_samples_too(tmp_path):
    calls = []
    Samples(None, str(tmp_path), lambda: calls.append(1) or SAMPLES)(7, METRICS)
    assert calls == [1] and not list(tmp_path.iterdir())


def test_a_grid_on_a_full_disk_is_the_old_one_or_none(tmp_path):
    samples = Samples(Writer(), str(tmp_path), lambda: SAMPLES)
    samples(7, METRICS)
    before = (tmp_path / "step_0000007.png").read_bytes()
    for step in (7, 8):
        with full_after(10), pytest.raises(OSError):
            samples(step, METRICS)
    assert (tmp_path / "step_0000007.png").read_bytes() == before
    assert not (tmp_path / "step_0000008.png").exists()


@pytest.mark.parametrize(
    ("every", "scheduled", "end", "steps"),
    [
        (4, [4, 8], 8, [4, 8]),
        (4, [4, 8], 10, [4, 8, 10]),
        (4, [], 2, [2]),
    ],
)
def test_a_run_is_evaluated_on_schedule_and_at_its_end(monkeypatch, every, scheduled, end, steps):
    measured, written = [], []
    run = types.SimpleNamespace(
        doctor_state=DoctorState(), schedule=types.SimpleNamespace(evaluate_every=every)
    )

    def compute(run):
        measured.append(len(measured) + 1)
        card = types.SimpleNamespace(class_counts=[measured[-1], 2], class_counts_real=[3, 4])
        return types.SimpleNamespace(card=card), None

    monkeypatch.setattr(callbacks, "compute_evaluation", compute)
    monkeypatch.setattr(
        callbacks, "write_evaluation", lambda run, writer, *_: written.append(writer)
    )
    evaluation = Evaluation(run, writer := Writer())
    for step in scheduled:
        evaluation.on_schedule(step, METRICS)
    evaluation.at_end(end, METRICS)
    assert len(measured) == len(steps) and written == [writer] * len(steps)
    # The doctor is handed scheduled evaluations only: where a run ends must not change its checks.
    counts = ([len(scheduled), 2], [3, 4]) if scheduled else None
    assert run.doctor_state.class_counts == counts
    Evaluation(run, None).on_schedule(12, METRICS)  # on a process that writes nothing
    assert len(measured) == len(steps) + 1 and len(written) == len(steps)


def test_a_profile_covers_its_steps_or_ends_with_the_run(tmp_path, caplog):
    def profile(name, calls, **settings):
        trace = Profile(str(tmp_path / name), step=10, num_steps=5, **settings)
        assert trace.on_steps == [11, 16]
        for step in calls:
            trace(step, METRICS)
        trace.close()
        return len(list((tmp_path / name).glob("plugins/profile/*/*.xplane.pb")))

    with caplog.at_level("INFO", logger="absl"):
        assert profile("whole", [11, 16]) == 1
        assert profile("ended", [11]) == 1
        assert profile("never", []) == 0
        assert profile("other", [11, 16], traced=False) == 0
    lines = [record.getMessage() for record in caplog.records]
    for name, line in zip(("whole", "ended"), lines, strict=True):
        assert f"{tmp_path}/{name}/plugins/profile; " in line
    assert Profile(str(tmp_path), step=10, num_steps=0).on_steps == []


def test_a_real_writer_takes_the_scalars(tmp_path):
    writer = tensorboard.EventWriter(str(tmp_path))
    Scalars(writer, Throughput(batch_size=1, last_step=1))(7, METRICS)
    writer.close()
    assert tensorboard.read_scalars(str(tmp_path))["loss/generator"] == ([7], [1.25])
