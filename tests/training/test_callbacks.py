from __future__ import annotations

import signal

import numpy as np
import pytest

from trainer.reporting import tensorboard
from trainer.training import callbacks

METRICS = {"loss/discriminator": 0.5, "loss/generator": 1.25}


class Clock:
    """Time that passes only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_pace_leaves_the_first_call_out(clock):
    pace = callbacks.Pace(batch_size=128, last_step=1000, clock=clock)
    clock.now += 60  # tracing
    pace(50, METRICS)
    assert pace.images_per_second is None and pace.seconds_to_go is None
    clock.now += 5
    pace(100, METRICS)
    assert pace.images_per_second == pytest.approx(1280)
    assert pace.seconds_to_go == pytest.approx(90)
    clock.now += 10
    pace(150, METRICS)
    assert pace.images_per_second == pytest.approx(640)
    assert pace.seconds_to_go == pytest.approx(850 / (100 / 15))


def test_pace_begins_anew_where_a_run_goes_back(clock):
    pace = callbacks.Pace(batch_size=10, last_step=100, clock=clock)
    for step in (50, 60, 20):
        clock.now += 1
        pace(step, METRICS)
    assert pace.images_per_second is None and pace.seconds_to_go is None
    clock.now += 2
    pace(30, METRICS)
    assert pace.images_per_second == pytest.approx(50)
    assert pace.seconds_to_go == pytest.approx(14)


def test_a_clock_set_back_does_no_harm(clock):
    pace = callbacks.Pace(batch_size=1, last_step=10, clock=clock)
    pace(1, METRICS)
    clock.now -= 1000
    pace(2, METRICS)
    assert np.isfinite(pace.images_per_second)


def test_a_stopwatch_shares_the_time_out(clock):
    watch = callbacks.Stopwatch(clock)
    train = watch.timed("steps", lambda n: setattr(clock, "now", clock.now + n) or n)
    assert train(5) == 5 and train(3) == 3
    watch.timed("checkpoints", lambda: setattr(clock, "now", clock.now + 1))()
    clock.now += 1
    assert str(watch) == "steps 80.0 %, checkpoints 10.0 %, the rest 10.0 %"


def test_progress_logs_at_most_every_so_often_and_at_the_end(clock, caplog):
    pace = callbacks.Pace(batch_size=128, last_step=300, clock=clock)
    progress = callbacks.Progress(pace, step=0, last_step=300, seconds=10, clock=clock)
    with caplog.at_level("INFO", logger="absl"):
        for step in (50, 100, 150, 200, 250, 300):
            clock.now += 4
            pace(step, METRICS)
            progress(step, METRICS)
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
    pace = callbacks.Pace(batch_size=128, last_step=100, clock=clock)
    progress = callbacks.Progress(pace, step=20, last_step=100, clock=clock)
    for step in (60, 100):
        clock.now += 4
        pace(step, METRICS)
        progress(step, METRICS)
    progress.close()
    bar = capsys.readouterr().err
    assert "100/100" in bar and "images/s=1280" in bar and "loss_g=1.250" in bar


def test_samples_are_written_as_png(tmp_path):
    writer = tensorboard.EventWriter(str(tmp_path))
    samples = callbacks.Samples(writer, str(tmp_path), lambda: np.zeros((4, 2, 2, 1), np.float32))
    samples(7, METRICS)
    assert (tmp_path / "step_0000007.png").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number):
    stop = callbacks.StopRequest()
    before = signal.getsignal(number)
    with stop.listening():
        assert not stop()
        signal.raise_signal(number)
        assert stop() and stop.signal == number
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once():
    stop = callbacks.StopRequest()
    with stop.listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_a_profile_is_of_the_steps_it_says_or_ends_with_the_run(tmp_path, caplog):
    def profile(name, calls):
        trace = callbacks.Profile(str(tmp_path / name), step=10, steps=5)
        assert trace.due == (11, 16)
        for step in calls:
            trace(step, METRICS)
        trace.close()
        return len(list((tmp_path / name).glob("plugins/profile/*/*.xplane.pb")))

    with caplog.at_level("INFO", logger="absl"):
        assert profile("whole", [11, 16, 20]) == 1
        assert profile("ended", [11]) == 1
        assert profile("never", [20]) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert [
        f"{tmp_path}/{name}/plugins/profile; " in line
        for name, line in zip(("whole", "ended"), lines, strict=True)
    ] == [True, True]
