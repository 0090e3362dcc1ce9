from __future__ import annotations

import signal

import pytest

from trainer.training.stop_signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_training_to_stop(number):
    stop = StopRequest()
    before = signal.getsignal(number)
    with stop.listening():
        assert not stop and stop.signal is None
        signal.raise_signal(number)
        assert stop and stop.signal == number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_after_another_signal_stops_at_once(first):
    stop = StopRequest()
    with stop.listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(first)
        assert stop
        signal.raise_signal(signal.SIGINT)


def test_a_second_sigterm_does_not_interrupt_saving():
    """As a cluster manager may send it, while the run saves."""
    stop = StopRequest()
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
