from __future__ import annotations

import numpy as np
import pytest
from support.clock import Clock

from trainer.training.timing import Stopwatch, Throughput


@pytest.fixture
def clock():
    return Clock()


def test_throughput_leaves_out_the_first_call(clock):
    throughput = Throughput(batch_size=128, last_step=1000, clock=clock)
    clock.now += 60  # tracing
    throughput(50, {})
    assert throughput.images_per_second is None and throughput.seconds_left is None
    clock.now += 5
    throughput(100, {})
    assert throughput.images_per_second == pytest.approx(1280)
    assert throughput.seconds_left == pytest.approx(90)
    clock.now += 10
    throughput(150, {})
    assert throughput.images_per_second == pytest.approx(640)
    assert throughput.seconds_left == pytest.approx(850 / (100 / 15))


def test_throughput_is_measured_anew_after_a_rollback(clock):
    throughput = Throughput(batch_size=10, last_step=100, clock=clock)
    for step in (50, 60, 20):
        clock.now += 1
        throughput(step, {})
    assert throughput.images_per_second is None and throughput.seconds_left is None
    clock.now += 2
    throughput(30, {})
    assert throughput.images_per_second == pytest.approx(50)
    assert throughput.seconds_left == pytest.approx(14)


def test_throughput_is_finite_where_a_clock_was_set_back(clock):
    throughput = Throughput(batch_size=1, last_step=10, clock=clock)
    throughput(1, {})
    clock.now -= 1000
    throughput(2, {})
    assert np.isfinite(throughput.images_per_second) and np.isfinite(throughput.seconds_left)


def test_a_stopwatch_divides_the_time_among_functions(clock):
    def sleep(seconds):
        clock.now += seconds
        return seconds

    stopwatch = Stopwatch(clock)
    train = stopwatch.timed("steps", sleep)
    assert train(5) == 5 and train(3) == 3
    stopwatch.timed("checkpoints", sleep)(1)
    clock.now += 1
    assert str(stopwatch) == "steps 80.0 %, checkpoints 10.0 %, the rest 10.0 %"


def test_a_stopwatch_counts_a_function_that_raises(clock):
    def fail():
        clock.now += 3
        raise KeyError

    stopwatch = Stopwatch(clock)
    with pytest.raises(KeyError):
        stopwatch.timed("samples", fail)()
    clock.now += 1
    assert str(stopwatch) == "samples 75.0 %, the rest 25.0 %"
