from __future__ import annotations

import pytest

from trainer.training import loop
from trainer.training.loop import PeriodicCallback


class Recorder:
    """A train function and a callback that record their calls."""

    def __init__(self):
        self.calls, self.seen = [], []

    def train(self, num_steps):
        self.calls.append(num_steps)
        return {"loss": float(sum(self.calls))}

    def callback(self, step, metrics):
        self.seen.append((step, metrics["loss"]))


def run(recorder, callbacks, **settings):
    """Runs ten steps, four in a call, with a callback for each dict of arguments."""
    callbacks = [PeriodicCallback(recorder.callback, **arguments) for arguments in callbacks]
    defaults = {"step": 0, "last_step": 10, "steps_per_loop": 4}
    return loop.run(recorder.train, callbacks=callbacks, **(defaults | settings))


EVERY_CALL = {"every_call": True}
EVERY_3 = {"every_steps": 3}
EVERY_5 = {"every_steps": 5}


@pytest.mark.parametrize(
    ("callbacks", "settings", "calls", "steps"),
    [
        ([], {}, [4, 4, 2], []),
        ([EVERY_CALL], {}, [4, 4, 2], [4, 8, 10]),
        ([EVERY_3], {}, [3, 3, 3, 1], [3, 6, 9, 10]),
        ([EVERY_3 | {"at_end": False}], {}, [3, 3, 3, 1], [3, 6, 9]),
        ([EVERY_5], {}, [4, 1, 4, 1], [5, 10]),
        ([EVERY_5 | {"at_end": False}], {}, [4, 1, 4, 1], [5, 10]),
        ([{}], {}, [4, 4, 2], [10]),
        ([{"at_end": False}], {}, [4, 4, 2], []),
        ([EVERY_5], {"step": 3}, [2, 4, 1], [5, 10]),
        ([EVERY_3, EVERY_5], {"step": 8}, [1, 1], [9, 10, 10]),
        ([EVERY_5, EVERY_CALL], {"step": 10}, [], []),
        ([{"on_steps": (1, 6)}], {}, [1, 4, 1, 4], [1, 6, 10]),
        ([{"on_steps": (1, 6), "at_end": False}], {"step": 1}, [4, 1, 4], [6]),
        ([{"on_steps": (4,), "every_steps": 6}], {}, [4, 2, 4], [4, 6, 10]),
    ],
)
def test_calls_end_where_a_callback_is_due(callbacks, settings, calls, steps):
    recorder = Recorder()
    assert run(recorder, callbacks, **settings) == 10
    assert recorder.calls == calls
    assert [step for step, _ in recorder.seen] == steps


def test_callbacks_receive_the_metrics_of_the_last_call():
    recorder = Recorder()
    run(recorder, [EVERY_CALL])
    assert recorder.seen == [(4, 4.0), (8, 8.0), (10, 10.0)]


def test_a_stop_calls_what_is_due_at_the_end_and_returns_the_step():
    recorder = Recorder()
    stops = iter([False, False, True])
    callbacks = [{"every_steps": 100}, {}, EVERY_3 | {"at_end": False}]
    assert run(recorder, callbacks, should_stop=lambda: next(stops)) == 6
    assert recorder.calls == [3, 3]
    assert [step for step, _ in recorder.seen] == [3, 6, 6, 6]


def test_a_stop_before_the_first_call_trains_nothing():
    recorder = Recorder()
    assert run(recorder, [EVERY_CALL], step=2, should_stop=lambda: True) == 2
    assert not recorder.calls and not recorder.seen


def go_back_once(at, to):
    """A callback that returns `to` at the first step `at`."""
    seen = []

    def callback(step, metrics):
        seen.append(step)
        return to if seen.count(at) == 1 and step == at else None

    return callback


def test_a_callback_may_return_the_step_to_continue_from():
    recorder = Recorder()
    callbacks = [
        PeriodicCallback(go_back_once(at=6, to=1), every_steps=3, at_end=False),
        PeriodicCallback(recorder.callback, every_call=True),
    ]
    reached = loop.run(recorder.train, step=0, last_step=7, steps_per_loop=4, callbacks=callbacks)
    assert reached == 7 and recorder.calls == [3, 3, 2, 3, 1]
    # Not at the abandoned step 6: the callback comes after the one that went back.
    assert [step for step, _ in recorder.seen] == [3, 3, 6, 7]


@pytest.mark.parametrize("stopped", [False, True])
def test_it_may_do_so_at_the_last_step_or_where_training_is_stopped(stopped):
    recorder = Recorder()
    reached = loop.run(
        recorder.train,
        step=0,
        last_step=4,
        steps_per_loop=4,
        callbacks=[PeriodicCallback(go_back_once(at=4, to=2))],
        should_stop=lambda: stopped and recorder.calls == [4],
    )
    assert (reached, recorder.calls) == ((2, [4]) if stopped else (4, [4, 2]))
