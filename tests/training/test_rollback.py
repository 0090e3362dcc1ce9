"""Rollbacks of real trainings: what is done, and that it ends the same, whatever interrupts it."""

from __future__ import annotations

import functools
import json
import re

import pytest
import tensorflow as tf
from support.doctor import (
    IMAGES,
    LABELS,
    adam,
    dense_discriminator,
    dense_generator,
    scripted,
)
from support.weights import assert_same, checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.doctor.doctor import Doctor
from trainer.doctor.state import EVENTS_FILE_NAME, EventLog
from trainer.errors import DivergenceError, TrainerError
from trainer.experiment import Experiment
from trainer.gan.trainer import GanTrainer
from trainer.runs.checkpoints import Checkpoints
from trainer.training import train as training

STEPS = 24
EVERY = 4


def dataset(*, data_dir):
    return Dataset(
        DatasetSpec("digits8", (8, 8, 1), 10), lambda split: Examples(IMAGES[:200], LABELS[:200])
    )


def build(strategy, model_dir, *, pattern="001", rollbacks=2, **settings):
    """A run under a doctor with one rule, which raises an alert where `pattern` has a 1.

    The rule counts its checks in the doctor's state, which a rollback restores: it raises the alert
    again after each rollback.
    """
    rules = [functools.partial(scripted, pattern=pattern + "0" * STEPS)]
    defaults = {
        "doctor": functools.partial(Doctor, every=EVERY, patience=1, num_images=4, rules=rules),
        "num_steps": STEPS,
        "steps_per_loop": 3,
        "checkpoint_every": 5,
        "sample_every": 0,
        "num_samples": 4,
    }
    experiment = Experiment(
        dataset=dataset,
        strategy=lambda: strategy,
        generator=dense_generator,
        discriminator=dense_discriminator,
        batch_size=8,
        rollbacks=rollbacks,
        **(defaults | settings),
    )
    return experiment.build(str(model_dir), notebook_only=True)


def train(*arguments, **settings):
    """Trains such a run; returns the exit code."""
    return training.train(build(*arguments, **settings))


def events(model_dir):
    lines = (model_dir / EVENTS_FILE_NAME).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_restoring_the_healthy_state_erases_no_event(make_strategy, tmp_path):
    run = build(make_strategy(1), tmp_path)
    healthy = run.healthy_checkpoint()
    healthy.save()
    run.doctor_events.entries.append(alert := {"step": 3, "alert": "scripted"})
    run.doctor_state.num_checks = 1
    assert healthy.restore()
    assert run.doctor_events.entries == [alert] and run.doctor_state.num_checks == 0


@pytest.fixture(scope="module")
def whole(make_strategy, tmp_path_factory):
    """A run that goes back twice from step 12 to step 8, then trains on in spite of an alert."""
    model_dir = tmp_path_factory.mktemp("whole")
    assert train(make_strategy(1), model_dir) == 0
    return model_dir


def test_a_rollback_restores_the_healthy_state_and_draws_other_numbers(
    whole, make_strategy, tmp_path
):
    alert = {"step": 12, "alert": "scripted", "measured": "the script says so", "value": 1.0}
    alert |= {"limit": 0.0, "try": []}

    def rollback(stream):
        return {"step": 12, "rollback": {"to": 8, "stream": stream, "because": "scripted"}}

    assert events(whole) == [alert, rollback(1), alert, rollback(2), alert]
    steps = sorted(int(p.stem.split("-")[1]) for p in (whole / "checkpoints").glob("*.index"))
    assert steps == [15, 20, 24]
    train(make_strategy(1), tmp_path, rollbacks=0)
    assert events(tmp_path) == [alert]
    ours, theirs = checkpoint(whole, STEPS), checkpoint(tmp_path, STEPS)
    kernel = next(name for name in ours if "/_kernel/" in name)
    assert (ours[kernel] != theirs[kernel]).all()


@pytest.mark.slow
def test_the_same_run_again_ends_the_same(whole, make_strategy, tmp_path, capsys):
    # Other calls and checkpoints, and ends of training before, at and after the rollbacks' steps.
    other = {"steps_per_loop": 5, "checkpoint_every": 7}
    for num_steps in (6, 11, 12, 16, STEPS):
        train(make_strategy(1), tmp_path, num_steps=num_steps, **other)
    assert_same(checkpoint(tmp_path, STEPS), checkpoint(whole, STEPS))
    assert events(tmp_path) == events(whole)
    *_, line = capsys.readouterr().out.splitlines()
    expected = ", ".join(["scripted at step 12"] * 3)
    assert line == f"Doctor: {expected}; 2 rollbacks. Events: {tmp_path}/doctor_events.jsonl"


class Killed(BaseException):
    """Like SIGKILL: the trainer does not catch it."""


