"""Rollbacks of real trainings: what is done, and that it ends the same, whatever comes between."""

from __future__ import annotations

import functools
import json
import re

import pytest
import tensorflow as tf
from support.weights import assert_same, checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_doctor import (
    IMAGES,
    LABELS,
    adam,
    dense_discriminator,
    dense_generator,
    fits_and_starts,
)

from trainer import experiment
from trainer.data.dataset import Dataset, DatasetSpec, Examples
from trainer.doctor.doctor import Doctor
from trainer.errors import TrainerError
from trainer.runs.checkpoints import Checkpoints
from trainer.training import train

TEXTS = ("doctor/not_finite/alert", "doctor/rollback")
STEPS = 24
EVERY = 4


def dataset(*, data_dir):
    return Dataset(
        DatasetSpec("digits8", (8, 8, 1), 10), lambda split: Examples(IMAGES[:200], LABELS[:200])
    )


def train(strategy, model_dir, *, pattern="001", rollbacks=2, **settings):
    """A run under a doctor whose rule complains, and raises an alert, where `pattern` has a 1.

    The pattern counts examinations, and is at the checkpoint's place again after a rollback.
    """
    rules = [functools.partial(fits_and_starts, pattern=pattern + "0" * STEPS)]
    defaults = {
        "doctor": functools.partial(Doctor, every=EVERY, patience=1, num_images=4, rules=rules),
        "num_steps": STEPS,
        "steps_per_loop": 3,
        "checkpoint_every": 5,
        "sample_every": 0,
        "num_samples": 4,
    }
    return experiment.train(
        dataset=dataset,
        strategy=lambda: strategy,
        generator=dense_generator,
        discriminator=dense_discriminator,
        batch_size=8,
        rollbacks=rollbacks,
        model_dir=str(model_dir),
        task=train.run_training,
        **(defaults | settings),
    )


def journal(model_dir):
    return [json.loads(line) for line in (model_dir / "journal.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(make_strategy, tmp_path_factory):
    """A run that goes back twice from step 12 to step 8, and then stays with its alert."""
    model_dir = tmp_path_factory.mktemp("whole")
    assert train(make_strategy(1), model_dir) == 0
    return model_dir


def test_a_rollback_goes_back_to_health_and_draws_other_numbers(whole, make_strategy, tmp_path):
    alert = {"step": 12, "alert": "fits_and_starts", "measured": "so it says", "value": 1.0}
    alert |= {"limit": 0.0, "try": []}

    def back(stream):
        return {"step": 12, "rollback": {"to": 8, "stream": stream, "because": "fits_and_starts"}}

    assert journal(whole) == [alert, back(1), alert, back(2), alert]
    steps = sorted(int(p.stem.split("-")[1]) for p in (whole / "checkpoints").glob("*.index"))
    assert steps == [15, 20, 24]
    train(make_strategy(1), tmp_path, rollbacks=0)
    assert journal(tmp_path) == [alert]
    ours, theirs = checkpoint(whole, STEPS), checkpoint(tmp_path, STEPS)
    kernel = next(name for name in ours if "/_kernel/" in name)
    assert (ours[kernel] != theirs[kernel]).all()


def test_the_same_run_again_ends_the_same(whole, make_strategy, tmp_path, capsys):
    # Other calls and checkpoints, and a stop on either side of the rollbacks.
    other = {"steps_per_loop": 5, "checkpoint_every": 7}
    for num_steps in (6, 11, 13, 17, STEPS):
        train(make_strategy(1), tmp_path, num_steps=num_steps, **other)
    assert_same(checkpoint(tmp_path, STEPS), checkpoint(whole, STEPS))
    assert journal(tmp_path) == journal(whole)
    *_, line = capsys.readouterr().out.splitlines()
    expected = ", ".join(["fits_and_starts at step 12"] * 3)
    assert line == f"Doctor: {expected}; 2 rollbacks. Journal: {tmp_path}/journal.jsonl"


class Killed(BaseException):
    """As SIGKILL: nothing of the program's handles it."""


@pytest.mark.parametrize("moment", ["removal", "save", "after"])
def test_killed_in_the_middle_of_a_rollback(whole, make_strategy, tmp_path, monkeypatch, moment):
    remove, save = Checkpoints.remove_after, Checkpoints.save

    def killed_in_removal(self, step):
        newest = self._paths()[0]
        tf.io.gfile.remove(f"{newest}.index")
        raise Killed

    def killed_in_save(self, *, again=False):
        if again and moment == "after":
            save(self, again=True)
        if again:
            raise Killed
        save(self)

    if moment == "removal":
        monkeypatch.setattr(Checkpoints, "remove_after", killed_in_removal)
    else:
        monkeypatch.setattr(Checkpoints, "save", killed_in_save)
    with pytest.raises(Killed):
        train(make_strategy(1), tmp_path)
    monkeypatch.setattr(Checkpoints, "remove_after", remove)
    monkeypatch.setattr(Checkpoints, "save", save)
    train(make_strategy(1), tmp_path)
    assert_same(checkpoint(tmp_path, STEPS), checkpoint(whole, STEPS))
    assert journal(tmp_path) == journal(whole)


def test_what_is_not_finite_rolls_back_too_and_then_ends_the_run(make_strategy, tmp_path):
    # Not the generator's rate: with AVX-512 the tanh of nan is finite.
    with pytest.raises(TrainerError, match=r"^step 1: \S+ is (nan|inf).*Last good checkpoint: "):
        train(make_strategy(1), tmp_path, rollbacks=1, discriminator_optimizer=adam(1e30))
    first, back, second = journal(tmp_path)
    assert (first["step"], first["alert"], second["alert"]) == (1, "not_finite", "not_finite")
    assert (back["rollback"]["to"], back["rollback"]["stream"]) == (0, 1)
    events = EventAccumulator(str(tmp_path)).Reload()
    told = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in TEXTS}
    assert re.match(r"step 1: \S+ is (nan|inf)", told[TEXTS[0]])
    assert "back from step 1 to step 0, on noise stream 1: rollback 1 of 1" in told[TEXTS[1]]


def test_rollbacks_take_a_doctor(make_strategy, tmp_path):
    with pytest.raises(TrainerError, match=r"train\.rollbacks=1 needs a doctor"):
        train(make_strategy(1), tmp_path, rollbacks=1, doctor=None)


def test_a_run_may_change_its_mind_about_the_doctor(make_strategy, tmp_path):
    train(make_strategy(1), tmp_path, doctor=None, rollbacks=0, num_steps=6)
    train(make_strategy(1), tmp_path, rollbacks=0, pattern="1", num_steps=9)
    assert [entry["step"] for entry in journal(tmp_path)] == [8]
    train(make_strategy(1), tmp_path, doctor=None, rollbacks=0, num_steps=12)
    assert [entry["step"] for entry in journal(tmp_path)] == [8]


def test_a_run_without_a_healthy_state_begins_with_where_it_is(make_strategy, tmp_path):
    train(make_strategy(1), tmp_path, pattern="000", rollbacks=0, num_steps=9)
    train(make_strategy(1), tmp_path, pattern="001")
    assert {entry["rollback"]["to"] for entry in journal(tmp_path) if "rollback" in entry} == {9}
