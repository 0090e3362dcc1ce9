from __future__ import annotations

import pytest

from trainer.training import loop


class Recorder:
    """A train function and an action that write down how they were called."""

    def __init__(self):
        self.calls, self.seen = [], []

    def train(self, num_steps):
        self.calls.append(num_steps)
        return {"loss": float(sum(self.calls))}

    def action(self, step, metrics):
        self.seen.append((step, metrics["loss"]))


def run(recorder, periods, **settings):
    actions = [loop.Every(recorder.action, period) for period in periods]
    defaults = {"step": 0, "last_step": 10, "steps_per_loop": 4}
    return loop.run(recorder.train, actions=actions, **(defaults | settings))


@pytest.mark.parametrize(
    ("periods", "settings", "calls", "steps"),
    [
        ([], {}, [4, 4, 2], []),
        ([None], {}, [4, 4, 2], [4, 8, 10]),
        ([3], {}, [3, 3, 3, 1], [3, 6, 9, 10]),
        ([5], {}, [4, 1, 4, 1], [5, 10]),
        ([0], {}, [4, 4, 2], [10]),
        ([5], {"step": 3}, [2, 4, 1], [5, 10]),
        ([3, 5], {"step": 8}, [1, 1], [9, 10, 10]),
        ([5], {"step": 10}, [], []),
    ],
)
def test_calls_are_cut_where_an_action_is_due(periods, settings, calls, steps):
    recorder = Recorder()
    assert run(recorder, periods, **settings) == 10
    assert recorder.calls == calls
    assert [step for step, _ in recorder.seen] == steps


def test_an_action_may_be_due_at_single_steps():
    recorder = Recorder()
    every = [loop.Every(recorder.action, 0, at=(1, 6))]
    assert loop.run(recorder.train, step=0, last_step=10, steps_per_loop=4, actions=every) == 10
    assert recorder.calls == [1, 4, 1, 4]
    assert [step for step, _ in recorder.seen] == [1, 6, 10]


def test_actions_get_the_metrics_of_the_last_call():
    recorder = Recorder()
    run(recorder, [None])
    assert recorder.seen == [(4, 4.0), (8, 8.0), (10, 10.0)]


def test_a_stop_runs_every_action_and_returns_the_step():
    recorder = Recorder()
    stops = iter([False, False, True])
    assert run(recorder, [100, 0], should_stop=lambda: next(stops)) == 8
    assert [step for step, _ in recorder.seen] == [8, 8]