def kill(monkeypatch, moment, rollback):
    """Kills training at a moment of its first or second rollback."""
    write, remove, save = EventLog.write, Checkpoints.remove_after, Checkpoints.save

    def reached(name, number):
        return (name, number) == (moment, rollback)

    def killing_write(log, model_dir):
        write(log, model_dir)
        if reached("alert written", log.num_rollbacks + 1):
            raise Killed

    rollbacks = []

    def killing_remove(checkpoints, step):
        rollbacks.append(step)
        if reached("removing", len(rollbacks)):
            tf.io.gfile.remove(f"{checkpoints._path(checkpoints._steps()[0])}.index")
            raise Killed
        remove(checkpoints, step)

    def killing_save(checkpoints, *, again=False):
        if again and reached("removed", len(rollbacks)):
            raise Killed
        save(checkpoints, again=again)
        if again and reached("saved", len(rollbacks)):
            raise Killed

    monkeypatch.setattr(EventLog, "write", killing_write)
    monkeypatch.setattr(Checkpoints, "remove_after", killing_remove)
    monkeypatch.setattr(Checkpoints, "save", killing_save)


@pytest.mark.parametrize(
    ("moment", "rollback"),
    [
        ("removing", 1),
        pytest.param("alert written", 1, marks=pytest.mark.slow),
        pytest.param("removed", 1, marks=pytest.mark.slow),
        pytest.param("saved", 1, marks=pytest.mark.slow),
        pytest.param("removing", 2, marks=pytest.mark.slow),
        pytest.param("removed", 2, marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_a_rollback(
    whole, make_strategy, tmp_path, monkeypatch, moment, rollback
):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, moment, rollback)
        train(make_strategy(1), tmp_path)
    train(make_strategy(1), tmp_path)
    assert_same(checkpoint(tmp_path, STEPS), checkpoint(whole, STEPS))
    assert events(tmp_path) == events(whole)


def test_divergence_rolls_back_and_ends_the_run_once_no_rollback_is_left(make_strategy, tmp_path):
    # By the discriminator's learning rate: with AVX-512 the generator's tanh of NaN is finite.
    with pytest.raises(TrainerError, match=r"^step 1: \S+ is (nan|inf).*Last good checkpoint: "):
        train(make_strategy(1), tmp_path, rollbacks=1, discriminator_optimizer=adam(1e30))
    first, rollback, second = events(tmp_path)
    assert (first["step"], first["alert"], second["alert"]) == (1, "not_finite", "not_finite")
    assert (rollback["rollback"]["to"], rollback["rollback"]["stream"]) == (0, 1)
    board = EventAccumulator(str(tmp_path)).Reload()
    alert, text = (
        board.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in ("doctor/not_finite/alert", "doctor/rollback")
    )
    assert re.match(r"step 1: \S+ is (nan|inf)", alert)
    assert "back from step 1 to step 0, on random stream 1: rollback 1 of 1" in text


def test_a_run_that_diverges_once_trains_to_its_end(make_strategy, tmp_path, monkeypatch):
    diverge_once(monkeypatch, at=10)
    assert train(make_strategy(1), tmp_path, pattern="0") == 0
    alert, rollback = events(tmp_path)
    assert (alert["step"], alert["alert"]) == (10, "not_finite")
    assert rollback["step"] == 10 and rollback["rollback"]["to"] == 8
    assert checkpoint(tmp_path, STEPS)["step/.ATTRIBUTES/VARIABLE_VALUE"] == STEPS


def diverge_once(monkeypatch, at):
    """Makes the loss at one step NaN, the first time that the step is trained."""
    train, diverged = GanTrainer.train, []

    def diverging(trainer, num_steps):
        metrics = train(trainer, num_steps)
        if not diverged and trainer.step.numpy() >= at:
            diverged.append(at)
            raise DivergenceError(at, "loss/generator is nan")
        return metrics

    monkeypatch.setattr(GanTrainer, "train", diverging)


def test_rollbacks_need_a_doctor(make_strategy, tmp_path):
    with pytest.raises(TrainerError, match=r"train\.rollbacks=1 needs a doctor"):
        train(make_strategy(1), tmp_path, rollbacks=1, doctor=None)


def test_a_run_may_be_resumed_with_and_without_a_doctor(make_strategy, tmp_path):
    train(make_strategy(1), tmp_path, doctor=None, rollbacks=0, num_steps=6)
    train(make_strategy(1), tmp_path, rollbacks=0, pattern="1", num_steps=9)
    assert [entry["step"] for entry in events(tmp_path)] == [8]
    train(make_strategy(1), tmp_path, doctor=None, rollbacks=0, num_steps=12)
    assert [entry["step"] for entry in events(tmp_path)] == [8]


def test_a_run_resumed_without_a_healthy_state_goes_back_to_where_it_was_resumed(
    make_strategy, tmp_path
):
    train(make_strategy(1), tmp_path, pattern="000", rollbacks=0, num_steps=9)
    train(make_strategy(1), tmp_path, pattern="001")
    assert {entry["rollback"]["to"] for entry in events(tmp_path) if "rollback" in entry} == {9}
